"""What goes wrong outside: told clearly, tried again where that may help, and nothing half-done stays."""

import threading
import time
from dataclasses import replace

import polars as pl
import psycopg
import pytest

from export_pipeline.embedded.s3 import S3
from export_pipeline.embedded.sample import LAST_CAMPAIGN
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export, run_to_the_end
from export_pipeline.flow.request import file_request
from export_pipeline.flow.sweep import sweep
from export_pipeline.model.errors import Cancelled, ExportError, Rejected, Transient
from export_pipeline.model.job import ExportJob, ExportRequest, Phase, Status
from export_pipeline_tests.flow.conftest import assert_nothing_left, behind
from export_pipeline_tests.servers.faults import FaultProxy

Large = tuple[Engine, ExportRequest]


def row(engine: Engine, job: ExportJob) -> ExportJob:
    found = engine.jobs.get(job.id)
    assert found is not None
    return found


def in_background(engine: Engine, job: ExportJob) -> tuple[threading.Thread, list[BaseException]]:
    """Runs the export in a thread; what it raises ends up in the list."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            run_export(engine, job)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


def wait_until_writing(engine: Engine, job: ExportJob, rows: int = 1) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        now = row(engine, job)
        if now.phase is Phase.WRITING and now.rows_done >= rows:
            return
        time.sleep(0.02)
    raise AssertionError(f"never got to writing: {row(engine, job)}")


def test_store_when_a_middle_part_always_fails_then_failed_after_the_last_attempt_and_nothing_stays(
    large: Large, s3_proxy: FaultProxy, s3_server: S3
) -> None:
    engine, request = large
    s3_proxy.failing = ("partNumber=2",)
    broken = behind(engine, s3=s3_proxy)
    job = file_request(broken, request)
    with pytest.raises(Transient, match="the store did not take"):
        run_to_the_end(broken, job)
    ended = row(engine, job)
    assert (ended.status, ended.attempt, ended.error_kind) == (Status.FAILED, 3, "transient")
    assert s3_proxy.failed >= 3
    assert_nothing_left(engine, s3_server)


def test_store_when_a_part_fails_once_then_the_export_completes(large: Large, s3_proxy: FaultProxy) -> None:
    engine, request = large
    s3_proxy.failing, s3_proxy.failures = ("partNumber=2",), 1
    behind_proxy = behind(engine, s3=s3_proxy)
    done = run_to_the_end(behind_proxy, file_request(behind_proxy, request))
    assert (done.status, done.rows, s3_proxy.failed) == (Status.COMPLETED, 150_000, 1)


def test_store_when_it_refuses_at_first_then_the_next_attempt_completes(
    engine: Engine, asked: ExportRequest, s3_proxy: FaultProxy
) -> None:
    s3_proxy.refusing = True
    behind_proxy = behind(engine, s3=s3_proxy)
    job = file_request(behind_proxy, asked)
    with pytest.raises(Transient):
        run_export(behind_proxy, job)
    waiting = row(engine, job)
    assert (waiting.status, waiting.attempt) == (Status.PENDING, 2)
    assert waiting.request.not_before is not None
    s3_proxy.heal()
    done = run_export(behind_proxy, waiting)
    assert done.status is Status.COMPLETED
    assert f"/{job.id}/2/" in done.files[0].key
    assert sweep(engine).still_dirty == []
    assert engine.leftovers.list() == []


def test_source_when_it_goes_away_in_mid_query_then_tried_again_and_nothing_stays(
    large: Large, source_proxy: FaultProxy, s3_server: S3
) -> None:
    engine, request = large
    source_proxy.bytes_per_second = 8_000_000
    behind_proxy = behind(engine, source=source_proxy)
    job = file_request(behind_proxy, request)
    thread, raised = in_background(behind_proxy, job)
    wait_until_writing(engine, job)
    source_proxy.cut()
    thread.join(15)
    assert not thread.is_alive()
    assert [type(error) for error in raised] == [Transient]
    assert "source database" in str(raised[0])
    assert (row(engine, job).status, row(engine, job).attempt) == (Status.PENDING, 2)
    assert_nothing_left(engine, s3_server)
    source_proxy.heal()
    assert run_export(behind_proxy, row(engine, job)).rows == 150_000


def test_store_when_it_hangs_then_a_cancel_takes_three_seconds_and_the_sweep_cleans_up(
    large: Large, s3_proxy: FaultProxy, s3_server: S3
) -> None:
    engine, request = large
    behind_proxy = behind(engine, s3=s3_proxy)
    job = file_request(behind_proxy, request)
    s3_proxy.bytes_per_second = 20_000_000
    thread, raised = in_background(behind_proxy, job)
    wait_until_writing(engine, job)
    s3_proxy.hanging = True
    started = time.monotonic()
    engine.jobs.request_cancel(job.id, actor=request.requested_by)
    thread.join(10)
    assert [type(error) for error in raised] == [Cancelled]
    assert row(engine, job).status is Status.CANCELLED
    assert time.monotonic() - started < 3
    assert [left.export_id for left in engine.leftovers.list()] == [job.id]
    s3_proxy.heal()
    s3_proxy.cut()
    until = time.monotonic() + 10
    while engine.leftovers.list() and time.monotonic() < until:
        sweep(engine)
        time.sleep(0.1)
    assert_nothing_left(engine, s3_server)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("started_at = 'infinity'", r"row [0-9]+: started_at is infinity"),
        ("ended_at = '0044-03-15 BC'", r"row [0-9]+: ended_at is infinity or outside the years"),
    ],
)
def test_value_when_no_file_can_hold_it_then_row_and_column_are_named(
    engine: Engine, asked: ExportRequest, source: psycopg.Connection, s3_server: S3, change: str, told: str
) -> None:
    found = source.execute(
        "SELECT call.id, started_at, ended_at FROM calls AS call JOIN contacts ON contacts.id = contact_id"
        " WHERE campaign_id = %s AND ended_at IS NOT NULL ORDER BY 1 LIMIT 1",
        (LAST_CAMPAIGN,),
    ).fetchone()
    assert found is not None
    dataset = engine.datasets["campaign_results"]
    without = tuple(column.name for column in dataset.columns if column.name != "duration_seconds")
    source.execute(f"UPDATE calls SET {change} WHERE id = %s", (found[0],))  # type: ignore[arg-type]
    try:
        job = file_request(engine, replace(asked, columns=without))
        with pytest.raises(Rejected, match=told):
            run_export(engine, job)
    finally:
        source.execute("UPDATE calls SET started_at = %s, ended_at = %s WHERE id = %s", (found[1], found[2], found[0]))
    assert row(engine, job).error_kind == "invalid"
    assert_nothing_left(engine, s3_server)


def test_decimal_when_the_dataset_declares_too_few_then_refused_not_rounded(
    engine: Engine, asked: ExportRequest, s3_server: S3
) -> None:
    dataset = engine.datasets["campaign_results"]
    columns = tuple(
        replace(column, sql="(call.cost_usd + 0.00001)") if column.name == "cost_usd" else column
        for column in dataset.columns
    )
    finer = replace(engine, datasets={dataset.name: replace(dataset, columns=columns)})
    with pytest.raises(Rejected, match="cost_usd has more decimals than the 4"):
        run_export(finer, file_request(finer, asked))
    assert_nothing_left(engine, s3_server)


@pytest.mark.parametrize("error", [KeyError, pl.exceptions.PanicException])
def test_defect_when_a_writer_breaks_then_told_without_a_value_and_nothing_stays(
    engine: Engine, asked: ExportRequest, s3_server: S3, error: type[BaseException]
) -> None:
    def write(frame: object, target: object, context: object, options: object) -> int:
        raise error("+12015550101")

    broken = replace(engine, formats={"csv": replace(engine.formats["csv"], write=write)})
    job = file_request(broken, asked)
    with pytest.raises(ExportError, match=f"an unexpected {error.__name__}") as caught:
        run_export(broken, job)
    assert "555" not in str(caught.value)
    assert row(engine, job).status is Status.FAILED
    assert_nothing_left(engine, s3_server)
