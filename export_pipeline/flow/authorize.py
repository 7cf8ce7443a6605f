"""Who may have what: one table of role × dataset (each dataset's `access`), one of role × sensitivity (`SIGHTS`), and
one rule of ownership.

Asked before anything is read, for every door. Each answer is a decision with its reason, which the audit log keeps.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from export_pipeline.flow.engine import Engine
from export_pipeline.flow.policies import mask_selection
from export_pipeline.flow.query import Selection
from export_pipeline.model.access import Decision, Principal, Role, Scope
from export_pipeline.model.dataset import Dataset
from export_pipeline.model.errors import Forbidden, NotFound, Rejected
from export_pipeline.model.job import ExportJob, ExportRequest

_REACH = {Scope.OWN: "of their own", Scope.ALL: "of everybody"}


@dataclass(frozen=True)
class Grant:
    """What somebody may have: the selection narrowed to it, how far their role reaches, the one owner of the rows
    (None: several or nobody), and the decision."""

    selection: Selection
    scope: Scope
    owner_id: str | None
    decision: Decision


@contextmanager
def refusals_audited(engine: Engine, email: str, dataset: str = "", export_id: str | None = None) -> Iterator[None]:
    """Writes into the audit log what somebody is refused meanwhile."""
    try:
        yield
    except Rejected as error:
        engine.audit.refuse(actor=email, dataset=dataset, reason=str(error), export_id=export_id)
        raise


def identify(engine: Engine, email: str) -> Principal:
    """Who asks. Raises Forbidden where nobody is named or known."""
    if not email:
        raise Forbidden("nobody is named: say who asks (on the command line --as EMAIL, in Dagster requested_by)")
    principal = engine.source.find_principal(email)
    if principal is None:
        raise Forbidden(f"{email} is not a user with a role; ask an administrator, or correct the address")
    return principal


def authorize_role(principal: Principal, dataset: Dataset) -> Scope:
    """How far the role reaches in the dataset. Raises Forbidden."""
    scope = dataset.access.get(principal.role)
    if scope is None:
        allowed = ", ".join(role for role in dataset.access if role is not Role.SERVICE)
        raise Forbidden(f"the role {principal.role} may not export {dataset.name}; these may: {allowed}")
    return scope


def authorize_selection(engine: Engine, principal: Principal, selection: Selection, request: ExportRequest) -> Grant:
    """The selection as far as the principal may have it, masked as the role and the request say. Raises NotFound where
    something that it names does not exist; Forbidden where that is somebody else's, and where a column or a filter that
    it names is not for the role; Rejected where the request asks for masks that cannot be."""
    dataset = selection.dataset
    scope = authorize_role(principal, dataset)
    owner = _owner(engine, principal, selection, scope)
    visible = mask_selection(engine.settings, principal.role, scope, selection, request)
    reason = f"{principal.role} may export {dataset.told_name} {_REACH[scope]}"
    return Grant(visible.reaching(scope, principal.id), scope, owner, Decision(True, reason))


def _owner(engine: Engine, principal: Principal, selection: Selection, scope: Scope) -> str | None:
    """The one owner of everything that the selection names or is narrowed to; None: several, nobody, or not known."""
    rule = selection.dataset.owner
    named = selection.values.get(rule.filter) if rule else None
    if rule is None or named is None:
        return principal.id if scope is Scope.OWN else None
    values = named if isinstance(named, tuple) else (named,)
    owners = engine.source.find_owners(rule.sql, values, principal.id)
    for value, owner in zip(values, owners, strict=True):
        if owner is None:
            raise NotFound(f"there is no {rule.noun} {value}")
        if scope is Scope.OWN and owner != principal.id:
            raise Forbidden(f"the {rule.noun} {value} is not yours; its owner or an administrator can export it")
    return owners[0] or None if len(set(owners)) == 1 else None


#: Who may see and handle exports of others, and who may end what others can get at.
HANDLING = frozenset({Role.ADMIN})
ENDING = frozenset({Role.ADMIN, Role.COMPLIANCE})


def authorize_job(
    engine: Engine, email: str, export_id: str, *, roles: frozenset[Role] = HANDLING
) -> tuple[Principal, ExportJob]:
    """An export and whoever may see and handle it: its requester, and these roles. Raises NotFound, Forbidden; that it
    is somebody else's is audited."""
    principal = identify(engine, email)
    job = engine.jobs.existing(export_id)
    if principal.role not in roles and job.requester_id != principal.id:
        with refusals_audited(engine, principal.email, job.request.dataset, job.id):
            raise Forbidden(
                f"the export {export_id} is not yours; whoever asked for it or an administrator can do this"
            )
    return principal, job
