"""Run by Alembic, on the connection of database.migrate."""

from alembic import context

from mtqnet.serving.history.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
