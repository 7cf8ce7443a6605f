"""What every dataset must do, whichever it is: a new file in `datasets/` is tested from the moment it exists."""

import re
from collections.abc import Iterator
from dataclasses import replace

import polars as pl
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.embedded.sample import LAST_CAMPAIGN, USERS, sample_id
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.plan import make_plan
from export_pipeline.flow.properties import PROPERTIES
from export_pipeline.flow.query import Selection, filters_of
from export_pipeline.flow.request import authorize_plan
from export_pipeline.flow.source import Source
from export_pipeline.formats._figures import compute
from export_pipeline.model.access import Policy, Principal, Role, Scope, Sensitivity
from export_pipeline.model.dataset import Dataset, Filter, Kind
from export_pipeline.model.errors import Broken, Forbidden, Rejected
from export_pipeline.model.format import polars_type
from export_pipeline.model.job import ExportRequest
from export_pipeline.model.masking import default_policy
from export_pipeline.registry import load_parts
from export_pipeline_tests.conftest import fresh_database
from export_pipeline_tests.datasets.reading import ADMIN, ANALYST, MANAGER, MANAGER2, ask, authorized, read, read_source

DATASETS = load_parts("export_pipeline.datasets", "DATASET", Dataset)
FILTERS = [(name, item) for name, dataset in DATASETS.items() for item in filters_of(dataset)]
FILTER_IDS = [f"{name}-{item.name}" for name, item in FILTERS]
#: Those that look for values; what names columns is in flow/test_properties.py.
OF_VALUES = [(name, item) for name, item in FILTERS if item.name != PROPERTIES]
OPERATOR = "operator@example.com"
#: What the sample holds for each filter, by its name.
VALUES = {
    "campaign_id": "SELECT '" + LAST_CAMPAIGN + "'",
    "experiment_id": "SELECT id::text FROM experiments WHERE name = 'Three prices'",
    "location_ids": "SELECT id::text FROM locations WHERE name = 'Lisbon'",
    "location_names": "SELECT 'Lisbon'",
    "categories": "SELECT '\"Furniture, home\"'",
    "sources": "SELECT 'Forum'",
    "min_price": "SELECT '1000.00'",
    "max_price": "SELECT '1000'",
    "has_email": "SELECT 'true'",
    "has_phone": "SELECT 'FALSE'",
    "keywords": "SELECT 'FAHRRAD'",
    "exclude_keywords": "SELECT 'Fahrrad'",
    "outcome": "SELECT 'completed'",
    "metric": "SELECT 'retention_1d'",
    "events": "SELECT 'signed_in'",
    "distinct_id": "SELECT 'user-00042'",
    "features": "SELECT 'export'",
    "team": "SELECT 'North'",
    "entity_type": "SELECT 'user'",
    "action": "SELECT 'role_change'",
    "properties": "SELECT 'path,seconds:decimal(6,1)'",
}
#: Filters of one name that mean other things in some datasets.
SPECIAL_VALUES = {
    ("campaigns", "status"): "active",
    ("calls", "status"): "busy",
    ("leads", "status"): "converted",
    ("lead_analytics", "status"): "converted",
    ("experiment_results", "status"): "stopped",
    ("automation_performance", "kind"): "rule",
    ("compliance", "kind"): "permission change",
    ("audit_log", "user"): "manager",
    ("user_activity", "user"): MANAGER,
    ("compliance", "user"): ADMIN,
}
ATTACKS = (
    "' OR true --",
    "'; DROP TABLE users; --",
    "x') OR (true",
    "\\' OR 1=1 --",
    "' UNION SELECT email FROM users --",
    "{value}",
    "{where}",
    "%s",
    "$1",
    "'||pg_sleep(9)||'",
    '"users"',
    "NULL",
    "é'\n; SELECT 1",
    "*/ OR true /*",
)


def required(dataset: Dataset, campaign: str = LAST_CAMPAIGN) -> dict[str, str]:
    return {item.name: campaign for item in dataset.filters if item.required}


def asked(engine: Engine, name: str, filters: dict[str, str], columns: tuple[str, ...] = ()) -> Selection:
    """What a request selects, before anybody is asked who they are."""
    return make_plan(engine, ExportRequest(name, ADMIN, filters, columns)).selection


def sample_value(engine: Engine, name: str, item: Filter) -> str:
    if item.name == "ids":
        dataset = DATASETS[name]
        where = f"WHERE {dataset.where}" if dataset.where else f"WHERE ({dataset.key}) IS NOT NULL"
        # A row of the campaign that is required anyway.
        own = "".join(f" AND campaign.id = '{LAST_CAMPAIGN}'" for _ in required(dataset))
        return str(ask(engine, f"SELECT {dataset.key} FROM {dataset.source} {where}{own} LIMIT 1")[0][0])
    special = SPECIAL_VALUES.get((name, item.name))
    return special or str(ask(engine, VALUES[item.name])[0][0])


@pytest.fixture(scope="module")
def whole(sample_engine: Engine) -> dict[str, pl.DataFrame]:
    """All that an administrator gets, of each dataset."""
    return {name: read(sample_engine, name, required(dataset)) for name, dataset in DATASETS.items()}


@pytest.mark.parametrize("name", DATASETS)
def test_numbers_when_of_any_length_then_say_how_a_spreadsheet_shows_them(name: str) -> None:
    floats = [column for column in DATASETS[name].columns if column.type.kind is Kind.FLOAT]
    assert [column.name for column in floats if not column.number_format] == []


@pytest.mark.parametrize("name", DATASETS)
def test_rows_when_read_then_of_the_declared_columns_and_types(whole: dict[str, pl.DataFrame], name: str) -> None:
    declared = {column.name: polars_type(column) for column in DATASETS[name].columns}
    assert dict(whole[name].schema) == declared
    assert whole[name].height > 0
    assert whole[name].height < 200_000


@pytest.mark.parametrize("name", DATASETS)
def test_report_when_computed_then_every_figure_and_chart_has_numbers(
    whole: dict[str, pl.DataFrame], name: str
) -> None:
    found = compute(whole[name].lazy(), DATASETS[name].report)
    assert all(number is not None for _, number in found.figures)
    assert all(series.labels and any(series.values) for series in found.series)


@pytest.mark.parametrize("name", DATASETS)
def test_declaration_when_read_then_complete(name: str) -> None:
    dataset = DATASETS[name]
    assert dataset.description and dataset.title and dataset.tables
    assert all(column.description for column in dataset.columns)
    assert all(item.description for item in dataset.filters)
    assert len({column.name for column in dataset.columns}) == len(dataset.columns)
    assert bool(dataset.date_column) == bool(dataset.date_label)
    names = frozenset(column.name for column in dataset.columns)
    assert dataset.report.within({name: name for name in names}) == dataset.report, (
        "figures and charts of columns that there are"
    )


@pytest.mark.parametrize("name", DATASETS)
def test_filter_when_it_looks_at_a_personal_column_then_is_personal_too(name: str) -> None:
    dataset = DATASETS[name]
    personal = [column.sql for column in dataset.columns if column.sensitivity is not Sensitivity.INTERNAL]
    # That there is an address is not the address: those who count leads see how many have one.
    looks = {
        item.name
        for item in dataset.filters
        for of in personal
        if re.search(rf"{re.escape(of)}\b", item.sql.replace(f"{of} IS NOT NULL", ""))
    }
    told = {item.name for item in dataset.filters if item.sensitivity is Sensitivity.INTERNAL}
    assert looks & told == set()


@pytest.mark.parametrize(("name", "item"), FILTERS, ids=FILTER_IDS)
def test_filter_when_given_then_some_rows_and_applied_below_the_aggregation(
    sample_engine: Engine, whole: dict[str, pl.DataFrame], name: str, item: Filter
) -> None:
    filters = required(DATASETS[name]) | {item.name: sample_value(sample_engine, name, item)}
    some = read(sample_engine, name, filters)
    assert some.height > 0
    everything = whole[name]
    if item.required:
        assert some.height == everything.height
    elif some.height == everything.height:
        # The same groups of fewer rows.
        assert not some.equals(everything)
    else:
        assert some.height < everything.height
    rows = authorized(sample_engine, name, filters).selection.rows()
    plan = [row[0] for row in ask(sample_engine, sql.SQL("EXPLAIN SELECT 1 {}").format(rows).as_string())]
    above = [plan[n + 1] for n, line in enumerate(plan[:-1]) if "Subquery Scan on result" in line]
    assert not any("Filter:" in line for line in above), plan


@pytest.mark.parametrize(("name", "item"), OF_VALUES, ids=lambda value: getattr(value, "name", value))
def test_filter_when_its_value_is_hostile_then_refused_or_just_a_value(
    sample_engine: Engine, name: str, item: Filter
) -> None:
    """Typed filters refuse it. Of texts no row has such a value, so that any row would tell that it was understood."""
    dataset = DATASETS[name]
    base = required(dataset)
    with psycopg.connect(sample_engine.settings.source.get_secret_value()) as connection:
        connection.read_only = True
        for attack in ATTACKS:
            # As one value: quoted as in CSV where the filter takes a list.
            text = '"' + attack.replace('"', '""') + '"' if item.many else attack
            if item.type.kind is not Kind.TEXT or item.choices:
                with pytest.raises(Rejected, match=item.name):
                    asked(sample_engine, name, base | {item.name: text})
                continue
            rows = asked(sample_engine, name, base | {item.name: text}).reaching(Scope.ALL).rows()
            found = connection.execute(sql.SQL("SELECT 1 {} LIMIT 1").format(rows)).fetchall()
            assert found == ([(1,)] if item.name == "exclude_keywords" else []), attack
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (len(USERS),)


@pytest.mark.parametrize("name", DATASETS)
def test_names_when_hostile_then_refused_by_name(sample_engine: Engine, name: str) -> None:
    base = required(DATASETS[name])
    for attack in (*ATTACKS, "date_from; --", "ids) OR (true", "LIMIT"):
        with pytest.raises(Rejected, match="has no filter"):
            asked(sample_engine, name, base | {attack: "1"})
        if DATASETS[name].column(attack.strip('"')):
            continue  # a column's name may stand in quotes
        with pytest.raises(Rejected, match="has no column"):
            asked(sample_engine, name, base, columns=(attack,))
    for value in ("0", "-1", "1; DROP TABLE users", "1.5", ""):
        with pytest.raises(Rejected, match="limit"):
            asked(sample_engine, name, base | {"limit": value})


@pytest.mark.parametrize("name", DATASETS)
def test_limit_when_given_then_the_first_rows(sample_engine: Engine, whole: dict[str, pl.DataFrame], name: str) -> None:
    first = read(sample_engine, name, required(DATASETS[name]) | {"limit": "3"})
    assert first.equals(whole[name].head(3))


@pytest.mark.parametrize("name", [name for name, dataset in DATASETS.items() if dataset.date_column])
def test_dates_when_they_lie_outside_then_no_rows(sample_engine: Engine, name: str) -> None:
    base = required(DATASETS[name])
    assert read(sample_engine, name, base | {"date_from": "2031-01-01"}).height == 0
    assert read(sample_engine, name, base | {"date_to": "1999-12-31"}).height == 0


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.SERVICE])
@pytest.mark.parametrize("name", DATASETS)
def test_role_when_it_has_no_access_then_refused(sample_engine: Engine, name: str, role: Role) -> None:
    email = next(email for email, its in USERS.items() if its == role)
    dataset = DATASETS[name]
    own = sample_id("campaign", "2008-06" if role is Role.OPERATOR else "2008-05")
    if role in dataset.access:
        assert authorized(sample_engine, name, required(dataset, own), email=email).selection.scope is not None
    else:
        with pytest.raises(Forbidden, match=f"the role {role} may not export {name}"):
            authorized(sample_engine, name, required(dataset, own), email=email)


#: For each dataset with own rows: how many rows, or what a sum of a column, belong to a user in the source itself.
OWNED = {
    "campaigns": (None, "SELECT count(*) FROM campaigns WHERE owner_id = %s"),
    "contacts": (None, "SELECT count(*) FROM contacts JOIN campaigns c ON c.id = campaign_id WHERE owner_id = %s"),
    "calls": (
        None,
        "SELECT count(*) FROM calls JOIN contacts k ON k.id = contact_id JOIN campaigns c ON c.id = k.campaign_id"
        " WHERE owner_id = %s",
    ),
    "leads": (None, "SELECT count(*) FROM leads WHERE owner_id = %s"),
    "lead_analytics": ("leads", "SELECT count(*) FROM leads WHERE owner_id = %s"),
    "experiment_results": (
        None,
        "SELECT count(DISTINCT (v.id, m.metric)) FROM experiments e JOIN variants v ON v.experiment_id = e.id"
        " JOIN assignments a ON a.variant_id = v.id JOIN metrics m ON m.assignment_id = a.id WHERE owner_id = %s",
    ),
    "metrics_summary": (
        None,
        "SELECT count(DISTINCT (c.id, (l.started_at AT TIME ZONE 'UTC')::date)) + count(DISTINCT c.id) + (SELECT"
        " count(DISTINCT (e.id, (a.assigned_at AT TIME ZONE 'UTC')::date)) + count(DISTINCT e.id) FROM experiments e"
        " JOIN assignments a ON a.experiment_id = e.id WHERE e.owner_id = min(c.owner_id::text)::uuid)"
        " FROM campaigns c JOIN contacts k ON k.campaign_id = c.id JOIN calls l ON l.contact_id = k.id"
        " WHERE c.owner_id = %s",
    ),
}
WITH_OWN = [
    (name, email)
    for name, dataset in DATASETS.items()
    for email in (MANAGER, MANAGER2, OPERATOR)
    if dataset.access.get(Role(USERS[email])) is Scope.OWN
]


@pytest.mark.parametrize(("name", "email"), WITH_OWN)
def test_rows_when_only_ones_own_then_all_of_these_and_none_of_others(
    sample_engine: Engine, name: str, email: str
) -> None:
    user = sample_id("user", email)
    if required(DATASETS[name]):
        mine = [str(row[0]) for row in ask(sample_engine, "SELECT id FROM campaigns WHERE owner_id = %s", user)]
        assert read(sample_engine, name, {"campaign_id": ",".join(mine[:2])}, email=email).height > 0
        other = str(ask(sample_engine, "SELECT id FROM campaigns WHERE owner_id <> %s", user)[0][0])
        with pytest.raises(Forbidden, match=f"the campaign {other} is not yours"):
            authorized(sample_engine, name, {"campaign_id": f"{mine[0]},{other}"}, email=email)
        return
    column, query = OWNED[name]
    rows = read(sample_engine, name, email=email)
    found = rows.height if column is None else rows[column].sum()
    assert [(found,)] == ask(sample_engine, query, user)
    assert found > 0
    everything = authorized(sample_engine, name)
    assert everything.selection.scope is Scope.ALL


@pytest.mark.parametrize(("name", "email"), WITH_OWN)
def test_filters_when_they_name_what_is_somebody_elses_then_no_row_of_it(
    sample_engine: Engine, name: str, email: str
) -> None:
    dataset = DATASETS[name]
    others = next(other for other in (MANAGER2, MANAGER) if other != email)
    named = dataset.owner.filter if dataset.owner else ""
    for item in filters_of(dataset):
        if item.name in ("campaign_id", "experiment_id"):
            kind = item.name.removesuffix("_id") + "s"
            found = ask(sample_engine, f"SELECT id FROM {kind} WHERE owner_id = %s", sample_id("user", others))
            filters = {item.name: str(found[0][0])}
            if item.name == named:
                with pytest.raises(Forbidden, match="is not yours"):
                    authorized(sample_engine, name, filters, email=email)
            else:
                assert read(sample_engine, name, filters, email=email).height == 0
        elif item.name == "ids" and not required(dataset):
            theirs = authorized(sample_engine, name, {"limit": "5"}, email=others)
            with read_source(sample_engine, theirs) as rows:
                ids = pl.concat(list(rows.batches))["id"]
            assert len(ids) == 5
            assert read(sample_engine, name, {"ids": ",".join(ids)}, email=email).height == 0


@pytest.mark.parametrize("name", [name for name, dataset in DATASETS.items() if Role.ANALYST in dataset.access])
def test_personal_columns_when_an_analyst_asks_then_masked_or_left_out(sample_engine: Engine, name: str) -> None:
    dataset = DATASETS[name]
    plan = authorized(sample_engine, name, email=ANALYST)
    personal = [column for column in dataset.columns if column.sensitivity is Sensitivity.PERSONAL]
    hidden = [column for column in personal if default_policy(column) is Policy.DROP]
    assert list(plan.selection.left_out) == hidden
    masked = {mask.column.name for mask in plan.selection.masks}
    assert {column.name for column in personal if column not in hidden} <= masked
    assert all(column.free_text or column in personal for column in dataset.columns if column.name in masked)
    written = read(sample_engine, name, {"limit": "20000"}, email=ANALYST).write_csv()
    assert not re.search(r"[^*]@example\.com|\+1[0-9]{3}55501|192\.0\.2\.|manager2?\b", written)
    for column in hidden:
        with pytest.raises(Forbidden, match=rf"may not see these columns of {name}: {column.name} \(personal\)"):
            authorized(sample_engine, name, email=ANALYST, columns=(dataset.columns[0].name, column.name))


def test_filter_when_personal_and_the_role_may_not_see_then_refused_and_its_value_is_not_told(
    sample_engine: Engine,
) -> None:
    plan = authorized(sample_engine, "audit_log", {"user": MANAGER, "action": "update,view"})
    assert plan.selection.described == {"user": "(not told)", "action": "update,view"}
    analyst = Principal("a", ANALYST, "analyst", Role.ANALYST)
    opened = make_plan(sample_engine, ExportRequest("audit_log", ANALYST, {"user": MANAGER}))
    dataset = DATASETS["audit_log"]
    wider = replace(dataset, access={Role.ANALYST: Scope.ALL})
    selection = replace(opened.selection, dataset=wider)
    with pytest.raises(Forbidden, match="may not be filtered by user in the role analyst"):
        authorize_plan(sample_engine, analyst, replace(opened, selection=selection))


def test_rows_when_nobody_was_authorized_then_none_can_be_read(sample_engine: Engine) -> None:
    plan = make_plan(sample_engine, ExportRequest("leads", ADMIN))
    with (
        pytest.raises(Broken, match="before anybody was authorized"),
        read_source(sample_engine, plan),
    ):
        pass


@pytest.fixture(scope="module")
def empty_source(postgres_server: Postgres) -> Iterator[Source]:
    """A database without any table."""
    with fresh_database(postgres_server) as url:
        yield Source(SecretStr(url), snapshot_seconds=60)


@pytest.mark.parametrize("name", DATASETS)
def test_source_when_it_lacks_the_tables_then_told_which(
    sample_engine: Engine, empty_source: Source, name: str
) -> None:
    engine = replace(sample_engine, source=empty_source)
    admin = Principal(sample_id("user", ADMIN), ADMIN, "admin", Role.ADMIN)
    with pytest.raises(Broken, match=r'relation "([\w.]+)" does not exist') as caught:
        plan = make_plan(engine, ExportRequest(name, ADMIN, required(DATASETS[name]), format="parquet"))
        plan, _ = authorize_plan(engine, admin, plan)
        with read_source(engine, plan):
            pass
    found = re.search(r'relation "([\w.]+)"', str(caught.value))
    assert found and found[1] in DATASETS[name].tables
