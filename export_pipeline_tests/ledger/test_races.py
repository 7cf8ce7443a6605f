"""Several at once: the conditions are in the statements, so exactly one wins."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

from export_pipeline.model.errors import Cancelled, ExportError, Rejected, Superseded
from export_pipeline.model.job import Status
from export_pipeline_tests.ledger.ledger_fixtures import OUTCOME, Ledger


def _at_once(*calls: Callable[[], object]) -> list[object]:
    """What the calls returned or raised, made at the same moment."""
    gate = Barrier(len(calls))

    def one(call: Callable[[], object]) -> object:
        gate.wait(10)
        try:
            return call()
        except ExportError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def test_claim_when_eight_want_one_row_then_exactly_one_has_it(ledger: Ledger) -> None:
    for _ in range(5):
        job = ledger.file()
        results = _at_once(*[lambda job=job: ledger.claim(job)] * 8)  # type: ignore[misc]
        assert sum(isinstance(result, Superseded) for result in results) == 7
        assert ledger.actions(job) == ["request", "start"]


def test_cancel_when_it_races_with_completion_then_row_and_answers_agree(ledger: Ledger) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    for _ in range(10):
        job = ledger.processing()
        ledger.jobs.publish(job.id, 1, OUTCOME)
        completed, cancelled = _at_once(
            lambda job=job: ledger.jobs.complete(job.id, 1, expires_at=until),  # type: ignore[misc]
            lambda job=job: ledger.jobs.request_cancel(job.id, actor="a@example.com"),  # type: ignore[misc]
        )
        if ledger.get(job).status is Status.COMPLETED:
            assert isinstance(cancelled, Rejected)
        else:
            assert isinstance(completed, Cancelled)
            assert ledger.get(job).cancel_requested_at is not None


def test_cancel_when_it_races_with_a_claim_then_it_is_never_lost(ledger: Ledger) -> None:
    for _ in range(10):
        job = ledger.file()
        _at_once(
            lambda job=job: ledger.claim(job),  # type: ignore[misc]
            lambda job=job: ledger.jobs.request_cancel(job.id, actor="a@example.com"),  # type: ignore[misc]
        )
        row = ledger.get(job)
        assert row.status is Status.CANCELLED or (row.status is Status.PROCESSING and row.cancel_requested_at)
