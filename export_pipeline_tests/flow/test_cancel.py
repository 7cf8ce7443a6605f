"""A cancel in every phase: within three seconds, and nothing stays."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from export_pipeline.embedded.s3 import S3
from export_pipeline.flow import manage
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.request import file_request
from export_pipeline.model.errors import Cancelled, Rejected
from export_pipeline.model.job import ExportRequest, Phase, Status
from export_pipeline_tests.flow.conftest import assert_nothing_left
from export_pipeline_tests.flow.test_faults import in_background, row

COMMAND = (sys.executable, "-c", "from export_pipeline.cli.main import main; main()")


class Slow:
    """A destination that takes its time in one phase, and passes everything else on."""

    def __init__(self, real: Any, phase: Phase) -> None:
        self._real = real
        self._phase = phase

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def confirm(self, key: str, **expected: Any) -> None:
        if self._phase is Phase.VERIFYING:
            time.sleep(1.2)
        self._real.confirm(key, **expected)

    @contextmanager
    def open(self, key: str, **options: Any) -> Iterator[Any]:
        with self._real.open(key, **options) as target:
            if self._phase is Phase.PUBLISHING and key.endswith("manifest.json"):
                time.sleep(1.2)
            yield _SlowWriter(target) if self._phase is Phase.WRITING else target


class _SlowWriter:
    def __init__(self, target: Any) -> None:
        self._target = target

    def write(self, data: Any) -> int:
        time.sleep(0.3)
        return int(self._target.write(data))


@pytest.mark.parametrize("phase", [Phase.WRITING, Phase.VERIFYING, Phase.PUBLISHING])
def test_cancel_when_running_then_cancelled_within_three_seconds_and_nothing_stays(
    large: tuple[Engine, ExportRequest], s3_server: S3, phase: Phase
) -> None:
    engine, request = large
    engine._connected["s3"] = Slow(engine.destination("s3"), phase)  # type: ignore[assignment]
    job = file_request(engine, request)
    thread, raised = in_background(engine, job)
    until = time.monotonic() + 30
    while row(engine, job).phase is not phase and time.monotonic() < until:
        time.sleep(0.01)
    started = time.monotonic()
    manage.cancel_export(engine, request.requested_by, job.id)
    while row(engine, job).status is Status.PROCESSING and time.monotonic() - started < 10:
        time.sleep(0.02)
    assert time.monotonic() - started < 3
    thread.join(10)
    assert [type(error) for error in raised] == [Cancelled]
    assert (row(engine, job).status, row(engine, job).files) == (Status.CANCELLED, ())
    assert_nothing_left(engine, s3_server)
    actions = [(entry.event.action.value, entry.event.actor) for entry in engine.audit.of(job.id)]
    assert actions[-1] == ("cancel", request.requested_by)


def test_cancel_when_pending_then_at_once(engine: Engine, asked: ExportRequest) -> None:
    job = file_request(engine, asked)
    assert manage.cancel_export(engine, asked.requested_by, job.id).status is Status.CANCELLED
    with pytest.raises(Rejected, match="is cancelled already"):
        manage.cancel_export(engine, asked.requested_by, job.id)


def test_cancel_when_a_query_runs_before_the_first_row_then_it_ends_in_the_server(
    engine: Engine, asked: ExportRequest, s3_server: S3
) -> None:
    dataset = engine.datasets["campaign_results"]
    sleepy = replace(dataset, source=dataset.source + " CROSS JOIN LATERAL (SELECT pg_sleep(60)) AS transcript_json")
    slow = replace(engine, datasets={dataset.name: sleepy})
    job = file_request(slow, replace(asked, options={"profile": "raw"}))
    thread, raised = in_background(slow, job)
    time.sleep(1)
    started = time.monotonic()
    manage.cancel_export(engine, asked.requested_by, job.id)
    thread.join(10)
    assert time.monotonic() - started < 3
    assert [type(error) for error in raised] == [Cancelled]
    assert row(engine, job).status is Status.CANCELLED
    assert_nothing_left(engine, s3_server)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_direct_export_when_interrupted_then_cancelled_and_exit_code_six(
    large: tuple[Engine, ExportRequest], s3_server: S3, tmp_path: Path, number: signal.Signals
) -> None:
    engine, request = large
    settings = engine.settings
    secret = settings.aws_secret_access_key
    key_id = settings.aws_access_key_id
    assert secret is not None and key_id is not None
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "EXPORT_SOURCE_URL": settings.source.get_secret_value(),
        "S3_BUCKET_NAME": str(settings.s3_bucket_name),
        "AWS_ENDPOINT_URL": str(settings.aws_endpoint_url),
        "AWS_ACCESS_KEY_ID": key_id.get_secret_value(),
        "AWS_SECRET_ACCESS_KEY": secret.get_secret_value(),
        "TMPDIR": str(tmp_path),
    }
    command = [*COMMAND, "export", "campaign_results", "--direct", "--as", request.requested_by, "--format", "xlsx"]
    filters = ["--filter", f"campaign_id={request.filters['campaign_id']}"]
    environment["EXPORT_MAX_RECORDS"] = "1000000"
    process = subprocess.Popen([*command, *filters], env=environment, stderr=subprocess.PIPE)
    until = time.monotonic() + 30
    while not (found := engine.jobs.newest()) or found[0].phase is not Phase.WRITING:
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(10) == 6, process.stderr.read()[-3000:]
    assert process.stderr is not None
    process.stderr.close()
    assert row(engine, found[0]).status is Status.CANCELLED
    assert_nothing_left(engine, s3_server)
    assert list(tmp_path.iterdir()) == []
