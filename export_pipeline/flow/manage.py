"""What people do with exports that exist: see them, cancel, try again, verify. Each asks who they are first."""

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.authorize import ENDING, authorize_job
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.retention import expire_export
from export_pipeline.flow.template_values import exports_as_told
from export_pipeline.flow.verify import verify_again
from export_pipeline.model.errors import Rejected
from export_pipeline.model.job import ExportJob, Status
from export_pipeline.model.verification import Verification, Verify


def show_export(engine: Engine, email: str, export_id: str) -> ExportJob:
    """An export, for its requester or an administrator, with the values that they may see. Raises Forbidden,
    NotFound."""
    principal, job = authorize_job(engine, email, export_id)
    return exports_as_told(engine, principal, [job])[0]


def cancel_export(engine: Engine, email: str, export_id: str) -> ExportJob:
    """Cancels an export: at once where it waits, by its worker within seconds where it runs.

    Raises Forbidden, NotFound, and Rejected where it has ended.
    """
    principal, job = authorize_job(engine, email, export_id)
    return engine.jobs.request_cancel(job.id, actor=principal.email)


def end_export(engine: Engine, email: str, export_id: str, *, reason: str = "") -> None:
    """Deletes a completed export's files before their time: links to them lead nowhere, the row is expired and stays.
    For its requester, administrators and whoever answers for the rules; audited. Raises Forbidden, NotFound, Transient,
    Broken, and Rejected where it has no files."""
    principal, job = authorize_job(engine, email, export_id, roles=ENDING)
    if job.status is not Status.COMPLETED:
        raise Rejected(f"the export {job.id} is {job.status.value}: it has no files")
    expire_export(engine, job, actor=principal.email, reason=reason)


def retry_export(engine: Engine, email: str, export_id: str) -> ExportJob:
    """Makes a failed or cancelled export wait for its next attempt, in the same row. Raises Forbidden, NotFound, and
    Rejected where it is neither, or where the requester may no longer have it."""
    principal, job = authorize_job(engine, email, export_id)
    return engine.jobs.retry(job.id, actor=principal.email)


def verify_export(engine: Engine, email: str, export_id: str, extent: Verify | None = None) -> tuple[int, Verification]:
    """Reads a completed export's files back from their destination and compares them with what was read from the
    source. Returns how many rows they have and what was proven. Raises Forbidden, NotFound, Rejected, Unproven."""
    _, job = authorize_job(engine, email, export_id)
    return job.rows or 0, verify_again(engine, job, extent, Attempt(job.id, job.attempt))
