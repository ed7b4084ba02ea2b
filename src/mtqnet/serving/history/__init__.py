"""What was scored, and when: SQLite by default, PostgreSQL by its URL."""
