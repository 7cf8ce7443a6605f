"""The story of an export: authorize, plan, extract, write, verify, publish, record; or clean up and say why not.

Nothing half-done is ever visible: what an attempt wrote becomes an export with its manifest, which is published last,
after the intent was recorded; otherwise everything that it wrote goes.
"""

import logging
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Thread

from export_pipeline.flow.attempt import Abandoned, Attempt, LedgerWatch, Observer, supervise
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.extract import open_source
from export_pipeline.flow.extracts import open_extracts
from export_pipeline.flow.incremental import Increment
from export_pipeline.flow.memory import limit_memory
from export_pipeline.flow.order import closed, make_order
from export_pipeline.flow.package import write_package
from export_pipeline.flow.publish import attempt_prefix, discreet, document_of, file_name, manifest, publish_manifest
from export_pipeline.flow.request import reauthorize
from export_pipeline.flow.subject_index import open_index, publish_index
from export_pipeline.flow.verify import Verifier, verify_delivered
from export_pipeline.flow.write import context_of, write_files
from export_pipeline.model.access import SERVICE
from export_pipeline.model.errors import Broken, Cancelled, ErrorKind, ExportError, Superseded, Transient, Unproven
from export_pipeline.model.job import ExportFile, ExportJob, Outcome, Phase, Status

_log = logging.getLogger(__name__)

#: How long cleaning up may hold back the news that an export was cancelled or failed (seconds).
_CLEANING_SECONDS = 1.0
#: What a library written in Rust raises at a defect of its own: no Exception, and no interrupt either. Each such
#: library has a class of its own.
_PANIC = "PanicException"


def _silent(attempt: Attempt) -> None:
    """Tells nobody."""


def run_export(engine: Engine, job: ExportJob, *, run_id: str | None = None, observer: Observer = _silent) -> ExportJob:
    """Runs one attempt at a job that is pending, or already claimed by the caller, and returns the completed row.

    Raises what it recorded in the row: Rejected and its kin, Transient (the row is pending again), Broken, Cancelled;
    Superseded where somebody else has the row; an interrupt as it came; Transient too where the ledger is away, and the
    row is left to the sweep.
    """
    if job.status is Status.PENDING:
        prefix = attempt_prefix(engine.settings.s3_prefix, job)
        job = engine.jobs.claim(job.id, job.attempt, run_id=run_id, prefix=prefix)
    attempt = Attempt(job.id, job.attempt)
    try:
        supervise(
            attempt,
            partial(deliver, engine, job),
            LedgerWatch(engine.jobs, engine.settings, observer),
        )
        return engine.jobs.complete(job.id, job.attempt, expires_at=expiry(engine, job))
    except BaseException as error:
        concluded = conclude(engine, job, error, published=attempt.phase is Phase.PUBLISHING)
        if isinstance(concluded, Superseded) and (completed := _completed(engine, job)):
            if isinstance(error, Exception):
                return completed
            raise
        if concluded is error:
            raise
        raise concluded from error


def run_to_the_end(engine: Engine, job: ExportJob, *, observer: Observer = _silent) -> ExportJob:
    """Like `run_export`, and makes the further attempts itself, as the sensor would."""
    while True:
        try:
            return run_export(engine, job, observer=observer)
        except Transient:
            following = engine.jobs.get(job.id)
            if following is None or following.status is not Status.PENDING:
                raise
            job = following
            due = job.request.not_before or datetime.now(UTC)
            time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))


def deliver(engine: Engine, job: ExportJob, attempt: Attempt) -> Outcome:
    """One attempt's work, in its thread: from the checked plan to the published manifest."""
    limit_memory()
    order = make_order(engine, job.request, job.created_at)
    order = closed(reauthorize(engine, job, order, SERVICE if job.request.recurring else None))
    destination = engine.destination(job.request.destination)
    prefix = attempt_prefix(engine.settings.s3_prefix, job)
    index = open_index(engine, attempt)

    increment = Increment(engine, job, order) if job.request.since else None
    read_source = partial(open_source, narrowed=increment.narrowed) if increment else open_source
    open_rows = open_extracts if job.request.recurring else read_source
    listed: tuple[ExportFile, ...] = ()
    with open_rows(engine, order.plans, attempt) as opened:
        order = replace(order, plans=opened.plans)
        key = prefix + file_name(job, order)
        if order.container is None:
            [plan] = order.plans
            with opened.read(plan) as rows:
                attempt.enter(Phase.WRITING)
                attempt.rows_estimated = rows.estimated
                context = context_of(engine, job.id, plan, opened.snapshot_at)
                files = write_files(rows, plan, context, attempt, destination=destination, key=key)
        else:
            attempt.enter(Phase.WRITING)
            files = write_package(engine, job, order, opened, attempt, destination=destination, key=key)
        if increment is not None:
            listed = increment.list_deletions(destination, key, attempt)
    told = increment.told() if increment else {}

    attempt.enter(Phase.VERIFYING)
    for file in files:
        destination.confirm(file.key, bytes=file.bytes, sha256=file.sha256)
    truncated = any(plan.truncated for plan in order.plans)
    outcome = Outcome(files=files, snapshot_at=opened.snapshot_at, truncated=truncated)
    document = manifest(job, order, outcome) | told
    verifier = Verifier(document, engine.formats, attempt, password=engine.settings.zip_password)
    try:
        outcome = replace(outcome, verification=verify_delivered(destination, files, verifier))
    except Unproven as error:
        raise Unproven(f"{error}; nothing was delivered") from error

    publish_index(index, destination, prefix)
    attempt.enter(Phase.PUBLISHING)
    document = manifest(job, order, outcome) | told
    outcome = replace(outcome, files=(*files, *listed))
    engine.jobs.publish(job.id, job.attempt, outcome)
    publish_manifest(destination, prefix, document_of(discreet(document)))
    return outcome


def expiry(engine: Engine, job: ExportJob) -> datetime:
    """When the files of a job that completes now are deleted."""
    days = engine.settings.cleanup_days if job.request.recurring else engine.settings.ttl_days
    return datetime.now(UTC) + timedelta(days=days)


def conclude(engine: Engine, job: ExportJob, error: BaseException, *, published: bool = False) -> BaseException:
    """Records how an attempt ended and removes what it wrote. Returns the error for the caller to raise.

    Once it was `published`, or about to be, it may be complete although it failed here: the answer to a commit was
    lost, or the sweep took its worker for dead. Then nothing is removed but what the ledger says is no export.
    """
    reason = error.reason if isinstance(error, Abandoned) else error
    if not published and not isinstance(error, Abandoned):
        clean_attempt(engine, job)
    if isinstance(reason, Superseded):
        return reason
    defect = isinstance(reason, Exception) or type(reason).__name__ == _PANIC
    known = _unexpected(reason) if defect and not isinstance(reason, ExportError) else reason
    try:
        try:
            _record(engine, job, known)
        except Cancelled as cancelled:
            _record(engine, job, cancelled)
            known = cancelled
    except Superseded as lost:
        # Whoever has the row knows what was left, and the sweep removes it.
        return lost
    if published and not isinstance(error, Abandoned):
        clean_attempt(engine, job)
    return known


def _completed(engine: Engine, job: ExportJob) -> ExportJob | None:
    """The row, where this very attempt was completed, by whomever. Raises Transient."""
    found = engine.jobs.get(job.id)
    done = found is not None and found.attempt == job.attempt and found.status in (Status.COMPLETED, Status.EXPIRED)
    return found if done else None


def clean_attempt(engine: Engine, job: ExportJob) -> bool:
    """Removes everything that the attempt may have left at its destination. Where the store does not answer in time,
    what is left stays on record for the sweep."""

    def clean() -> None:
        try:
            engine.destination(job.request.destination).clean(attempt_prefix(engine.settings.s3_prefix, job))
            engine.leftovers.done(job.id, job.attempt)
            finished.append(True)
        except ExportError:
            return

    finished: list[bool] = []
    thread = Thread(target=clean, name=f"clean-{job.id}", daemon=True)
    thread.start()
    thread.join(_CLEANING_SECONDS)
    return bool(finished)


def _record(engine: Engine, job: ExportJob, error: BaseException) -> None:
    actor = job.request.requested_by
    if isinstance(error, Transient) and job.attempt < engine.settings.max_attempts:
        wait = engine.settings.retry_seconds * 2 ** (job.attempt - 1)
        engine.jobs.try_again(
            job.id, job.attempt, message=str(error), not_before=datetime.now(UTC) + timedelta(seconds=wait)
        )
    elif isinstance(error, Cancelled) or not isinstance(error, Exception):
        engine.jobs.cancelled(job.id, job.attempt, actor=actor, reason=str(error) or type(error).__name__)
    else:
        kind = error.kind if isinstance(error, ExportError) else ErrorKind.BROKEN
        unproven = isinstance(error, Unproven)
        engine.jobs.fail(job.id, job.attempt, kind=kind, message=str(error), actor=actor, unproven=unproven)


def _unexpected(error: BaseException) -> Broken:
    # The text of a library's error may hold a row's values: its type and place are told, in the log too.
    _log.error(
        "unexpected %s at\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__, limit=-4))
    )
    return Broken(f"an unexpected {type(error).__name__} ended the export; this is a defect, please report it")
