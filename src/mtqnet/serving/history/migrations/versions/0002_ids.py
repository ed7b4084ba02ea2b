"""Ids of the history are never reused: SQLite counts them with AUTOINCREMENT."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _rebuild(sqlite_autoincrement=True)


def downgrade() -> None:
    _rebuild(sqlite_autoincrement=False)


def _rebuild(sqlite_autoincrement: bool) -> None:
    """Copy the table `scores`: SQLite cannot change how a column counts. Other databases never reuse ids."""
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute("PRAGMA foreign_keys=OFF")
    with op.batch_alter_table(
        "scores", recreate="always", table_kwargs={"sqlite_autoincrement": sqlite_autoincrement}
    ):
        pass
    op.execute("PRAGMA foreign_keys=ON")
