"""The database where the data is: who people are, who owns what, and one consistent snapshot to read from.

Reading only, so a read-only account suffices. Errors of the driver become ours here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from pydantic import SecretStr

from export_pipeline.model.access import SERVICE, Principal, Role, Scope
from export_pipeline.model.errors import Broken, ExportError, Transient

#: The setting that policies of row-level security compare owners with.
PRINCIPAL_SETTING = "app.principal"
#: Classes of errors whose text repeats values of rows: data, constraints, and what functions of the source raise.
_WITH_VALUES = ("22", "23", "P0")

Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True)
class Snapshot:
    """An open snapshot: `connection` is in it, and other connections can join it by its `id`. `own_role`: see
    `Source`."""

    connection: Connection
    id: str
    taken_at: datetime
    own_role: str | None = None


class Source:
    """The source database, by its URL. `own_role` is the role that a person's own rows are read in; None: as it is.
    `tuning` are settings of PostgreSQL's for the transaction that reads the rows, by name; `driver` is the library of
    ADBC's that reads them, where it is not the one that was installed."""

    def __init__(
        self,
        url: SecretStr,
        *,
        snapshot_seconds: int,
        own_role: str | None = None,
        tuning: Mapping[str, str | int] | None = None,
        driver: Path | None = None,
    ) -> None:
        self.url = url
        self.snapshot_seconds = snapshot_seconds
        self.own_role = own_role
        self.tuning = dict(tuning or {})
        self.driver = driver

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection that only reads. Raises Transient where the database is away, Broken where it refuses."""
        with translated_errors():
            connection = psycopg.connect(
                self.url.get_secret_value(), connect_timeout=10, application_name="export_pipeline", autocommit=True
            )
            with connection:
                connection.read_only = True
                yield connection

    def find_principal(self, email: str) -> Principal | None:
        """Who has that e-mail address (letter case aside), with a role that we know; or None."""
        if email == SERVICE.email:
            return None
        found = self._row(
            "SELECT id::text, email, username, role::text FROM users WHERE lower(email) = lower(%s)", email
        )
        if found is None or found[3] not in set(Role) - {Role.SERVICE}:
            return None
        return Principal(id=found[0], email=found[1], username=found[2], role=Role(found[3]))

    def find_owners(self, owner_sql: str, values: Sequence[object], principal_id: str) -> list[str | None]:
        """For each value the owner's id of what it names, an empty text where that has none; None where it does not
        exist, or where row-level security hides it from who asks."""
        with self.connect() as connection:
            connection.execute("SELECT set_config(%s, %s, false)", (PRINCIPAL_SETTING, principal_id))
            queries = [sql.SQL(owner_sql).format(value=sql.Literal(value)) for value in values]
            found = [connection.execute(query).fetchone() for query in queries]
        return [None if row is None else str(row[0] or "") for row in found]

    def _row(self, query: LiteralString, *values: object) -> TupleRow | None:
        with self.connect() as connection:
            return connection.execute(query, values or None).fetchone()

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One consistent view of the data, for as long as the context is open, `snapshot_seconds` at most."""
        with self.connect() as connection:
            connection.autocommit = False
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            for statement in session_settings(connection.info.server_version, self.snapshot_seconds):
                connection.execute(statement)
            found = connection.execute("SELECT pg_export_snapshot(), transaction_timestamp()").fetchone()
            assert found is not None
            yield Snapshot(connection, id=found[0], taken_at=found[1], own_role=self.own_role)


def session_settings(server_version: int, snapshot_seconds: int) -> list[sql.Composed]:
    """What an export's transaction sets: nothing may hold a snapshot, and with it vacuum, for ever; texts are ISO."""
    limit = sql.Literal(f"{snapshot_seconds}s")
    settings = {"statement_timeout": limit, "idle_in_transaction_session_timeout": limit}
    if server_version >= 170000:
        settings["transaction_timeout"] = limit
    # A snapshot has two connections. Somebody who waits to change a table that the first has looked at would hold up
    # the second for ever, and PostgreSQL sees no deadlock, as the first waits for us.
    settings["lock_timeout"] = sql.Literal("10s")
    # A worker that was killed hangs up without a word: its query should not run on for nobody.
    settings["client_connection_check_interval"] = sql.Literal("5s")
    settings |= {"timezone": sql.Literal("UTC"), "intervalstyle": sql.Literal("iso_8601")}
    settings |= {"extra_float_digits": sql.Literal(1)}
    return set_locally(settings)


def set_locally(settings: Mapping[str, sql.Composable]) -> list[sql.Composed]:
    """The statements that set PostgreSQL's settings for a transaction."""
    return [sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), value) for name, value in settings.items()]


def access_settings(scope: Scope | None, owner_id: str, own_role: str | None) -> list[sql.Composed]:
    """What a transaction sets for the source's row-level security, where it has any, before it reads rows: of whoever
    reaches only their own, who it is, and the role that the policies hold for; of everybody's rows, that a policy which
    would hide some is an error."""
    own = scope is Scope.OWN
    principal = sql.SQL("SELECT set_config({}, {}, true)").format(
        sql.Literal(PRINCIPAL_SETTING), sql.Literal(owner_id if own else "")
    )
    role = sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(own_role) if own and own_role else sql.SQL("NONE"))
    security = sql.SQL("SET LOCAL row_security = {}").format(sql.SQL("on" if own else "off"))
    return [principal, role, security]


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turns the driver's errors into ours; no connection string and no row gets into the text."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


def translate(error: psycopg.Error) -> ExportError:
    """Our error for one of the driver's."""
    state = error.sqlstate or ""
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return Transient("a table of the source is locked, perhaps by a migration")
    # Class 08: connection; 40: serialization, deadlock; 53: resources; 57P: shutdown, crash.
    if isinstance(error, psycopg.OperationalError) and (
        not state or state[:2] in ("08", "40", "53") or state[:3] == "57P"
    ):
        return Transient(
            "the source database cannot be reached or went away; check that it is up and EXPORT_SOURCE_URL"
        )
    message = error.diag.message_primary or type(error).__name__
    # 25P04: the transaction's own timeout, which may come first.
    if isinstance(error, psycopg.errors.QueryCanceled) or state == "25P04":
        return Broken(
            f"the source database stopped the query ({message}); narrow the export or raise EXPORT_SNAPSHOT_SECONDS"
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        hidden = "; exports of everybody's rows need BYPASSRLS (docs/what-may-leave.md)"
        hint = hidden if "row-level security" in message else ""
        return Broken(f"the account in EXPORT_SOURCE_URL may not read this: {message}{hint}")
    if isinstance(
        error, (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction)
    ):
        return Broken(f"the source's schema is not what the dataset's file expects: {message}")
    told = f" (SQLSTATE {state})" if state.startswith(_WITH_VALUES) else f": {message}"
    return Broken(f"the source database refused the query{told}")
