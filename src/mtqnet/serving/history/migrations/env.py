"""Run by Alembic, on the connection of store.migrate."""

from alembic import context

from mtqnet.serving.history.store import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
