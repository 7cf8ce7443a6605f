"""Filtered exports of leads and events, and of properties as columns, against the same query by psql's `\\copy`.

The rows are made up by PostgreSQL: as many leads as `--rows` says, and twice as many events with 20 properties each.
"""

from collections.abc import Iterator
from functools import partial

from benchmarks.bench import STATE, Bench, cli
from benchmarks.measures import Line, Options, copy_to_file, delivered, in_turns, own_seconds, seconds_of, whole_time
from benchmarks.process import Run, run
from export_pipeline.flow.query import select
from export_pipeline.model.access import Scope
from export_pipeline.model.dataset import Dataset
from export_pipeline.registry import load_parts

_ADMIN = "admin@example.com"
_LEADS = ("status in new,contacted", "price gte 200", "title not_contains urgent")
_EVENTS = ("event in opened,paid and properties.n1 lt 800", "properties.t1 ne value-7")
#: How each property is asked for: five of each type.
_PROPERTIES = tuple(
    f"{letter}{number}{kind}"
    for letter, kind in (("n", ":integer"), ("d", ":decimal(12,2)"), ("t", ":text"), ("b", ":boolean"))
    for number in range(5)
)

_MAKE_LEADS = """
INSERT INTO leads (owner_id, source_id, location_id, title, description, price, status, email, url, created_at)
SELECT
    (SELECT id FROM users WHERE email = 'manager@example.com'),
    (SELECT id FROM lead_sources WHERE name = 'Forum'),
    (SELECT id FROM locations WHERE name = 'Lisbon'),
    CASE n % 9 WHEN 0 THEN 'urgent: ' ELSE '' END || 'made-up lead no. ' || n, 'Bench.',
    (n::bigint * 7919 % 250000) / 100.0,
    (ARRAY['new', 'contacted', 'qualified', 'rejected'])[1 + n % 4], 'lead' || n || '@example.com',
    'https://listings.example.com/' || n, '2011-01-01Z'::timestamptz + n * interval '7 s'
FROM generate_series(1, {rows}) AS n
"""
_MAKE_EVENTS = """
INSERT INTO events (event, distinct_id, timestamp, properties)
SELECT
    (ARRAY['opened', 'paid', 'closed', 'left'])[1 + n % 4], 'user-' || n % 50000,
    '2011-01-01Z'::timestamptz + n * interval '3 s',
    jsonb_build_object({pairs})
FROM generate_series(1, {rows}) AS n
"""
_VALUES = {
    "n": "n * {} % 1000",
    "d": "n * {} % 100000 / 100.0",
    "t": "'value-' || n * {} % 50",
    "b": "n % {} = 0",
}


def filters(bench: Bench, options: Options) -> Iterator[Line]:
    """Leads and events by conditions as raw CSV, and 20 properties of all events as Parquet."""
    make_rows(bench, options.rows)
    datasets = load_parts("export_pipeline.datasets", "DATASET", Dataset)
    made = {"date_from": "2011-01-01"}
    spread = made | {"properties": ",".join(_PROPERTIES)}
    for name, title, chosen, conditions, form, limit in (
        ("leads", "leads by conditions", made, _LEADS, ("csv", "--option", "profile=raw"), 1.3),
        ("events", "events by conditions", made, _EVENTS, ("csv", "--option", "profile=raw"), 1.3),
        ("events", "events, 20 properties", spread, (), ("parquet",), 1.2),
    ):
        text = query(datasets[name], chosen, conditions)
        ours, copy = in_turns(
            options.repeat,
            partial(_export, bench, name, chosen, conditions, form),
            partial(copy_to_file, bench, text, "FORMAT csv, HEADER"),
        )
        rows = int(bench.execute(f"SELECT count(*) FROM ({text}) AS found"))
        note = f"{rows:,} rows, {whole_time(ours)}"
        yield Line(title, own_seconds(ours), seconds_of(copy), "s", limit, note)


def query(dataset: Dataset, chosen: dict[str, str], conditions: tuple[str, ...]) -> str:
    """The query of an export on one line, as somebody would type it after `\\copy`."""
    selection = select(dataset, chosen, (), conditions=conditions).reaching(Scope.ALL)
    columns = ", ".join(f"{column.sql} AS {column.name}" for column in selection.columns)
    return " ".join(f"SELECT {columns} {selection.rows().as_string()} {selection.order().as_string()}".split())


def _export(bench: Bench, name: str, chosen: dict[str, str], conditions: tuple[str, ...], form: tuple[str, ...]) -> Run:
    command = cli("export", name, "--as", _ADMIN, "--destination", "local", "--direct", "--verify", "off", "--json")
    command += ["--format", *form]
    for key, value in chosen.items():
        command += ["--filter", f"{key}={value}"]
    for condition in conditions:
        command += ["--where", condition]
    return delivered(bench, run(command, bench.environment))


def make_rows(bench: Bench, rows: int) -> None:
    """Makes so many leads, and twice as many events, up at first use, for the next time, too."""
    known = STATE / f"filters-{rows}"
    if known.is_file():
        return
    run(cli("sample", "load"), bench.environment)
    pairs = ", ".join(
        f"'{letter}{number}', {_VALUES[letter].format(number + 3)}" for letter in _VALUES for number in range(5)
    )
    for table, column, text, count in (
        ("leads", "created_at", _MAKE_LEADS, rows),
        ("events", "timestamp", _MAKE_EVENTS, 2 * rows),
    ):
        bench.execute(f"DELETE FROM {table} WHERE {column} >= '2011-01-01Z'")
        bench.execute(text.format(rows=count, pairs=pairs))
    bench.execute("VACUUM ANALYZE")
    known.touch()
