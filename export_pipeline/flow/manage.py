"""What people do with exports that exist: see them, get a link, cancel, try again. Each asks who they are first."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.authorize import Grant, authorize_job
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.order import make_order
from export_pipeline.flow.publish import read_manifest
from export_pipeline.flow.request import authorize_order
from export_pipeline.flow.verify import verify_again
from export_pipeline.model.access import Scope
from export_pipeline.model.errors import Forbidden, Rejected
from export_pipeline.model.job import ExportJob, Status
from export_pipeline.model.masking import AT_LEAST
from export_pipeline.model.verification import Verification, Verify


@dataclass(frozen=True, repr=False)
class Link:
    """Addresses that let their holder download the files, by name, `url` the first; whoever has them has the data, so
    this has no repr."""

    url: str
    urls: Mapping[str, str]
    expires_at: datetime


def show_export(engine: Engine, email: str, export_id: str) -> ExportJob:
    """An export, for its requester or an administrator. Raises Forbidden, NotFound."""
    return authorize_job(engine, email, export_id)[1]


def issue_link(engine: Engine, email: str, export_id: str) -> Link:
    """A new link to each of the export's files, audited. Raises Forbidden, NotFound, and Rejected where there
    is no file to link to.

    Whoever may no longer read the data gets no link to what they took out when they might.
    """
    principal, job = authorize_job(engine, email, export_id)
    if job.status is not Status.COMPLETED:
        raise Rejected(
            _NO_LINK.get(job.status, "the export {id} is {status}: there is no file yet").format(
                id=job.id, status=job.status.value
            )
        )
    _, grants = authorize_order(engine, principal, make_order(engine, job.request, job.created_at))
    for grant in grants:
        _refuse_what_is_hidden_now(engine, job, grant)
    now = datetime.now(UTC)
    left = (job.expires_at - now).total_seconds() if job.expires_at else engine.settings.url_ttl_seconds
    seconds = int(min(engine.settings.url_ttl_seconds, left))
    if seconds < 1:
        raise Rejected(f"the export {job.id} has expired; ask for it again")
    destination = engine.destination(job.request.destination)
    urls = {}
    for file in job.files:
        name = file.key.rpartition("/")[2]
        if destination.stat(file.key) is None:
            raise Rejected(f"the file {name} is gone from its destination; ask for the export again")
        urls[name] = destination.link(file.key, ttl_seconds=seconds, filename=name)
    link = Link(url=next(iter(urls.values())), urls=urls, expires_at=now + timedelta(seconds=seconds))
    engine.audit.link(job, actor=principal.email, expires_at=link.expires_at)
    return link


def _refuse_what_is_hidden_now(engine: Engine, job: ExportJob, grant: Grant) -> None:
    """The file was made for what its requester might have then; whoever asks now may have to do with less. Raises
    Forbidden."""
    selection = grant.selection
    rule = selection.dataset.owner
    all_checked = rule is not None and rule.filter in selection.values
    narrowed = grant.scope is Scope.OWN and not all_checked
    if not narrowed and not selection.left_out and not selection.masks:
        return
    made = read_manifest(engine.destination(job.request.destination), job)
    left_out = {column.name for column in selection.left_out}
    for part in made.get("datasets", [made]):
        if part["dataset"] != selection.dataset.name:
            continue
        policies = {column["name"]: column.get("mask", {}).get("policy") for column in part["columns"]}
        hidden = left_out & policies.keys()
        plainer = [
            mask.column.name
            for mask in selection.masks
            if mask.column.name in policies and policies[mask.column.name] not in AT_LEAST[mask.policy]
        ]
        if hidden or plainer or (narrowed and part.get("scope") != Scope.OWN):
            raise Forbidden(
                f"the file of the export {job.id} holds more than you may have now; ask for the export again"
            )


def cancel_export(engine: Engine, email: str, export_id: str) -> ExportJob:
    """Cancels an export: at once where it waits, by its worker within seconds where it runs.

    Raises Forbidden, NotFound, and Rejected where it has ended.
    """
    principal, job = authorize_job(engine, email, export_id)
    return engine.jobs.request_cancel(job.id, actor=principal.email)


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


_NO_LINK = {
    Status.FAILED: "the export {id} failed: there is no file; see why with `show`, try again with `retry`",
    Status.CANCELLED: "the export {id} was cancelled: there is no file; try again with `retry`",
    Status.EXPIRED: "the export {id} has expired and its files were deleted; ask for it again",
}
