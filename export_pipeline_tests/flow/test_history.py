"""The history: found by what one remembers of an export, page by page, and added up."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from export_pipeline.flow.engine import Engine
from export_pipeline.flow.history import Wanted, list_exports, usage
from export_pipeline.flow.links import issue_link, list_links, presigned_links, revoke_links
from export_pipeline.flow.manage import cancel_export, end_export, retry_export, show_export, verify_export
from export_pipeline.flow.request import file_request
from export_pipeline.ledger.audit import Action
from export_pipeline.model.errors import Forbidden, NotFound, Rejected
from export_pipeline.model.job import ExportJob, ExportRequest, Status
from export_pipeline_tests.datasets.reading import ADMIN, ANALYST, COMPLIANCE, MANAGER

TEMPLATE = "6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10"


@pytest.fixture
def filed(engine: Engine) -> list[ExportJob]:
    """Five requests, the oldest first."""
    requests = [
        ExportRequest("leads", MANAGER),
        ExportRequest("leads", ADMIN, format="parquet", template_id=TEMPLATE),
        ExportRequest("contacts:csv+xlsx, calls as talks", MANAGER, format="zip"),
        ExportRequest("campaigns", MANAGER, template_id=TEMPLATE),
        ExportRequest("leads", ANALYST),
    ]
    jobs = [file_request(engine, replace(request, destination="local")) for request in requests]
    cancel_export(engine, MANAGER, jobs[3].id)
    return jobs


def test_list_when_searched_then_what_matches_all(engine: Engine, filed: list[ExportJob]) -> None:
    def found(wanted: Wanted, email: str = ADMIN) -> list[int]:
        ids = [job.id for job in filed]
        return [ids.index(job.id) for job in list_exports(engine, email, wanted)]

    assert found(Wanted()) == [4, 3, 2, 1, 0]
    assert found(Wanted(), MANAGER) == [3, 2, 0]
    assert found(Wanted(by=MANAGER.upper())) == [3, 2, 0]
    assert found(Wanted(by=MANAGER), MANAGER) == [3, 2, 0]
    assert found(Wanted(dataset="leads")) == [4, 1, 0]
    assert found(Wanted(dataset="calls")) == [2] == found(Wanted(dataset="contacts"))
    assert found(Wanted(status=Status.CANCELLED)) == [3]
    assert found(Wanted(template_id=TEMPLATE)) == [3, 1]
    assert found(Wanted(template_id=TEMPLATE, by=ADMIN)) == [1]
    assert found(Wanted(error="WAS CANCELLED")) == [3]
    assert found(Wanted(error="100%")) == []
    assert found(Wanted(since=filed[1].created_at, until=filed[3].created_at)) == [2, 1]
    assert found(Wanted(before=filed[2].id)) == [1, 0]
    assert found(Wanted(before=filed[2].id, dataset="leads", by=MANAGER)) == [0]


def test_list_when_read_page_by_page_then_each_once(engine: Engine, filed: list[ExportJob]) -> None:
    seen: list[str] = []
    page = list_exports(engine, ADMIN, limit=2)
    while page:
        seen += [job.id for job in page]
        page = list_exports(engine, ADMIN, Wanted(before=page[-1].id), limit=2)
    assert seen == [job.id for job in reversed(filed)]


def test_list_when_asked_for_what_is_not_ones_own_or_makes_no_sense_then_refused(
    engine: Engine, filed: list[ExportJob]
) -> None:
    now = datetime.now(UTC)
    with pytest.raises(Forbidden, match="its own exports only"):
        list_exports(engine, MANAGER, Wanted(by=ADMIN))
    with pytest.raises(Forbidden):
        list_exports(engine, MANAGER, Wanted(before=filed[1].id))
    with pytest.raises(NotFound):
        list_exports(engine, ADMIN, Wanted(before=TEMPLATE))
    with pytest.raises(Rejected, match="no template's id"):
        list_exports(engine, ADMIN, Wanted(template_id="mine"))
    with pytest.raises(Rejected, match="the range is empty"):
        list_exports(engine, ADMIN, Wanted(since=now, until=now - timedelta(days=1)))


@pytest.mark.parametrize(
    "act",
    [
        show_export,
        cancel_export,
        retry_export,
        verify_export,
        end_export,
        issue_link,
        list_links,
        revoke_links,
        presigned_links,
        lambda engine, email, export_id: list_exports(engine, email, Wanted(before=export_id)),
    ],
)
def test_refusal_when_an_export_is_somebody_elses_then_audited_once(
    engine: Engine, filed: list[ExportJob], act: Callable[[Engine, str, str], object]
) -> None:
    job = filed[1]
    assert job.request.requested_by != MANAGER
    with pytest.raises(Forbidden) as refused:
        act(engine, MANAGER, job.id)
    entries = [entry.event for entry in engine.audit.of(job.id) if entry.event.action is Action.REFUSAL]
    assert [(entry.actor, entry.dataset, entry.reason) for entry in entries] == [
        (MANAGER, job.request.dataset, str(refused.value))
    ]
    with pytest.raises(NotFound):
        act(engine, MANAGER, TEMPLATE)
    assert [entry.event.action for entry in engine.audit.latest(20)].count(Action.REFUSAL) == 1


def test_refusal_when_exports_of_somebody_else_are_listed_then_audited(engine: Engine) -> None:
    with pytest.raises(Forbidden) as refused:
        list_exports(engine, MANAGER, Wanted(by=ADMIN))
    [entry] = engine.audit.latest(10)
    assert (entry.event.actor, entry.event.reason) == (MANAGER, str(refused.value))


def test_usage_when_asked_then_counted_by_people(engine: Engine, filed: list[ExportJob]) -> None:
    def found(email: str, **bounds: datetime) -> dict[tuple[str, str], tuple[int, int]]:
        return {(use.kind, use.name): (use.exports, use.people) for use in usage(engine, email, **bounds)}

    everything = found(COMPLIANCE)
    assert everything == found(ADMIN)
    assert everything["dataset", "leads"] == (3, 3) and everything["dataset", "campaigns"] == (1, 1)
    assert everything["format", "csv"] == (3, 2) and everything["format", "zip"] == (1, 1)
    assert everything["template", TEMPLATE] == (2, 2)
    assert found(MANAGER)["dataset", "leads"] == (1, 1)
    assert found(MANAGER)["template", TEMPLATE] == (1, 1)
    assert found(ADMIN, since=filed[4].created_at) == {("dataset", "leads"): (1, 1), ("format", "csv"): (1, 1)}
    last = next(use for use in usage(engine, ADMIN) if use.name == "leads")
    assert (last.last_at, last.delivered, last.rows) == (filed[4].created_at, 0, 0)
