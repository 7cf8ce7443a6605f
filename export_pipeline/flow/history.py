"""What was exported: the list of exports and how often what is used. People see their own; administrators all, and
for how often what is used whoever answers for the rules, too.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from export_pipeline.flow.authorize import authorize_job, identify, refusals_audited
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.template_values import exports_as_told
from export_pipeline.ledger.history import Use
from export_pipeline.model.access import Role
from export_pipeline.model.errors import Forbidden, Rejected
from export_pipeline.model.job import ExportJob, Status


@dataclass(frozen=True)
class Wanted:
    """Which exports are looked for; what is not set is not looked at. `by` is an e-mail address, `error` part of an
    error's text, `before` the id of the last export of the page before. The moments are of the request."""

    by: str | None = None
    dataset: str | None = None
    status: Status | None = None
    template_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    error: str | None = None
    before: str | None = None


def list_exports(engine: Engine, email: str, wanted: Wanted = Wanted(), *, limit: int = 50) -> list[ExportJob]:
    """The newest exports: one's own, or all for an administrator, with the values that they may see. Raises Forbidden
    where somebody else's are asked for, which is audited, Rejected, NotFound."""
    principal = identify(engine, email)
    everybody = principal.role is Role.ADMIN
    if wanted.by and not everybody and wanted.by.lower() != principal.email.lower():
        with refusals_audited(engine, principal.email, wanted.dataset or ""):
            raise Forbidden(f"the role {principal.role} may list its own exports only; leave out whose")
    _check_range(wanted.since, wanted.until)
    jobs = engine.jobs.newest(
        requester_id=None if everybody else principal.id,
        requested_by=wanted.by,
        status=wanted.status,
        dataset=wanted.dataset,
        template_id=_uuid(wanted.template_id, "template"),
        since=wanted.since,
        until=wanted.until,
        error=wanted.error,
        before=authorize_job(engine, email, wanted.before)[1] if wanted.before else None,
        limit=limit,
    )
    return exports_as_told(engine, principal, jobs)


def usage(engine: Engine, email: str, *, since: datetime | None = None, until: datetime | None = None) -> list[Use]:
    """How often each dataset, format and template was asked for: by everybody for compliance and administrators, else
    by oneself. Raises Forbidden, Rejected."""
    principal = identify(engine, email)
    _check_range(since, until)
    everybody = principal.role in (Role.ADMIN, Role.COMPLIANCE)
    return engine.history.usage(requester_id=None if everybody else principal.id, since=since, until=until)


def _check_range(since: datetime | None, until: datetime | None) -> None:
    if since and until and since >= until:
        raise Rejected(f"the range is empty: from {since.isoformat()} to {until.isoformat()}; swap them, or widen it")


def _uuid(text: str | None, noun: str) -> str | None:
    if text is None:
        return None
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Rejected(f"{text!r} is no {noun}'s id, a UUID such as 6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10") from None
