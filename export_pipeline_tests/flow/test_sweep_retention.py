"""What happens to exports whose worker died, and to exports whose time is up."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from export_pipeline.embedded.s3 import S3
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.publish import attempt_prefix, publish_manifest
from export_pipeline.flow.request import file_request
from export_pipeline.flow.retention import run_retention
from export_pipeline.flow.sweep import sweep
from export_pipeline.ledger.jobs import Jobs
from export_pipeline.model.errors import Rejected, Superseded, Transient
from export_pipeline.model.job import ExportJob, ExportRequest, Outcome, Status
from export_pipeline.staging import staging_folder
from export_pipeline_tests.flow.conftest import assert_nothing_left
from export_pipeline_tests.flow.test_faults import in_background, row, wait_until_writing

Large = tuple[Engine, ExportRequest]

#: Runs the export whose settings and id come in, in a process that can be killed.
WORKER = """
import json, sys
from export_pipeline.flow.export import run_export
from export_pipeline.services import open_services
from export_pipeline.settings import load_settings
asked = json.load(sys.stdin)
with open_services(load_settings(**asked["settings"])) as engine:
    run_export(engine, engine.jobs.get(asked["id"]))
"""


def settings_by_name(engine: Engine) -> dict[str, str]:
    settings = engine.settings
    found = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if value is not None and value != field.default:
            found[str(field.alias)] = str(value.get_secret_value() if hasattr(value, "get_secret_value") else value)
    return found


def start_worker(engine: Engine, job: ExportJob, temporary: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "TMPDIR": str(temporary)}
    worker = subprocess.Popen([sys.executable, "-c", WORKER], env=environment, stdin=subprocess.PIPE, text=True)
    assert worker.stdin is not None
    json.dump({"settings": settings_by_name(engine), "id": job.id}, worker.stdin)
    worker.stdin.close()
    return worker


def test_worker_when_killed_then_the_sweep_gives_the_next_attempt_and_cleans(
    large: Large, s3_server: S3, tmp_path: Path
) -> None:
    engine, request = large
    job = file_request(engine, request)
    worker = start_worker(engine, job, tmp_path)
    wait_until_writing(engine, job)
    worker.kill()
    worker.wait()
    assert not sweep(engine).tried_again, "given up before it was silent for long enough"
    until = time.monotonic() + 15
    while row(engine, job).status is Status.PROCESSING and time.monotonic() < until:
        sweep(engine)
        time.sleep(0.2)
    waiting = row(engine, job)
    assert (waiting.status, waiting.attempt) == (Status.PENDING, 2)
    sweep(engine)
    assert_nothing_left(engine, s3_server)
    done = run_export(engine, waiting)
    assert (done.status, done.rows) == (Status.COMPLETED, 150_000)


def test_worker_when_it_died_too_often_then_failed(engine: Engine, asked: ExportRequest) -> None:
    job = file_request(engine, asked)
    last = replace(engine, settings=engine.settings.model_copy(update={"max_attempts": 1, "dead_after_seconds": 0.2}))
    engine.jobs.claim(job.id, 1, run_id=None, prefix=attempt_prefix("exports", job))
    time.sleep(0.4)
    assert sweep(last).failed == [job.id]
    assert "the worker died 1 times" in str(row(engine, job).error)


def test_worker_when_it_died_after_the_manifest_then_the_sweep_completes_the_row(
    engine: Engine, asked: ExportRequest
) -> None:
    done = run_export(engine, file_request(engine, asked))
    job = file_request(engine, asked)
    prefix = attempt_prefix("exports", job)
    engine.jobs.claim(job.id, 1, run_id=None, prefix=prefix)
    engine.jobs.publish(job.id, 1, Outcome(files=done.files, snapshot_at=datetime.now(UTC)))
    publish_manifest(engine.destination("s3"), prefix, b"{}")
    assert sweep(hasty(engine)).completed == [job.id]
    completed = row(engine, job)
    assert (completed.status, completed.files, completed.phase) == (Status.COMPLETED, done.files, None)
    assert engine.leftovers.list() == []


def hasty(engine: Engine) -> Engine:
    """The engine of somebody who takes workers for dead whose last sign of life is a moment old."""
    time.sleep(0.1)
    return replace(engine, settings=engine.settings.model_copy(update={"dead_after_seconds": 0.05}))


def stored(engine: Engine, job: ExportJob) -> int:
    """How many bytes the export's files have that are in the bucket."""
    return sum(len(b"".join(engine.destination("s3").read(file.key))) for file in job.files)


class CompletedUnawares(Jobs):
    """A ledger in which an export is completed, and its worker hears of something else: `trouble`."""

    def __init__(self, engine: Engine, trouble: Callable[[ExportJob], object]) -> None:
        super().__init__(engine.jobs._database)
        self._trouble = trouble

    def complete(self, export_id: str, attempt: int, *, expires_at: datetime) -> ExportJob:
        self._trouble(super().complete(export_id, attempt, expires_at=expires_at))
        raise Transient("the ledger's database went away")


def test_export_when_the_answer_to_its_completion_is_lost_then_complete(engine: Engine, asked: ExportRequest) -> None:
    unsure = replace(engine, jobs=CompletedUnawares(engine, lambda job: None))
    done = run_export(unsure, file_request(engine, asked))
    assert done.status is Status.COMPLETED
    assert stored(engine, done) == done.bytes


def test_export_when_interrupted_right_after_its_completion_then_its_files_stay(
    engine: Engine, asked: ExportRequest
) -> None:
    def interrupt(job: ExportJob) -> None:
        raise KeyboardInterrupt

    job = file_request(engine, asked)
    with pytest.raises(KeyboardInterrupt):
        run_export(replace(engine, jobs=CompletedUnawares(engine, interrupt)), job)
    done = row(engine, job)
    assert (done.status, stored(engine, done)) == (Status.COMPLETED, done.bytes)


def test_worker_when_the_sweep_completed_its_export_then_it_removes_nothing(
    engine: Engine, asked: ExportRequest
) -> None:
    class Slow(Jobs):
        """A ledger whose worker stands still before it completes its export."""

        def complete(self, export_id: str, attempt: int, *, expires_at: datetime) -> ExportJob:
            assert sweep(hasty(engine)).completed == [export_id]
            return super().complete(export_id, attempt, expires_at=expires_at)

    done = run_export(replace(engine, jobs=Slow(engine.jobs._database)), file_request(engine, asked))
    assert (done.status, stored(engine, done)) == (Status.COMPLETED, done.bytes)


def test_export_when_the_ledger_goes_away_at_its_end_then_the_sweep_completes_it(
    engine: Engine, asked: ExportRequest
) -> None:
    class Away(Jobs):
        """A ledger that goes away when an export is to be completed."""

        def complete(self, export_id: str, attempt: int, *, expires_at: datetime) -> ExportJob:
            raise Transient("the ledger's database went away")

        def try_again(self, export_id: str, attempt: int, *, message: str, not_before: datetime) -> ExportJob:
            raise Transient("the ledger's database went away")

    job = file_request(engine, asked)
    with pytest.raises(Transient):
        run_export(replace(engine, jobs=Away(engine.jobs._database)), job)
    assert sweep(hasty(engine)).completed == [job.id]
    done = row(engine, job)
    assert stored(engine, done) == done.bytes


def test_attempt_when_superseded_then_it_publishes_nothing_and_cleans_up(large: Large, s3_server: S3) -> None:
    engine, request = large
    job = file_request(engine, request)
    thread, raised = in_background(engine, job)
    wait_until_writing(engine, job, rows=0)
    engine.jobs.try_again(job.id, 1, message="given up", not_before=datetime.now(UTC))
    thread.join(15)
    assert [type(error) for error in raised] == [Superseded]
    assert (row(engine, job).status, row(engine, job).attempt) == (Status.PENDING, 2)
    assert_nothing_left(engine, s3_server)


def test_worker_when_killed_then_the_rows_that_it_staged_go_and_those_of_others_stay(
    large: Large, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, request = large
    engine = replace(engine, settings=engine.settings.model_copy(update={"max_records": 1_000_000}))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with staging_folder() as used:
        for remove in (sweep, run_retention):
            worker = start_worker(engine, file_request(engine, replace(request, format="xlsx", options={})), tmp_path)
            until = time.monotonic() + 20
            while not any(path.stat().st_size for path in tmp_path.rglob("*.arrow")):
                assert time.monotonic() < until
                time.sleep(0.02)
            worker.kill()
            worker.wait()
            assert run_retention(engine, dry_run=True).abandoned == [str(left) for left in folders(used) - {used}]
            assert len(folders(used)) == 2
            assert len(remove(engine).abandoned) == 1
            assert folders(used) == {used}
            assert list(tmp_path.rglob("*.arrow")) == []


def folders(beside: Path) -> set[Path]:
    return set(beside.parent.iterdir())


def test_retention_when_an_export_is_overdue_then_files_go_and_the_row_stays(
    engine: Engine, asked: ExportRequest, s3_server: S3
) -> None:
    past = replace(engine, settings=engine.settings.model_copy(update={"ttl_days": 0}))
    old = run_export(past, file_request(past, asked))
    kept = run_export(engine, file_request(engine, asked))
    preview = run_retention(engine, dry_run=True)
    assert (preview.expired, row(engine, old).status) == ([old.id], Status.COMPLETED)
    report = run_retention(engine)
    assert (report.expired, report.errors) == ([old.id], [])
    assert row(engine, old).status is Status.EXPIRED
    left = {item.key for item in engine.destination("s3").list("exports/")}
    folder = kept.files[0].key.rpartition("/")[0]
    assert left == {kept.files[0].key, f"{folder}/manifest.json"}
    with pytest.raises(Rejected, match="has expired and its files were deleted"):
        issue_link(engine, asked.requested_by, old.id)
    assert [entry.event.action.value for entry in engine.audit.of(old.id)][-1] == "expiry"
    assert run_retention(engine).expired == []


def test_retention_when_an_upload_is_stale_then_it_is_aborted(
    engine: Engine, s3_server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = s3_server.client()
    bucket = engine.settings.s3_bucket_name
    client.create_multipart_upload(Bucket=bucket, Key="exports/campaign_results/x")
    client.create_multipart_upload(Bucket=bucket, Key="theirs/x")
    assert run_retention(engine).aborted_uploads == []
    monkeypatch.setattr("export_pipeline.flow.retention._STALE_UPLOAD", timedelta(0))
    assert run_retention(engine).aborted_uploads == ["exports/campaign_results/x"]
    left = [upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
    assert left == ["theirs/x"]


def test_lifecycle_when_ensured_then_ours_is_set_and_others_stay(engine: Engine, s3_server: S3) -> None:
    client = s3_server.client()
    bucket = engine.settings.s3_bucket_name
    theirs = {"ID": "theirs", "Filter": {"Prefix": "theirs/"}, "Status": "Enabled", "Expiration": {"Days": 3}}
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [theirs]})
    for _ in range(2):
        run_retention(engine)
    rules = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert {(rule["Filter"]["Prefix"], rule["Expiration"]["Days"]) for rule in rules} == {
        ("theirs/", 3),
        ("exports/", 31),
    }
