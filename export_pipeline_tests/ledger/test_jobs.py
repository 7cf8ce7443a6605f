"""The life of a job: each move, who may make it, and what it leaves in the row, the audit log and the leftovers."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from export_pipeline.model.errors import Cancelled, ErrorKind, NotFound, Rejected, Superseded
from export_pipeline.model.job import ExportJob, Phase, Status
from export_pipeline_tests.ledger.ledger_fixtures import OUTCOME, OWNER, Ledger, request

NEXT_WEEK = datetime.now(UTC) + timedelta(days=7)
NOWHERE = "00000000-0000-4000-8000-000000000000"


def test_file_when_read_back_then_the_request_is_as_it_was(ledger: Ledger) -> None:
    asked = request(
        filters={"campaign_id": "7", "date_from": "2010-01-01"},
        columns=("phone", "name"),
        options={"profile": "raw"},
        not_before=datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        recurring=True,
    )
    job = ledger.file(asked)
    assert job.request == asked
    assert (job.status, job.attempt, job.requester_id, job.owner_id) == (Status.PENDING, 1, OWNER.id, OWNER.id)
    assert ledger.jobs.get(job.id) == job


def test_file_when_claimed_at_once_then_no_sensor_sees_it_and_its_leftovers_are_on_record(ledger: Ledger) -> None:
    job = ledger.file(claim_as="run-1")
    assert (job.status, job.dagster_run_id, job.phase) == (Status.PROCESSING, "run-1", Phase.PLANNING)
    assert ledger.jobs.due() == []
    assert ledger.leftover_attempts() == {(job.id, 1)}
    assert ledger.actions(job) == ["request", "start"]


def test_file_when_claimed_for_no_run_then_it_has_none(ledger: Ledger) -> None:
    job = ledger.file(claim_as="")
    assert (job.status, job.dagster_run_id) == (Status.PROCESSING, None)


def test_get_when_the_text_is_no_uuid_then_none(ledger: Ledger) -> None:
    assert ledger.jobs.get("not-an-id") is None
    assert ledger.jobs.get(NOWHERE) is None


def test_newest_when_narrowed_then_only_those_newest_first(ledger: Ledger) -> None:
    first, second = ledger.file(), ledger.file(request(dataset="survey_outcomes"))
    ledger.jobs.request_cancel(first.id, actor=OWNER.email)
    assert [job.id for job in ledger.jobs.newest()] == [second.id, first.id]
    assert [job.id for job in ledger.jobs.newest(limit=1)] == [second.id]
    assert [job.id for job in ledger.jobs.newest(status=Status.CANCELLED)] == [first.id]
    assert [job.id for job in ledger.jobs.newest(dataset="survey_outcomes")] == [second.id]
    assert ledger.jobs.newest(requester_id="somebody else") == []


def test_export_when_all_goes_well_then_row_audit_and_leftovers_tell_it(ledger: Ledger) -> None:
    job = ledger.processing()
    assert not ledger.beat(job, rows_done=5)
    row = ledger.get(job)
    assert (row.phase, row.rows_done, row.rows_estimated, row.bytes) == (Phase.WRITING, 5, 10, 50)
    ledger.jobs.publish(job.id, 1, OUTCOME)
    assert ledger.get(job).phase is Phase.PUBLISHING
    done = ledger.jobs.complete(job.id, 1, expires_at=NEXT_WEEK)
    assert (done.status, done.files, done.snapshot_at) == (Status.COMPLETED, OUTCOME.files, OUTCOME.snapshot_at)
    assert (done.rows, done.bytes, done.expires_at) == (3, 30, NEXT_WEEK)
    assert done.started_at and done.completed_at and done.started_at <= done.completed_at
    assert ledger.actions(job) == ["request", "start", "completion"]
    assert ledger.last_entry(job).event.detail["sha256"] == [OUTCOME.files[0].sha256]
    assert ledger.leftover_attempts() == set()


def test_beat_when_it_comes_after_the_intent_then_the_phase_stays_publishing(ledger: Ledger) -> None:
    job = ledger.processing()
    ledger.jobs.publish(job.id, 1, OUTCOME)
    ledger.beat(job, phase=Phase.VERIFYING)
    assert ledger.get(job).phase is Phase.PUBLISHING


def test_try_again_when_transient_then_pending_afresh_and_due_later(ledger: Ledger) -> None:
    job = ledger.processing()
    ledger.beat(job)
    ledger.jobs.publish(job.id, 1, OUTCOME)
    later = datetime.now(UTC) + timedelta(hours=1)
    again = ledger.jobs.try_again(job.id, 1, message="the store is away", not_before=later)
    assert (again.status, again.attempt, again.request.not_before) == (Status.PENDING, 2, later)
    assert (again.phase, again.rows_done, again.files, again.bytes) == (None, 0, (), None)
    assert ledger.jobs.due() == []
    assert ledger.actions(job)[-1] == "failure"
    assert "tried again" in ledger.last_entry(job).event.reason
    assert ledger.ended_leftovers() == {(job.id, 1)}


@pytest.mark.parametrize("claimed", [False, True])
def test_fail_when_pending_or_processing_then_failed_with_its_reason(ledger: Ledger, claimed: bool) -> None:
    job = ledger.processing() if claimed else ledger.file()
    failed = ledger.jobs.fail(job.id, 1, kind=ErrorKind.BROKEN, message="no bucket", actor="worker")
    assert (failed.status, failed.error, failed.error_kind) == (Status.FAILED, "no bucket", "broken")
    assert ledger.last_entry(job).event.reason == "no bucket"
    assert ledger.ended_leftovers() == ({(job.id, 1)} if claimed else set())


def test_request_cancel_when_pending_then_cancelled_at_once(ledger: Ledger) -> None:
    job = ledger.file()
    assert ledger.jobs.request_cancel(job.id, actor="a@example.com").status is Status.CANCELLED
    assert ledger.last_entry(job).event.actor == "a@example.com"
    with pytest.raises(Superseded):
        ledger.claim(job)


def test_request_cancel_when_processing_then_the_worker_is_told_and_ends_it(ledger: Ledger) -> None:
    job = ledger.processing()
    assert not ledger.jobs.cancel_requested(job.id, 1)
    assert ledger.jobs.request_cancel(job.id, actor="a@example.com").status is Status.PROCESSING
    assert ledger.jobs.cancel_requested(job.id, 1)
    assert ledger.beat(job)
    ended = ledger.jobs.cancelled(job.id, 1, actor="worker", reason="on request")
    assert (ended.status, ended.error_kind, ended.files) == (Status.CANCELLED, "cancelled", ())
    assert ledger.last_entry(job).event.actor == "a@example.com"


@pytest.mark.parametrize("move", ["publish", "complete"])
def test_cancel_when_it_came_before_the_end_then_neither_published_nor_completed(ledger: Ledger, move: str) -> None:
    job = ledger.processing()
    if move == "complete":
        ledger.jobs.publish(job.id, 1, OUTCOME)
    ledger.jobs.request_cancel(job.id, actor="a@example.com")
    with pytest.raises(Cancelled):
        if move == "complete":
            ledger.jobs.complete(job.id, 1, expires_at=NEXT_WEEK)
        else:
            ledger.jobs.publish(job.id, 1, OUTCOME)
    assert ledger.get(job).status is Status.PROCESSING


def test_try_again_when_a_cancel_was_asked_for_then_the_cancel_is_not_forgotten(ledger: Ledger) -> None:
    job = ledger.processing()
    ledger.jobs.request_cancel(job.id, actor="a@example.com")
    with contextlib.suppress(Cancelled):
        ledger.jobs.try_again(job.id, 1, message="the store is away", not_before=datetime.now(UTC))
    row = ledger.get(job)
    assert row.status is Status.CANCELLED or row.cancel_requested_at is not None


def test_request_cancel_when_processing_then_audited_in_the_same_transaction(ledger: Ledger) -> None:
    job = ledger.processing()
    ledger.jobs.request_cancel(job.id, actor="a@example.com")
    assert ledger.actions(job)[-1] == "cancel"
    assert ledger.last_entry(job).event.actor == "a@example.com"


def test_retry_when_failed_or_cancelled_then_waits_for_its_next_attempt(ledger: Ledger) -> None:
    for job in (ledger.failed(), ledger.cancelled()):
        again = ledger.jobs.retry(job.id, actor="a@example.com")
        assert (again.status, again.attempt, again.error, again.error_kind) == (Status.PENDING, 2, None, None)
        assert again.cancel_requested_at is None
        assert ledger.actions(job)[-1] == "retry"
        assert ledger.claim(again).attempt == 2


def test_expire_when_completed_then_the_files_stay_in_the_row_as_history(ledger: Ledger) -> None:
    job = ledger.completed()
    expired = ledger.jobs.expire(job.id, actor="retention")
    assert (expired.status, expired.files) == (Status.EXPIRED, OUTCOME.files)
    assert ledger.actions(job)[-1] == "expiry"
    with pytest.raises(Superseded):
        ledger.jobs.expire(job.id, actor="retention")


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_request_cancel_when_ended_then_rejected_with_its_status(ledger: Ledger, state: str) -> None:
    job: ExportJob = getattr(ledger, state)()
    with pytest.raises(Rejected, match=state):
        ledger.jobs.request_cancel(job.id, actor="a@example.com")


@pytest.mark.parametrize("state", ["file", "processing", "completed"])
def test_retry_when_neither_failed_nor_cancelled_then_rejected(ledger: Ledger, state: str) -> None:
    job: ExportJob = getattr(ledger, state)()
    with pytest.raises(Rejected, match=job.status):
        ledger.jobs.retry(job.id, actor="a@example.com")


@pytest.mark.parametrize(
    ("move", "export_id"),
    [
        ("request_cancel", NOWHERE),
        ("request_cancel", "no-id"),
        ("retry", NOWHERE),
        ("retry", "no-id"),
    ],
)
def test_person_when_the_export_does_not_exist_then_not_found(ledger: Ledger, move: str, export_id: str) -> None:
    with pytest.raises(NotFound):
        getattr(ledger.jobs, move)(export_id, actor="a@example.com")


STALE: dict[str, Callable[[Ledger, ExportJob], object]] = {
    "beat": lambda ledger, job: ledger.beat(job),
    "cancel_requested": lambda ledger, job: ledger.jobs.cancel_requested(job.id, 1),
    "publish": lambda ledger, job: ledger.jobs.publish(job.id, 1, OUTCOME),
    "complete": lambda ledger, job: ledger.jobs.complete(job.id, 1, expires_at=NEXT_WEEK),
    "fail": lambda ledger, job: ledger.jobs.fail(job.id, 1, kind=ErrorKind.BROKEN, message="m", actor="a"),
    "cancelled": lambda ledger, job: ledger.jobs.cancelled(job.id, 1, actor="a", reason="r"),
    "try_again": lambda ledger, job: ledger.jobs.try_again(job.id, 1, message="m", not_before=NEXT_WEEK),
    "claim": lambda ledger, job: ledger.claim(job),
}


@pytest.mark.parametrize("move", STALE)
def test_stale_attempt_when_a_later_one_runs_then_it_can_change_nothing(ledger: Ledger, move: str) -> None:
    job = ledger.processing()
    ledger.claim(ledger.jobs.try_again(job.id, 1, message="died", not_before=datetime.now(UTC)))
    before, entries = ledger.get(job), ledger.actions(job)
    with pytest.raises(Superseded):
        STALE[move](ledger, job)
    assert ledger.get(job) == before
    assert ledger.actions(job) == entries


def test_overdue_and_dead_when_time_has_passed_then_named(ledger: Ledger) -> None:
    completed, running = ledger.completed(), ledger.processing()
    assert completed.expires_at is not None
    assert ledger.jobs.overdue(completed.expires_at - timedelta(seconds=1)) == []
    assert [job.id for job in ledger.jobs.overdue(completed.expires_at)] == [completed.id]
    assert ledger.jobs.dead(60) == []
    assert [job.id for job in ledger.jobs.dead(0)] == [running.id]


def test_leftovers_when_the_attempt_is_live_or_done_then_not_listed(ledger: Ledger) -> None:
    job = ledger.processing()
    assert ledger.ended_leftovers() == set()
    ledger.jobs.fail(job.id, 1, kind=ErrorKind.BROKEN, message="m", actor="a")
    (left,) = ledger.leftovers.list()
    assert (left.export_id, left.attempt, left.destination, left.prefix) == (job.id, 1, "s3", f"p/{job.id}/1/")
    ledger.leftovers.done(job.id, 1)
    assert ledger.leftover_attempts() == set()


def test_audit_when_all_has_happened_then_no_value_of_a_filter_is_in_it(ledger: Ledger) -> None:
    job = ledger.file(request(filters={"campaign_id": "a-telling-value"}))
    ledger.audit.refuse(actor="", dataset="campaign_results", reason="nobody is named")
    ledger.audit.link(job, actor=OWNER.email, expires_at=NEXT_WEEK)
    assert ledger.actions(job) == ["request", "link"]
    everything = str(ledger.database.rows("SELECT * FROM exports.audit_log"))
    assert "campaign_id" in everything
    assert "a-telling-value" not in everything
