"""The schema's versions, as alembic runs them; `ledger/schema.py` is what calls it."""
