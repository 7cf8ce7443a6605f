"""Which rows are new: with writers that commit out of order, across the end of 32 bits, and after a restore."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.window import Moment, Window, moment_of, window_between
from export_pipeline.model.errors import Rejected
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings
from export_pipeline_tests.conftest import fresh_database
from export_pipeline_tests.flow.late_writers import export_while_writing
from export_pipeline_tests.orchestration.conftest import World, made_world

CYCLE = 2**32


@pytest.fixture
def world(database_url: str) -> World:
    return made_world(database_url)


@pytest.fixture
def engine(world: World) -> Iterator[Engine]:
    with open_services(load_settings(DATABASE_URL=world.url)) as opened:
        yield opened


def test_exports_when_writers_commit_out_of_order_then_no_row_is_lost_and_none_repeated(
    engine: Engine, world: World
) -> None:
    tally = export_while_writing(engine, world.campaign, exports=120)
    assert (tally.lost, tally.repeated) == (0, 0)
    assert tally.exports == 121
    assert tally.late > 50 and tally.transactions > 200 and tally.delivered > 200, tally


def belongs(connection: psycopg.Connection, window: Window, *xids: int | None) -> bool:
    """Whether a row belongs to the window that is joined from rows of these transactions (32 bits, as they are
    stored)."""
    tables = {f"t{number}": xid for number, xid in enumerate(xids)}
    query = window.predicate(list(tables)).as_string(connection)
    values = ", ".join(
        f"(SELECT {'NULL' if xid is None else xid}::text::xid AS xmin) AS t{n}" for n, xid in enumerate(xids)
    )
    # A system column's name may not be a column's: the same expression over one that may.
    found = connection.execute(f"SELECT {query.replace('xmin', 'x')} FROM {values.replace('xmin', 'x')}").fetchone()
    return bool(found and found[0])


@pytest.mark.parametrize("epoch", [0, CYCLE, 7 * CYCLE])
@pytest.mark.parametrize("base", [1000, CYCLE - 30])
def test_window_when_transactions_are_counted_in_a_circle_then_their_order_holds(
    database_url: str, base: int, epoch: int
) -> None:
    def stored(offset: int) -> int:
        found = (base + offset) % CYCLE
        return found if found >= 3 else 3

    first = Window(Moment("d", epoch + base + 20, epoch + base + 60))
    later = Window(Moment("d", epoch + base + 40, epoch + base + 60), since=epoch + base + 20)
    with psycopg.connect(database_url) as connection:
        for offset, in_first, in_later in ((0, 1, 0), (19, 1, 0), (20, 0, 1), (39, 0, 1), (40, 0, 0), (59, 0, 0)):
            assert belongs(connection, first, stored(offset)) is bool(in_first), offset
            assert belongs(connection, later, stored(offset)) is bool(in_later), offset
        assert belongs(connection, first, 2) and not belongs(connection, later, 2)
        # Joined: by the newest; an outer join that found nothing counts for nothing.
        assert belongs(connection, later, stored(0), stored(25))
        assert not belongs(connection, later, stored(25), stored(45))
        assert not belongs(connection, first, stored(0), stored(25))
        assert belongs(connection, later, stored(25), None)
        assert not belongs(connection, later, stored(0), None)
        # A frozen row may be of any transaction of an earlier round.
        assert belongs(connection, first, (base + 2**31 + 500) % CYCLE)


def test_window_when_the_last_export_is_too_far_back_then_refused() -> None:
    at = Moment("d", 3_000_000_000, 3_000_000_000)
    assert window_between(at, ("d", 1_000_000_000)) == Window(at, 1_000_000_000)
    with pytest.raises(Rejected, match=r"more than 2 billion transactions.*--since start"):
        window_between(at, ("d", 800_000_000))


def test_moment_when_a_plain_account_asks_on_an_older_server_then_it_may(postgres15_server: Postgres) -> None:
    with fresh_database(postgres15_server) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS plain_reader")
        connection.execute("CREATE ROLE plain_reader")
        connection.execute("SET ROLE plain_reader")
        system, timeline, oid = moment_of(connection).database.split("/")
    assert int(system) > 2**32 and timeline == "00000001" and int(oid) > 0


def test_moment_when_a_function_is_not_for_the_account_then_told_by_the_rest(world: World) -> None:
    with psycopg.connect(world.url) as connection:
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public")
        connection.execute("CREATE ROLE plain_reader_of_less")
        connection.execute("SET ROLE plain_reader_of_less")
        at = moment_of(connection)
        connection.rollback()
    assert at.database.startswith("/00000001/")


def test_moment_when_a_transaction_is_long_open_then_since_when(world: World) -> None:
    with psycopg.connect(world.url) as slow, psycopg.connect(world.url) as connection:
        slow.execute("UPDATE users SET username = username")
        world.run("UPDATE campaigns SET status = 'paused'")
        at = moment_of(connection)
    assert at.oldest is not None
    assert datetime.now(UTC) - at.oldest < timedelta(seconds=10)
    assert at.xmin < at.xmax
