"""Writers that commit out of order, with savepoints and long transactions, while exports of what is new run in a loop;
and the count of rows that were lost or came twice. `python -m benchmarks.late_commits` runs it for longer.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Event, Thread

import psycopg

from export_pipeline.flow.engine import Engine
from export_pipeline.flow.incremental import narrow
from export_pipeline.flow.plan import fit_plan, make_plan
from export_pipeline.flow.window import moment_of, window_between
from export_pipeline.model.access import Scope
from export_pipeline.model.job import ExportRequest

WRITERS = 6
_CONTACT_EVERY = 20


@dataclass
class Tally:
    """What a run has found: `lost` rows are in the source at the end and in no export, `repeated` ones in two.
    `late` are exports while transactions were open, and `seconds` how long each took."""

    exports: int = 0
    delivered: int = 0
    late: int = 0
    lost: int = 0
    repeated: int = 0
    transactions: int = 0
    seconds: list[float] = field(default_factory=list)


@contextmanager
def writing(url: str, campaign: str, tally: Tally) -> Iterator[None]:
    """While the context is open, six threads write contacts and calls of the campaign; each version of a row has a name
    of its own."""
    stop = Event()
    counts = [0] * WRITERS
    # Calls go to the newest contacts, so that a contact's change brings back some dozens of rows, not ever more.
    newest = [str(number + 1) for number in range(WRITERS)]
    failures: list[BaseException] = []

    def write(number: int) -> None:
        chance = random.Random(number)
        try:
            with psycopg.connect(url) as connection:
                while not stop.is_set():
                    counts[number] += 1
                    name = f"{number}.{counts[number]}"
                    if counts[number] % _CONTACT_EVERY == 0:
                        _add_contact(connection, campaign, name)
                        newest[number] = name
                    _transaction(connection, campaign, chance, name, chance.choice(newest))
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=write, args=(number,), daemon=True) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not failures, failures
    tally.transactions = sum(counts)


def _add_contact(connection: psycopg.Connection, campaign: str, name: str) -> None:
    connection.execute(
        "INSERT INTO contacts (campaign_id, external_contact_id, name, phone) VALUES (%s, %s, %s, '+15550100')",
        (campaign, name, f"contact {name}"),
    )
    connection.execute("COMMIT")


def _transaction(connection: psycopg.Connection, campaign: str, chance: random.Random, name: str, contact: str) -> None:
    """One transaction: new calls, changed calls, a new or changed contact, each perhaps in a savepoint that is perhaps
    rolled back; then a wait, and a commit or, seldom, a rollback."""
    for step in range(chance.randint(1, 3)):
        savepoint = chance.random() < 0.5
        if savepoint:
            connection.execute("SAVEPOINT inner_step")
        _write(connection, campaign, chance, f"{name}.{step}", contact)
        if savepoint:
            kept = chance.random() < 0.7
            connection.execute("RELEASE inner_step" if kept else "ROLLBACK TO inner_step")
        if chance.random() < 0.5:
            time.sleep(chance.random() * 0.01)
    # Most are short; some are open while dozens of others, and exports, begin and end.
    time.sleep(chance.uniform(0.2, 0.6) if chance.random() < 0.02 else chance.random() * 0.02)
    connection.execute("COMMIT" if chance.random() < 0.9 else "ROLLBACK")


def _write(connection: psycopg.Connection, campaign: str, chance: random.Random, version: str, contact: str) -> None:
    kind = chance.random()
    if kind < 0.15:
        connection.execute(
            "INSERT INTO contacts (campaign_id, name, phone) VALUES (%s, %s, '+15550100')",
            (campaign, f"contact {version}"),
        )
    elif kind < 0.25:
        # One changed contact in a transaction at most, or two writers would wait for each other for ever.
        if version.endswith(".0"):
            connection.execute(
                "UPDATE contacts SET name = %s WHERE campaign_id = %s AND external_contact_id = %s",
                (f"contact {version}", campaign, contact),
            )
    elif kind < 0.4:
        connection.execute(
            "UPDATE calls SET recording_url = %s WHERE ended_reason = %s AND id ="
            " (SELECT id FROM calls WHERE ended_reason = %s ORDER BY random() LIMIT 1)",
            (f"call {version}", version.partition(".")[0], version.partition(".")[0]),
        )
    else:
        connection.execute(
            "INSERT INTO calls (contact_id, status, started_at, ended_reason, recording_url)"
            " SELECT id, 'completed', now(), %s, %s FROM contacts WHERE campaign_id = %s AND external_contact_id = %s",
            (version.partition(".")[0], f"call {version}", campaign, contact),
        )


def export_while_writing(engine: Engine, campaign: str, exports: int) -> Tally:
    """So many exports of a series in a row, and a last one when the writers have ended."""
    tally = Tally()
    delivered: Counter[tuple[str, str | None]] = Counter()
    last: tuple[str, int] | None = None
    url = engine.settings.source.get_secret_value()
    with writing(url, campaign, tally):
        for _ in range(exports):
            last = _export(engine, campaign, last, delivered, tally)
    _export(engine, campaign, last, delivered, tally)
    with psycopg.connect(url) as connection:
        there = connection.execute(
            "SELECT contact.name, call.recording_url FROM contacts AS contact"
            " LEFT JOIN calls AS call ON call.contact_id = contact.id WHERE contact.campaign_id = %s",
            (campaign,),
        ).fetchall()
    tally.lost = sum(row not in delivered for row in there)
    tally.repeated = sum(count > 1 for count in delivered.values())
    tally.delivered = delivered.total()
    return tally


def _export(
    engine: Engine,
    campaign: str,
    last: tuple[str, int] | None,
    delivered: Counter[tuple[str, str | None]],
    tally: Tally,
) -> tuple[str, int]:
    """One export's query as it is run, without the file. Returns what the next one follows."""
    request = ExportRequest(
        dataset="campaign_results",
        requested_by="",
        filters={"campaign_id": campaign},
        columns=("name", "recording_url"),
        options={"profile": "raw"},
    )
    plan = make_plan(engine, request)
    plan = replace(plan, selection=plan.selection.reaching(Scope.ALL))
    began = time.monotonic()
    with engine.source.snapshot() as snapshot:
        at = moment_of(snapshot.connection)
        window = window_between(at, last)
        rows = snapshot.connection.execute(fit_plan(narrow(plan, window), snapshot).query).fetchall()
    tally.seconds.append(time.monotonic() - began)
    delivered.update(rows)
    tally.exports += 1
    tally.late += at.xmax > at.xmin
    return at.database, at.xmin
