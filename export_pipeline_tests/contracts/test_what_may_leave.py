"""What leaves, of every dataset, for every role, in every format: nothing plain that is to be masked, nobody else's
rows, and what the manifest says. On a small source in which all of this can be told from the bytes."""

import hashlib
import io
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import polars as pl
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from export_pipeline.embedded.postgres import Postgres
from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.authorize import identify
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.extract import open_source
from export_pipeline.flow.plan import Plan, make_plan
from export_pipeline.flow.query import Selection
from export_pipeline.flow.request import authorize_plan
from export_pipeline.flow.write import context_of, write_rows
from export_pipeline.ledger.schema import migrate_up
from export_pipeline.model.access import SIGHTS, Policy, Role, Scope, Sensitivity, Sight
from export_pipeline.model.dataset import Dataset
from export_pipeline.model.errors import Broken, Forbidden, Rejected
from export_pipeline.model.format import polars_type
from export_pipeline.model.job import ExportRequest
from export_pipeline.model.masking import KINDS, default_policy
from export_pipeline.services import load_formats, open_services
from export_pipeline.settings import load_settings
from export_pipeline_tests.conftest import fresh_database
from export_pipeline_tests.contracts.test_datasets import DATASETS
from export_pipeline_tests.contracts.world import OWNERS, PERSONAL, SHOWN, fill, leaks, unpacked

PEOPLE = {
    Role.OPERATOR: "operator@example.com",
    Role.CAMPAIGN_MANAGER: OWNERS["A"],
    Role.ANALYST: "analyst@example.com",
    Role.COMPLIANCE: "compliance@example.com",
    Role.ADMIN: "admin@example.com",
}
ALLOWED = [(name, role) for name, role in product(DATASETS, PEOPLE) if role in DATASETS[name].access]
#: Formats that every dataset is written in; those two in all.
CHEAP, WHOLE = ("csv", "jsonl", "parquet"), ("contacts", "leads")
WRITERS = [name for name, form in load_formats().items() if form.write is not None]
KEYS = {"k2": "b" * 32, "k1": "a" * 32}


@pytest.fixture(scope="module")
def world(postgres_server: Postgres) -> Iterator[Engine]:
    """An engine on the small source, with two keys; nothing is filed."""
    with fresh_database(postgres_server) as url:
        fill(url)
        migrate_up(SecretStr(url))
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO exports.audit_log (actor, action) VALUES ('admin@example.com', 'link')")
        with open_services(load_settings(DATABASE_URL=url, EXPORT_HASH_KEYS=KEYS)) as opened:
            yield opened


def request_for(name: str, email: str, form: str = "parquet", **asked: object) -> ExportRequest:
    required = any(item.required for item in DATASETS[name].filters)
    filters = {"campaign_id": campaigns(email)} if required else {}
    return replace(ExportRequest(name, email, filters, format=form), **asked)  # type: ignore[arg-type]


def campaigns(email: str) -> str:
    """The ids of the campaigns that somebody may ask for."""
    markers = [marker for marker, owner in OWNERS.items() if owner == email or email not in OWNERS.values()]
    return ",".join(str(uuid.UUID(hashlib.md5(f"OWNER-{marker}".encode()).hexdigest())) for marker in markers)


def planned(engine: Engine, request: ExportRequest) -> Plan:
    return authorize_plan(engine, identify(engine, request.requested_by), make_plan(engine, request))[0]


def read(engine: Engine, plan: Plan) -> pl.DataFrame:
    with open_source(engine, [plan], Attempt("read", 1)) as opened, opened.read(plan) as rows:
        return pl.concat([rows.schema.to_frame(), *rows.batches])


def written(engine: Engine, rows: pl.DataFrame, plan: Plan, form: str) -> bytes:
    """The rows as a file of the format, unpacked."""
    plan = replace(make_plan(engine, replace(plan.request, format=form)), selection=plan.selection)
    target = io.BytesIO()
    context = context_of(engine, "id", plan, datetime(2026, 1, 3, tzinfo=UTC))
    write_rows(target, rows.schema, iter([rows]), plan, context)  # type: ignore[arg-type]
    return unpacked(target.getvalue(), plan.format.extension)


@pytest.mark.parametrize(("name", "role"), ALLOWED)
def test_file_when_written_then_declared_columns_and_nothing_that_is_not_for_the_role(
    world: Engine, name: str, role: Role
) -> None:
    plan = planned(world, request_for(name, PEOPLE[role]))
    rows = read(world, plan)
    assert rows.schema == {column.name: polars_type(column) for column in plan.columns}
    own = plan.selection.scope is Scope.OWN
    assert rows.height
    masked = SIGHTS[plan.selection.scope][role][Sensitivity.PERSONAL] is not Sight.PLAIN  # type: ignore[index]
    for form in WRITERS if name in WHOLE else CHEAP:
        data = written(world, rows, plan, form)
        if own:
            others = [marker for marker, owner in OWNERS.items() if owner != PEOPLE[role]]
            assert leaks(data, PERSONAL, *others) == [], form
            assert not any(f"OWNER-{marker}".encode() in data for marker in others), form
        if masked:
            assert leaks(data, PERSONAL, *PERSONAL) == [], form
        elif name in WHOLE and form != "pdf":
            assert leaks(data, PERSONAL, *OWNERS), f"{form}: what is not masked is found"


def test_masked_values_when_read_then_as_the_policies_say(world: Engine) -> None:
    rows = read(world, planned(world, request_for("contacts", PEOPLE[Role.ANALYST])))
    first = rows.row(by_predicate=pl.col("external_contact_id") == "OWNER-A1", named=True)
    assert (first["name"], first["phone"], first["email"]) == tuple(SHOWN.values())
    texts = read(world, planned(world, request_for("calls", PEOPLE[Role.ANALYST])))["transcript"]
    assert sorted(set(texts)) == [f'{{"text": "OWNER-{m}: call [phone]\\nor [e-mail]"}}' for m in OWNERS]


@pytest.mark.parametrize("name", DATASETS)
def test_declaration_when_masked_then_by_a_policy_that_its_type_has(name: str) -> None:
    for column in DATASETS[name].columns:
        assert column.type.kind in KINDS[default_policy(column)], column.name


def test_hash_when_asked_for_then_joins_hold_within_a_recipient_and_a_key_only(world: Engine) -> None:
    def phones(name: str, policy: str, recipient: str = "") -> list[str]:
        asked = request_for(name, PEOPLE[Role.ADMIN], masks={"phone": policy}, recipient=recipient)
        plan = planned(world, asked)
        assert {mask.recipient for mask in plan.selection.masks} == {recipient}
        return sorted(set(read(world, plan)["phone"]))

    ours = phones("contacts", "hash")
    assert len(ours) == len(OWNERS) and all(len(value) == 32 for value in ours)
    assert phones("leads", "hash") == ours == phones("leads", "hash:k2")
    for other in (phones("leads", "hash", "Partner Ltd."), phones("leads", "hash:k1"), phones("leads", "hash", "Else")):
        assert not set(other) & set(ours)
    assert phones("contacts", "hash", "Partner Ltd.") == phones("leads", "hash", "Partner Ltd.")


def test_masks_when_asked_for_then_types_follow_in_every_format(world: Engine) -> None:
    masks = {"id": "hash", "created_at": "month", "price": "truncate:1", "title": "truncate:4", "email": "drop"}
    plan = planned(world, request_for("leads", PEOPLE[Role.ADMIN], masks=masks))
    rows = read(world, plan)
    assert rows.schema == {column.name: polars_type(column) for column in plan.columns}
    assert (rows["created_at"].dtype, rows["id"].dtype) == (pl.Date, pl.String)
    assert str(rows["created_at"][0]) == "2026-01-01" and set(rows["title"]) == {"Flat"}
    assert [str(price) for price in rows["price"].unique()] == ["900.00"]
    assert [column.name for column in plan.selection.left_out] == ["email"]
    for form in WRITERS:
        assert written(world, rows, plan, form), form


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"fax": "hash"}, Rejected, "leads has no column 'fax' to mask; it has: id, title"),
        (
            {"phone": "shred"},
            Rejected,
            "phone='shred' is no policy; phone can have: redact, truncate, mask, hash, drop",
        ),
        (
            {"price": "mask"},
            Rejected,
            r"price is decimal\(12,2\), which has no mask; it can have: redact, truncate, hash, drop",
        ),
        ({"title": "truncate:0"}, Rejected, "title=truncate:0 does not say how many"),
        ({"title": "mask:3"}, Rejected, "mask takes nothing after it"),
        ({"phone": "hash:k9"}, Rejected, "phone=hash:k9: there is no key of that id; there are: k2, k1"),
        ({"title": "mask"}, Forbidden, "mask would tell more; it can be: redact, truncate, drop"),
        ({"title": "hash"}, Forbidden, "hash would tell more; it can be: redact, truncate, drop"),
        ({"phone": "truncate"}, Forbidden, "truncate would tell more; it can be: mask, hash, drop"),
    ],
)
def test_mask_when_it_cannot_be_then_refused_with_what_is_allowed(
    world: Engine, asked: dict[str, str], error: type[Rejected], said: str
) -> None:
    with pytest.raises(error, match=said):
        planned(world, request_for("leads", PEOPLE[Role.ANALYST], masks=asked))


def test_hash_when_a_computed_column_has_a_declared_name_then_not_of_what_is_computed(world: Engine) -> None:
    computed = "concat('+12025550171', completed_at) as business_name"
    asked = request_for("contacts", PEOPLE[Role.ANALYST], columns=("id", computed), masks={"business_name": "hash"})
    with pytest.raises(Rejected, match="business_name is computed and cannot be masked"):
        planned(world, asked)
    both = planned(world, replace(asked, columns=(computed, "business_name as firm")))
    assert both.selection.masked == {"firm": "hash"}


def test_hash_when_there_is_no_key_then_refused_and_defaults_fall_back(world: Engine) -> None:
    keyless = replace(world, settings=world.settings.model_copy(update={"hash_keys": {}}))
    with pytest.raises(Rejected, match="phone=hash needs a key: have EXPORT_HASH_KEYS set"):
        planned(keyless, request_for("leads", PEOPLE[Role.ADMIN], masks={"phone": "hash"}))
    hashed = with_columns(DATASETS["leads"], phone={"mask": Policy.HASH}, url={"sensitivity": Sensitivity.SECRET})
    hashed = with_columns(hashed, source={"sensitivity": Sensitivity.SECRET, "mask": Policy.HASH})
    for engine, phone, source in ((world, "hash", "hash"), (keyless, "mask", None)):
        own = replace(engine, datasets={**engine.datasets, "leads": hashed})
        plan = planned(own, request_for("leads", PEOPLE[Role.ANALYST]))
        policies = plan.selection.masked
        assert (policies.get("phone"), policies.get("source")) == (phone, source)
        assert "url" in plan.selection.why_left_out
        told = {mask.column.name: mask.reason for mask in plan.selection.masks}["phone"]
        assert ("not hashed, as there is no key" in told) is (phone == "mask")
    own = replace(world, datasets={**world.datasets, "leads": hashed})
    for role in hashed.access.keys() & PEOPLE.keys():
        selection = planned(own, request_for("leads", PEOPLE[role])).selection
        assert selection.masked["source"] == "hash" and "url" in selection.why_left_out


def with_columns(dataset: Dataset, **changes: dict[str, object]) -> Dataset:
    columns = tuple(replace(item, **changes.get(item.name, {})) for item in dataset.columns)  # type: ignore[arg-type]
    return replace(dataset, columns=columns)


@pytest.mark.parametrize(("name", "role"), [(n, r) for n, r in ALLOWED if r in (Role.ADMIN, Role.CAMPAIGN_MANAGER)])
def test_contact_info_when_left_out_then_no_personal_column_and_free_text_redacted(
    world: Engine, name: str, role: Role
) -> None:
    plan = planned(world, request_for(name, PEOPLE[role], contact_info=False))
    assert all(column.sensitivity is not Sensitivity.PERSONAL for column in plan.columns)
    free = {column.name for column in plan.columns if column.free_text}
    assert free == {name for name, policy in plan.selection.masked.items() if policy == "redact"}
    assert leaks(written(world, read(world, plan), plan, "csv"), PERSONAL, *PERSONAL) == []


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("leads", {"columns": ("id", "phone")}, "without contact info leads has no phone"),
        ("audit_log", {"filters": {"user": "admin"}}, "may not be filtered by user without contact info"),
        ("leads", {"sort": ("email desc",)}, "may be neither filtered nor ordered by email without contact info"),
    ],
)
def test_contact_info_when_left_out_and_asked_for_then_refused(
    world: Engine, name: str, asked: dict[str, object], said: str
) -> None:
    with pytest.raises(Rejected, match=said):
        planned(world, request_for(name, PEOPLE[Role.ADMIN], contact_info=False, **asked))


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("leads", {"conditions": ("description contains '15550199777'",)}),
        ("leads", {"conditions": ("description contains '1 5 5 5'",)}),
        ("leads", {"conditions": ("title contains '15' and description ends_with '77'",)}),
        ("leads", {"conditions": ("price gt 5 or title in a,zoe@,b",)}),
        ("leads", {"conditions": ("title matches 'flat'",)}),
        ("leads", {"conditions": ("title between '+1555' and '+1556'",)}),
        ("leads", {"filters": {"keywords": "flat,0199777"}}),
        ("leads", {"filters": {"exclude_keywords": "zoe@example"}}),
        ("lead_analytics", {"filters": {"keywords": "0199777"}}),
        ("leads", {"sort": ("price", "title desc")}),
        ("events", {"conditions": ("properties.who.tel starts_with '+1555010012'",)}),
        ("events", {"conditions": ("properties contains zoe%40example",)}),
        ("events", {"conditions": ("properties.mobile gte 15550100000",)}),
        ("events", {"conditions": ("mobile between 1 and 1000000",), "filters": {"properties": "mobile:integer"}}),
        ("events", {"sort": ("mobile",), "filters": {"properties": "mobile:float"}}),
        ("events", {"conditions": ('properties.opens."zoe@example.com" is_not_null',)}),
        ("events", {"conditions": ('properties.opens."+15550100123" is_null',)}),
        ("events", {"conditions": ('properties."555" eq "0" and properties.q1 eq 5',)}),
        ("events", {"filters": {"properties": 'plan,opens."zoe%40example.com"'}}),
        ("events", {"filters": {"properties": "plan,opens.15550100123:integer"}}),
    ],
)
def test_redacted_when_looked_at_for_contact_data_then_refused(
    world: Engine, name: str, asked: dict[str, object]
) -> None:
    with pytest.raises(Forbidden, match="leaves redacted in the role analyst; it may be searched for texts without"):
        planned(world, request_for(name, PEOPLE[Role.ANALYST], **asked))
    with pytest.raises(Rejected, match="leaves redacted without contact info"):
        planned(world, request_for(name, PEOPLE[Role.ADMIN], contact_info=False, **asked))
    assert planned(world, request_for(name, PEOPLE[Role.ADMIN], **asked))


def test_redacted_when_looked_at_for_other_things_then_allowed(world: Engine) -> None:
    for name, filters, condition in (
        ("leads", {"keywords": "flat,T2"}, "title contains 'two rooms' and description is_not_null and price gt 1000"),
        ("leads", {}, "location starts_with 12345 and title ne 'No. 12'"),
        ("events", {"properties": "n:integer"}, "n lt 999999 and properties.seconds gte 60 and properties.ok eq true"),
        ("events", {"properties": "q1,q2,q3,q4,p.100"}, "properties.q1 eq yes and properties.q2 eq yes"),
    ):
        asked = request_for(name, PEOPLE[Role.ANALYST], filters=filters, conditions=(condition,))
        assert planned(world, asked).selection.conditions


def test_order_when_by_what_is_masked_then_refused(world: Engine) -> None:
    with pytest.raises(Forbidden, match="may be neither filtered nor ordered by phone in the role analyst"):
        planned(world, request_for("contacts", PEOPLE[Role.ANALYST], sort=("phone",)))


def test_order_when_by_what_the_request_masks_then_refused(world: Engine) -> None:
    asked = request_for("contacts", PEOPLE[Role.ADMIN], sort=("phone desc",))
    for policy in ("hash", "mask", "drop"):
        with pytest.raises(Rejected, match=f"cannot be ordered by phone, which leaves by {policy}"):
            planned(world, replace(asked, masks={"phone": policy}))
    for fine in ({"phone": "truncate:4"}, {"email": "hash"}):
        assert planned(world, replace(asked, masks=fine)).selection.sort
    assert planned(world, replace(asked, sort=("created_at",), masks={"created_at": "month"})).selection.sort


class Unowned(Selection):
    """What a dataset's file would select that forgets whose the rows are."""

    def _where(self) -> sql.Composed:
        return sql.SQL("{}").format(sql.SQL("true"))


#: How many rows the owner has, where it is not three.
OWN_ROWS = {"campaigns": 1, "experiment_results": 2, "lead_analytics": 1, "metrics_summary": 4}
OWNED = [name for name, dataset in DATASETS.items() if Scope.OWN in dataset.access.values()]


@pytest.mark.parametrize("name", OWNED)
def test_rows_when_the_owners_predicate_is_missing_then_nothing_leaves(world: Engine, name: str) -> None:
    plan = planned(world, request_for(name, OWNERS["A"]))
    assert plan.selection.guarded
    assert read(world, plan).height == OWN_ROWS.get(name, 3)
    with pytest.raises(Broken, match=f"the query of {name} yielded a row of another owner"):
        read(world, replace(plan, selection=Unowned(**vars(plan.selection))))


def test_dataset_when_its_aggregation_is_only_half_a_witness_then_refused() -> None:
    dataset = DATASETS["lead_analytics"]
    assert dataset.owner is not None
    with pytest.raises(ValueError, match=r"lead_analytics has one without the other: \{owned\} in its source"):
        replace(dataset, owner=replace(dataset.owner, witness=""))
    with pytest.raises(ValueError, match="one without the other"):
        replace(dataset, source=dataset.source.replace("{owned}", "true"))
