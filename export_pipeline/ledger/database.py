"""Connections to the ledger's database, and the one place where the driver's errors become ours. No tables here."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from types import TracebackType
from typing import Any, LiteralString

import psycopg
from psycopg import errors, sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from export_pipeline.model.errors import Broken, ExportError, Rejected, Transient

Connection = psycopg.Connection[DictRow]

#: How long to wait for a connection before the database counts as away (seconds).
CONNECT_SECONDS = 5
#: The longest that one statement of the ledger may take (seconds); each is short, so a longer one is stuck.
_STATEMENT_SECONDS = 15
_POOL_SIZE = 4

UNREACHABLE = "the ledger's database cannot be reached or went away; check that it is up and that DATABASE_URL is right"

# The pool tells of each failed attempt to connect; whoever waits for the connection is told anyway.
logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())


class Database:
    """The ledger's database. Nothing is opened before the first use; several threads may share one."""

    def __init__(self, url: SecretStr) -> None:
        self._url = url
        self._pool: ConnectionPool[Connection] | None = None
        self._lock = Lock()

    def __enter__(self) -> "Database":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections; a later use opens new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection in a transaction, which ends with the context: committed, or rolled back by an exception.

        Raises Transient where the database cannot be reached or goes away, Broken where the ledger's tables are missing
        or may not be used, Rejected for a value that PostgreSQL cannot store.
        """
        with translated_errors(), self._open_pool().connection() as connection:
            yield connection

    def rows(self, statement: LiteralString | sql.Composed, values: Mapping[str, Any] | None = None) -> list[DictRow]:
        """The rows that one statement, in a transaction of its own, returns. Raises as `transaction` does."""
        with self.transaction() as connection:
            return connection.execute(statement, values).fetchall()

    @contextmanager
    def listening(self, channel: str) -> Iterator[Connection]:
        """A connection of its own that hears the channel's notifications from now on. Raises as `transaction` does."""
        with translated_errors(), self._connect() as connection:
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            yield connection

    def _open_pool(self) -> ConnectionPool[Connection]:
        with self._lock:
            if self._pool is None:
                # A pool connects in the background, where a refusal would only be seen as a slow timeout.
                self._connect().close()
                self._pool = ConnectionPool(
                    self._url.get_secret_value(),
                    kwargs=_connection_options(),
                    min_size=0,
                    max_size=_POOL_SIZE,
                    timeout=CONNECT_SECONDS,
                    configure=_configure,
                    check=ConnectionPool.check_connection,
                    open=True,
                    name="ledger",
                )
            return self._pool

    def _connect(self) -> Connection:
        connection = connect_directly(self._url)
        _configure(connection)
        connection.autocommit = True
        return connection


def connect_directly(url: SecretStr) -> Connection:
    """A connection outside the pool, without the pool's statement timeout."""
    return psycopg.connect(url.get_secret_value(), **_connection_options())


def _connection_options() -> dict[str, Any]:
    return {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "export_pipeline",
        # A network that swallows packets is noticed within seconds, not hours.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        # Server-side prepared statements do not survive a pooler between us and the database.
        "prepare_threshold": None,
        "row_factory": dict_row,
    }


def _configure(connection: Connection) -> None:
    connection.execute(
        "SELECT set_config('timezone', 'UTC', false), set_config('statement_timeout', %s, false),"
        " set_config('idle_in_transaction_session_timeout', %s, false)",
        [f"{_STATEMENT_SECONDS}s", f"{_STATEMENT_SECONDS}s"],
    )
    connection.commit()


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turns the driver's errors into ours. No address, no account and no value gets into the text."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error
    except UnicodeEncodeError as error:
        raise Rejected(_UNSTORABLE) from error


def translate(error: psycopg.Error) -> ExportError:
    """Our error for one of the driver's."""
    state = error.sqlstate or ""
    passing = state[:2] in ("08", "40", "53") or state[:3] == "57P" or state in ("55P03", "57014", "25P03")
    if passing or (isinstance(error, psycopg.OperationalError) and not state):
        return Transient(UNREACHABLE)
    if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName):
        return Broken("the ledger's tables are missing in DATABASE_URL; run `export-pipeline migrate up`")
    if isinstance(error, errors.UndefinedColumn | errors.UndefinedFunction):
        return Broken("the ledger's tables are not of this version; run `export-pipeline migrate up`")
    if isinstance(error, errors.InsufficientPrivilege):
        return Broken(
            "the account in DATABASE_URL may not do this in the schema exports; let the schema's owner run"
            " `export-pipeline migrate up` or grant the right"
        )
    if isinstance(error, psycopg.DataError):
        return Rejected(_UNSTORABLE)
    message = error.diag.message_primary or type(error).__name__
    return Broken(f"the ledger's database refused a change: {message}; this is a defect, please report it")


_UNSTORABLE = "a text in the request holds a character that cannot be stored (such as NUL); remove it"
