"""Watermarks: which one a series is continued from, and by whom."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest

from export_pipeline.ledger.watermarks import Watermark, Watermarks
from export_pipeline.model.errors import ErrorKind, Rejected, Superseded
from export_pipeline.model.job import ExportJob
from export_pipeline_tests.ledger.ledger_fixtures import OUTCOME, Ledger

SERIES = "a" * 64


@pytest.fixture
def marks(ledger: Ledger) -> Watermarks:
    return Watermarks(ledger.database)


def delivered(ledger: Ledger, marks: Watermarks, up_to: int) -> ExportJob:
    job = ledger.processing()
    marks.join(job.id, 1, SERIES)
    marks.record(job.id, 1, database="d", up_to=up_to)
    ledger.jobs.publish(job.id, 1, OUTCOME)
    return ledger.jobs.complete(job.id, 1, expires_at=datetime.now(UTC))


def test_join_when_exports_were_completed_then_from_the_last_even_if_it_has_expired(
    ledger: Ledger, marks: Watermarks
) -> None:
    delivered(ledger, marks, 100)
    last = delivered(ledger, marks, 200)
    ledger.jobs.expire(last.id, actor="a")
    job = ledger.processing()
    assert marks.join(job.id, 1, SERIES) == Watermark(last.id, "d", 200)
    assert marks.join(job.id, 1, SERIES) == Watermark(last.id, "d", 200)
    assert marks.join(job.id, 1, "b" * 64) is None


def test_join_when_twelve_begin_at_once_then_one_continues_the_series(ledger: Ledger, marks: Watermarks) -> None:
    delivered(ledger, marks, 100)
    jobs = [ledger.processing() for _ in range(12)]

    def join(job: ExportJob) -> str:
        try:
            found = marks.join(job.id, 1, SERIES)
        except Rejected as error:
            return "running" if "of the same series is running" in str(error) else str(error)
        return str(found and found.up_to)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(join, jobs)) == ["100", *["running"] * 11]


def test_join_when_what_ran_before_failed_then_as_if_it_had_not(ledger: Ledger, marks: Watermarks) -> None:
    last = delivered(ledger, marks, 100)
    failed = ledger.processing()
    marks.join(failed.id, 1, SERIES)
    marks.record(failed.id, 1, database="d", up_to=150)
    ledger.jobs.fail(failed.id, 1, kind=ErrorKind.BROKEN, message="m", actor="a")
    job = ledger.processing()
    assert marks.join(job.id, 1, SERIES) == Watermark(last.id, "d", 100)
    with pytest.raises(Superseded):
        marks.record(failed.id, 1, database="d", up_to=160)


def test_attempt_when_it_is_over_then_it_neither_joins_nor_records(ledger: Ledger, marks: Watermarks) -> None:
    job = ledger.processing()
    marks.join(job.id, 1, SERIES)
    ledger.jobs.fail(job.id, 1, kind=ErrorKind.BROKEN, message="m", actor="a")
    ledger.claim(ledger.jobs.retry(job.id, actor="a"))
    assert marks.join(job.id, 2, SERIES) is None
    for late in (
        lambda: marks.join(job.id, 1, SERIES),
        lambda: marks.record(job.id, 1, database="d", up_to=100),
    ):
        with pytest.raises(Superseded, match="attempt 1"):
            late()
    marks.record(job.id, 2, database="d", up_to=100)


def test_watermarks_when_two_would_follow_one_then_the_database_refuses(ledger: Ledger, marks: Watermarks) -> None:
    first, second = delivered(ledger, marks, 100), ledger.processing()
    delivered(ledger, marks, 200)
    with psycopg.connect(ledger.url) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(
            "INSERT INTO exports.watermarks (export_id, attempt, series, previous) VALUES (%s, 1, %s, %s)",
            (second.id, SERIES, first.id),
        )
