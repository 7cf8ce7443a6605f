"""What alembic runs to migrate: on the connection, and in the transaction, that `ledger/schema.py` opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table_schema="exports")
with context.begin_transaction():
    context.run_migrations()
