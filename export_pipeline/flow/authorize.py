"""Who may have what: one table of role × dataset (each dataset's `access`) and one rule of ownership.

Asked before anything is read, for every door. Each answer is a decision with its reason, which the audit log keeps.
"""

from collections.abc import Mapping

from export_pipeline.flow.engine import Engine
from export_pipeline.model.access import Decision, Principal, Role, Scope
from export_pipeline.model.dataset import Dataset
from export_pipeline.model.errors import Forbidden, NotFound
from export_pipeline.model.job import ExportJob


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


def authorize_rows(
    engine: Engine, principal: Principal, dataset: Dataset, values: Mapping[str, object]
) -> tuple[str | None, Decision]:
    """The owner of the rows asked for, and the decision. Raises NotFound where they do not exist, Forbidden where they
    are somebody else's."""
    scope = authorize_role(principal, dataset)
    rule = dataset.owner
    owner = engine.source.find_owner(rule.sql, values[rule.filter])
    if owner is None:
        raise NotFound(f"there is no {rule.noun} {values[rule.filter]}")
    if scope is Scope.ALL:
        return owner or None, Decision(True, f"{principal.role} may export {dataset.name} of every {rule.noun}")
    if not owner or owner != principal.id:
        raise Forbidden(
            f"the {rule.noun} {values[rule.filter]} is not yours; its owner or an administrator can export it"
        )
    return owner, Decision(True, f"{principal.role} may export {dataset.name} of their own {rule.noun}")


def authorize_job(engine: Engine, email: str, export_id: str) -> tuple[Principal, ExportJob]:
    """An export and whoever may see and handle it: its requester and administrators. Raises Forbidden, NotFound."""
    principal = identify(engine, email)
    job = engine.jobs.get(export_id)
    if job is None:
        raise NotFound(f"there is no export {export_id}")
    if principal.role is not Role.ADMIN and job.requester_id != principal.id:
        raise Forbidden(f"the export {export_id} is not yours; whoever asked for it or an administrator can do this")
    return principal, job
