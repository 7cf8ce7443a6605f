"""Deletes what has lived long enough: the files of expired exports, stale uploads, what killed processes left on this
machine. Rows and the audit log stay."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from export_pipeline.flow.daily_extracts import old_days
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.extracts import old_extracts
from export_pipeline.model.errors import ExportError, Rejected, Superseded
from export_pipeline.model.job import ExportJob
from export_pipeline.staging import remove_abandoned

_ACTOR = "retention"
#: No upload of ours takes a day: an older one was left by a crash.
_STALE_UPLOAD = timedelta(days=1)


@dataclass
class RetentionReport:
    """What was deleted, or would be: export ids, keys of stale uploads, prefixes of extracts, paths of folders that
    killed processes left; and what could not be."""

    dry_run: bool
    expired: list[str] = field(default_factory=list)
    aborted_uploads: list[str] = field(default_factory=list)
    extracts: list[str] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def run_retention(engine: Engine, *, dry_run: bool = False) -> RetentionReport:
    """Expires what is overdue. With `dry_run` nothing is changed. One failure does not hold up the rest."""
    report = RetentionReport(dry_run=dry_run)
    for job in engine.jobs.overdue(datetime.now(UTC)):
        try:
            if not dry_run:
                expire_export(engine, job, actor=_ACTOR)
            report.expired.append(job.id)
        except Superseded:
            continue
        except ExportError as error:
            report.errors.append(f"{job.id}: {error}")
    for name in engine.destinations:
        try:
            destination = engine.destination(name)
        except Rejected:
            continue  # not set up here
        try:
            if not dry_run:
                # The second guard, one day after the longest of our own lifetimes.
                destination.ensure_lifecycle(max(engine.settings.ttl_days, engine.settings.cleanup_days) + 1)
            report.aborted_uploads += destination.abort_stale_uploads(_STALE_UPLOAD, dry_run=dry_run)
        except ExportError as error:
            report.errors.append(f"{name}: {error}")
    _expire_extracts(engine, report)
    report.abandoned += remove_abandoned(dry_run=dry_run)
    return report


def expire_export(engine: Engine, job: ExportJob, *, actor: str, reason: str = "", **detail: Any) -> None:
    """Deletes a completed export's files, with all that lies beside them, and then says so in its row: one that says
    "expired" while they still lie there would be a lie. `detail` goes into the audit log. Raises Superseded where the
    export is not completed, Transient, Broken."""
    destination = engine.destination(job.request.destination)
    for folder in folders_of(job):
        destination.clean(folder)
    engine.jobs.expire(job.id, actor=actor, reason=reason, **detail)


def folders_of(job: ExportJob) -> tuple[str, ...]:
    """The folders of a completed export's files, each ending in `/`."""
    return tuple(dict.fromkeys(file.key.rpartition("/")[0] + "/" for file in job.files))


def _expire_extracts(engine: Engine, report: RetentionReport) -> None:
    try:
        for prefix in (*old_extracts(engine), *old_days(engine)):
            if not report.dry_run:
                engine.destination("s3").clean(prefix)
            report.extracts.append(prefix)
    except Rejected:
        return  # no bucket, no extracts
    except ExportError as error:
        report.errors.append(f"extracts: {error}")
