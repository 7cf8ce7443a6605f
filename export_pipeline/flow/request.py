"""The one way in: a request is authorized, planned and filed as a row, whichever door it came through."""

from dataclasses import dataclass, replace
from functools import partial

from export_pipeline.flow.authorize import Grant, authorize_role, authorize_selection, identify, refusals_audited
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.order import make_order, members_of
from export_pipeline.flow.patterns import check_patterns
from export_pipeline.flow.plan import Order, Plan
from export_pipeline.flow.policies import require_reason
from export_pipeline.flow.publish import attempt_prefix
from export_pipeline.model.access import Principal
from export_pipeline.model.errors import Forbidden
from export_pipeline.model.job import ExportJob, ExportRequest


def file_request(
    engine: Engine, request: ExportRequest, *, service: Principal | None = None, claim_as: str | None = None
) -> ExportJob:
    """Files the request. With `claim_as` (a Dagster run's id, or empty for none) the row is the caller's to run at
    once, and no sensor starts it. `service` is an identity of ours, for what no person asks for.

    Raises Rejected, Forbidden or NotFound; a refusal is audited.
    """
    admitted = admit(engine, request, service=service)
    grants = admitted.grants
    return engine.jobs.file(
        request,
        requester=admitted.principal,
        owner_id=grants[0].owner_id if len({grant.owner_id for grant in grants}) == 1 else None,
        reason=admitted.reason,
        claim_as=claim_as,
        prefix_of=partial(attempt_prefix, engine.settings.s3_prefix),
        names=admitted.names,
    )


@dataclass(frozen=True)
class Admitted:
    """A request that was authorized and planned: who asks, the order narrowed to what they may have, the grant of each
    of its plans."""

    principal: Principal
    order: Order
    grants: list[Grant]

    @property
    def names(self) -> frozenset[str]:
        """What the order's datasets are called in the request."""
        return frozenset(plan.selection.dataset.name for plan in self.order.plans)

    @property
    def reason(self) -> str:
        """Why it was allowed, for the audit log."""
        return "; ".join(dict.fromkeys(grant.decision.reason for grant in self.grants))


def admit(engine: Engine, request: ExportRequest, *, service: Principal | None = None) -> Admitted:
    """Authorizes and plans a request, whether it is then filed or only looked at. Raises Rejected, Forbidden or
    NotFound; a refusal is audited."""
    with refusals_audited(engine, request.requested_by, request.dataset):
        principal = service or identify(engine, request.requested_by)
        for member in members_of(engine, request):
            authorize_role(principal, engine.dataset(member.dataset))
        order = make_order(engine, request)
        engine.destination(request.destination)
        order, grants = authorize_order(engine, principal, order)
        require_reason(engine.settings, [plan.selection for plan in order.plans], request)
    return Admitted(principal, order, grants)


def authorize_order(engine: Engine, principal: Principal, order: Order) -> tuple[Order, list[Grant]]:
    """The order narrowed to what the principal may have now, and the grant of each plan; asked when it is filed and
    again when it runs. Raises Forbidden, NotFound."""
    granted = [authorize_plan(engine, principal, plan) for plan in order.plans]
    return replace(order, plans=tuple(plan for plan, _ in granted)), [grant for _, grant in granted]


def authorize_plan(engine: Engine, principal: Principal, plan: Plan) -> tuple[Plan, Grant]:
    """One plan of an order; see there."""
    grant = authorize_selection(engine, principal, plan.selection, plan.request)
    check_patterns(engine.source, plan.selection)
    return replace(plan, selection=grant.selection), grant


def reauthorize(engine: Engine, job: ExportJob, order: Order, service: Principal | None) -> Order:
    """Asks again for a job that is about to run: roles and owners change. Returns the order narrowed to what the
    requester may have now. Raises Forbidden, NotFound."""
    principal = service or identify(engine, job.request.requested_by)
    if principal.id != job.requester_id:
        raise Forbidden(f"{job.request.requested_by} is not whom this export was filed for; ask for it again")
    return authorize_order(engine, principal, order)[0]
