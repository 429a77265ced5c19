"""What Alembic runs: migrations on the connection, and in the transaction, of the caller."""

from alembic import context

from nexus_knowledge.ledger.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
