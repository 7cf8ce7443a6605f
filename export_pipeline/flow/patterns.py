"""Regular expressions in conditions, held against PostgreSQL before anything is read: it is who will run them."""

import psycopg
from psycopg import sql

from export_pipeline.flow.query import Selection
from export_pipeline.flow.source import Source
from export_pipeline.model.errors import Rejected

#: How long PostgreSQL may take to understand a pattern (ms). One that takes longer on rows is stopped with the query.
_MILLISECONDS = 2_000


def check_patterns(source: Source, selection: Selection) -> None:
    """Raises Rejected where a pattern of a condition is wrong, or takes too long."""
    patterns = [item for condition in selection.conditions for item in condition.patterns]
    if not patterns:
        return
    with source.connect() as connection, connection.transaction():
        connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(_MILLISECONDS)))
        for name, pattern, may_be_told in patterns:
            told = f"matches {pattern!r}" if may_be_told else "matches"
            try:
                connection.execute(sql.SQL("SELECT '' ~ {}").format(sql.Literal(pattern)))
            except psycopg.errors.QueryCanceled:
                raise Rejected(f"{name} {told}: PostgreSQL takes too long for this pattern; make it simpler") from None
            except psycopg.errors.DataError as error:
                said = error.diag.message_primary if may_be_told else "invalid regular expression"
                raise Rejected(f"{name} {told}: it is no regular expression of PostgreSQL ({said})") from None
