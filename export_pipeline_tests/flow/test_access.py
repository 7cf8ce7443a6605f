"""Who may have what: every role against every dataset, own and others' campaigns and exports, at every verb."""

import json
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from export_pipeline.embedded.sample import USERS, sample_id
from export_pipeline.flow import manage
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.history import list_exports
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.publish import read_manifest
from export_pipeline.flow.request import file_request
from export_pipeline.model.access import SERVICE
from export_pipeline.model.errors import Broken, Forbidden, NotFound, Rejected
from export_pipeline.model.job import ExportJob, ExportRequest, Status

#: One campaign of each owner (they take turns, month by month).
OWN = {
    "manager@example.com": "2008-05",
    "operator@example.com": "2008-06",
    "manager2@example.com": "2008-07",
    "operator2@example.com": "2008-08",
}
#: What each role gets of its own and of others' campaigns.
ALLOWED = {
    ("campaign_results", "operator"): "own",
    ("campaign_results", "campaign_manager"): "own",
    ("campaign_results", "admin"): "all",
    ("survey_outcomes", "campaign_manager"): "own",
    ("survey_outcomes", "admin"): "all",
}


@pytest.mark.parametrize("dataset", ["campaign_results", "survey_outcomes"])
@pytest.mark.parametrize("email", sorted(USERS))
@pytest.mark.parametrize("whose", ["own", "other"])
def test_request_when_asked_by_each_role_then_as_the_table_says(
    engine: Engine, asked: ExportRequest, dataset: str, email: str, whose: str
) -> None:
    month = OWN.get(email, "2008-05") if whose == "own" else next(m for e, m in OWN.items() if e != email)
    request = replace(asked, dataset=dataset, requested_by=email, filters={"campaign_id": sample_id("campaign", month)})
    scope = ALLOWED.get((dataset, USERS[email]))
    if scope == "all" or (scope == "own" and whose == "own"):
        assert file_request(engine, request).requester_id == sample_id("user", email)
        return
    with pytest.raises(Forbidden):
        file_request(engine, request)
    refusal = engine.audit.latest(1)[0].event
    assert (refusal.action.value, refusal.actor, refusal.dataset) == ("refusal", email, dataset)


@pytest.mark.parametrize(
    ("email", "error"),
    [("", Forbidden), ("nobody@example.com", Forbidden), (SERVICE.email, Forbidden), ("ADMIN@EXAMPLE.COM", None)],
)
def test_request_when_the_person_is_unknown_then_refused(
    engine: Engine, asked: ExportRequest, email: str, error: type[Exception] | None
) -> None:
    request = replace(asked, requested_by=email)
    if error is None:
        assert file_request(engine, request).requester_id == sample_id("user", "admin@example.com")
    else:
        with pytest.raises(error):
            file_request(engine, request)


def test_request_when_the_campaign_is_unknown_then_not_found(engine: Engine, asked: ExportRequest) -> None:
    for email in ("admin@example.com", "manager@example.com"):
        with pytest.raises(NotFound, match="there is no campaign"):
            file_request(
                engine, replace(asked, requested_by=email, filters={"campaign_id": sample_id("campaign", "none")})
            )


@pytest.mark.parametrize("verb", [manage.show_export, issue_link, manage.cancel_export, manage.retry_export])
def test_verb_when_the_export_is_someone_elses_then_forbidden_and_unknown_then_not_found(
    engine: Engine, asked: ExportRequest, verb: object
) -> None:
    job = file_request(engine, asked)
    with pytest.raises(Forbidden):
        verb(engine, "manager@example.com", job.id)  # type: ignore[operator]
    with pytest.raises(NotFound):
        verb(engine, "manager@example.com", sample_id("export", "none"))  # type: ignore[operator]
    with pytest.raises(NotFound):
        verb(engine, "manager@example.com", "no-id")  # type: ignore[operator]
    with pytest.raises(Forbidden):
        verb(engine, "", job.id)  # type: ignore[operator]


def test_list_when_asked_then_own_exports_and_all_for_an_administrator(engine: Engine, asked: ExportRequest) -> None:
    own = replace(asked, requested_by="manager@example.com", filters={"campaign_id": sample_id("campaign", "2008-05")})
    mine, theirs = file_request(engine, own), file_request(engine, asked)
    assert [job.id for job in list_exports(engine, "manager@example.com")] == [mine.id]
    assert {job.id for job in list_exports(engine, "admin@example.com")} == {mine.id, theirs.id}
    assert list_exports(engine, "operator@example.com") == []


def test_run_when_the_role_was_lost_since_then_forbidden_and_nothing_read(
    engine: Engine, asked: ExportRequest, source: psycopg.Connection
) -> None:
    request = replace(
        asked, requested_by="operator@example.com", filters={"campaign_id": sample_id("campaign", "2008-06")}
    )
    job = file_request(engine, request)
    source.execute("UPDATE users SET role = 'analyst' WHERE email = 'operator@example.com'")
    try:
        with pytest.raises(Forbidden, match="the role analyst may not export campaign_results"):
            run_export(engine, job)
    finally:
        source.execute("UPDATE users SET role = 'operator' WHERE email = 'operator@example.com'")
    ended = engine.jobs.get(job.id)
    assert ended is not None and (ended.status, ended.error_kind, ended.rows_done) == (Status.FAILED, "forbidden", 0)


def test_link_when_the_export_has_no_file_then_told_why(engine: Engine, asked: ExportRequest) -> None:
    job = file_request(engine, asked)
    with pytest.raises(Rejected, match="is pending: there is no file yet"):
        issue_link(engine, asked.requested_by, job.id)
    manage.cancel_export(engine, asked.requested_by, job.id)
    with pytest.raises(Rejected, match="was cancelled: there is no file"):
        issue_link(engine, asked.requested_by, job.id)
    again = manage.retry_export(engine, asked.requested_by, job.id)
    assert (again.id, again.status, again.attempt) == (job.id, Status.PENDING, 2)


def test_campaigns_when_several_are_asked_for_then_each_is_checked(engine: Engine, asked: ExportRequest) -> None:
    first, second = sample_id("campaign", "2008-05"), sample_id("campaign", "2008-10")
    other, none = sample_id("campaign", "2008-06"), sample_id("campaign", "none")

    def of(email: str, *campaigns: str) -> ExportRequest:
        return replace(asked, requested_by=email, filters={"campaign_id": ",".join(campaigns)})

    manager, admin = "manager@example.com", "admin@example.com"
    assert file_request(engine, of(manager, first, second)).owner_id == sample_id("user", manager)
    assert file_request(engine, of(admin, first, second)).owner_id == sample_id("user", manager)
    assert file_request(engine, of(admin, first, other)).owner_id is None
    with pytest.raises(Forbidden, match=f"the campaign {other} is not yours"):
        file_request(engine, of(manager, first, other))
    for email in (manager, admin):
        with pytest.raises(NotFound, match=f"there is no campaign {none}"):
            file_request(engine, of(email, first, none))


def manifest_of(engine: Engine, job: ExportJob) -> dict[str, Any]:
    return read_manifest(engine.destination(job.request.destination), job)


def test_manifest_when_columns_were_masked_or_left_out_then_tells_which_and_of_nobody(engine: Engine) -> None:
    filters = {"limit": "5", "keywords": "sofa"}
    request = ExportRequest("leads", "analyst@example.com", filters, masks={"email": "drop"}, destination="local")
    job = run_export(engine, file_request(engine, request))
    manifest = manifest_of(engine, job)
    assert manifest["left_out"] == [{"name": "email", "reason": "asked for"}]
    masks = {column["name"]: column["mask"] for column in manifest["columns"] if "mask" in column}
    assert masks["phone"] == {"policy": "mask", "reason": "personal: masked for the role that asked"}
    assert masks["description"] == {"policy": "redact", "reason": "free text: masked for the role that asked"}
    assert set(masks) == {"title", "description", "phone"} == set(job.masked)
    assert (manifest["rows"], manifest["scope"]) == (5, "all")
    assert "@" not in json.dumps(manifest) and "analyst" not in json.dumps(manifest)
    assert manage.verify_export(engine, request.requested_by, job.id)


def test_run_when_a_datasets_filter_lets_others_rows_in_then_broken_and_nothing_left(engine: Engine) -> None:
    """A filter's SQL that ends the parentheses around it would have undone the owner's predicate before it."""
    dataset = engine.datasets["contacts"]
    wrong = tuple(
        replace(item, sql="true) OR (contact.outcome IN ({values})") if item.name == "outcome" else item
        for item in dataset.filters
    )
    broken = replace(engine, datasets={**engine.datasets, "contacts": replace(dataset, filters=wrong)})
    request = ExportRequest("contacts", "manager@example.com", {"outcome": "completed"}, format="parquet")
    for destination in ("local", "s3"):
        job = file_request(broken, replace(request, destination=destination))
        with pytest.raises(Broken, match="the query of contacts yielded a row of another owner; nothing was delivered"):
            run_export(broken, job)
        assert list(engine.destination(destination).list("")) == []
    job = run_export(engine, file_request(engine, replace(request, destination="local")))
    assert job.rows


@pytest.mark.parametrize(
    ("dataset", "role", "error"),
    [
        ("leads", "analyst", "holds more than you may have now"),
        ("leads", "campaign_manager", "holds more than you may have now"),
        ("lead_analytics", "campaign_manager", "holds more than you may have now"),
        ("lead_analytics", "analyst", None),
    ],
)
def test_link_when_the_role_sees_less_now_then_no_link_to_what_was_for_more(
    engine: Engine, source: psycopg.Connection, dataset: str, role: str, error: str | None
) -> None:
    request = ExportRequest(dataset, "admin@example.com", {"limit": "5"})
    job = run_export(engine, file_request(engine, request))
    assert issue_link(engine, request.requested_by, job.id).url
    source.execute("UPDATE users SET role = %s WHERE email = 'admin@example.com'", (role,))
    try:
        if error:
            with pytest.raises(Forbidden, match=error):
                issue_link(engine, request.requested_by, job.id)
        else:
            assert issue_link(engine, request.requested_by, job.id).url
    finally:
        source.execute("UPDATE users SET role = 'admin' WHERE email = 'admin@example.com'")


def test_run_when_the_role_reaches_less_now_then_only_that_is_delivered(
    engine: Engine, source: psycopg.Connection
) -> None:
    request = ExportRequest("leads", "manager2@example.com", format="parquet", destination="local")
    source.execute("UPDATE users SET role = 'admin' WHERE email = 'manager2@example.com'")
    try:
        job = file_request(engine, request)
    finally:
        source.execute("UPDATE users SET role = 'campaign_manager' WHERE email = 'manager2@example.com'")
    job = run_export(engine, job)
    own = source.execute(
        "SELECT count(*) FROM leads JOIN users u ON u.id = owner_id WHERE u.username = 'manager2'"
    ).fetchone()
    assert own == (job.rows,)
    assert manifest_of(engine, job)["scope"] == "own"
    assert issue_link(engine, request.requested_by, job.id).url
