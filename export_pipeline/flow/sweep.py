"""Puts right what a dead worker, a hanging store or a crash left: run at start and every few seconds.

This is the one mechanism that owns dead workers: Dagster's own run retries stay off for exports.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import expiry
from export_pipeline.flow.publish import MANIFEST, attempt_prefix
from export_pipeline.model.errors import Broken, Cancelled, ErrorKind, ExportError, Rejected, Superseded, Transient
from export_pipeline.model.job import ExportJob, Phase
from export_pipeline.staging import remove_abandoned

_ACTOR = "sweep"


@dataclass
class SweepReport:
    """What a sweep did, by export id, and paths of folders for rows that killed processes left here."""

    completed: list[str] = field(default_factory=list)
    tried_again: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    cleaned: list[str] = field(default_factory=list)
    still_dirty: list[str] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(vars(self).values())


def sweep(engine: Engine) -> SweepReport:
    """Ends what is dead and cleans what attempts left behind, also on this machine."""
    report = SweepReport()
    for job in engine.jobs.dead(engine.settings.dead_after_seconds):
        # A worker that was only slow may have ended meanwhile: its row is then no longer ours to end. Nor may one
        # destination that does not answer keep the others' jobs from being ended.
        try:
            bury(engine, job, report)
        except (Superseded, Cancelled, Transient, Broken):
            continue
    clean_leftovers(engine, report)
    report.abandoned += remove_abandoned()
    return report


def bury(engine: Engine, job: ExportJob, report: SweepReport) -> None:
    """Ends an attempt whose worker is dead: cancelled if that was asked for, completed if its
    manifest is out, else tried again or failed."""
    if job.cancel_requested_at is not None:
        engine.jobs.cancelled(job.id, job.attempt, actor=_ACTOR, reason="cancelled while its worker was dead")
        report.cancelled.append(job.id)
    elif job.phase is Phase.PUBLISHING and _manifest_is_out(engine, job):
        engine.jobs.complete(job.id, job.attempt, expires_at=expiry(engine, job))
        report.completed.append(job.id)
    elif job.attempt < engine.settings.max_attempts:
        wait = timedelta(seconds=engine.settings.retry_seconds)
        engine.jobs.try_again(job.id, job.attempt, message="the worker died", not_before=datetime.now(UTC) + wait)
        report.tried_again.append(job.id)
    else:
        message = f"the worker died {job.attempt} times; see the Dagster run's log, then `retry`"
        engine.jobs.fail(job.id, job.attempt, kind=ErrorKind.BROKEN, message=message, actor=_ACTOR)
        report.failed.append(job.id)


def clean_leftovers(engine: Engine, report: SweepReport) -> None:
    """Removes what attempts that ended without an export may have left at their destinations."""
    for leftover in engine.leftovers.list():
        name = f"{leftover.export_id}/{leftover.attempt}"
        try:
            engine.destination(leftover.destination).clean(leftover.prefix)
        except ExportError:
            report.still_dirty.append(name)
            continue
        engine.leftovers.done(leftover.export_id, leftover.attempt)
        report.cleaned.append(name)


def _manifest_is_out(engine: Engine, job: ExportJob) -> bool:
    key = attempt_prefix(engine.settings.s3_prefix, job) + MANIFEST
    try:
        return engine.destination(job.request.destination).stat(key) is not None
    except Rejected:
        return False
