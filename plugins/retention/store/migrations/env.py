"""Alembic's entry point; `retention.store.migrate` hands it an open connection."""

from alembic import context

from retention.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
