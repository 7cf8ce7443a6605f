"""`export_job`: one export, from the launchpad or for a row that was filed at another door."""

from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field, create_model

from export_pipeline.flow.dates import DATE_FROM, DATE_TO
from export_pipeline.flow.export import run_export
from export_pipeline.flow.order import make_order
from export_pipeline.flow.request import file_request
from export_pipeline.flow.templates import run_template
from export_pipeline.model.errors import NotFound, Rejected, Superseded, Transient
from export_pipeline.model.job import ExportJob, ExportRequest, Status
from export_pipeline.model.package import members_in
from export_pipeline.model.template import HELD
from export_pipeline.model.verification import Verify
from export_pipeline.orchestration.reporting import (
    ProgressLog,
    estimate_told,
    failure_of,
    failures_told,
    materialization,
)
from export_pipeline.orchestration.resource import ServicesResource

if TYPE_CHECKING:
    from export_pipeline.flow.engine import Engine

JOB_NAME = "export_job"
#: Tags of a run: which export, whose (an id, not an address), which attempt, and whether it is a large one.
ID_TAG = "export/id"
OWNER_TAG = "export/owner"
ATTEMPT_TAG = "export/attempt"
SIZE_TAG = "export/size"
#: From so many rows an export counts as large (see dagster.yaml).
_LARGE_ROWS = 200_000


class ExportConfig(dg.Config):
    """What is asked for. The defaults are an example that runs on the sample data."""

    dataset: str = Field(default="campaign_results", description="What to export: see `export-pipeline datasets`.")
    also: list[str] = Field(
        default=[], description="Further datasets, for a package (format zip) or a workbook (xlsx) of several."
    )
    campaign_id: str = Field(default="", description="The campaign; empty for a dataset that has none.")
    date_from: str = Field(default="", description="From this day or moment on (ISO 8601); empty: from the beginning.")
    date_to: str = Field(
        default="", description="Up to and including this day, or before this moment; empty: to the end."
    )
    filters: dict[str, str] = Field(default={}, description="Further filters of the dataset, by name.")
    conditions: list[str] = Field(default=[], description="PROPERTY OPERATOR VALUE; all that are given hold.")
    sort: list[str] = Field(default=[], description="The columns to order by, each perhaps with desc.")
    columns: list[str] = Field(default=[], description="The columns, in order; none: all of the dataset's.")
    truncate: bool = Field(default=False, description="Cut off rows beyond EXPORT_MAX_RECORDS instead of refusing.")
    contact_info: bool = Field(default=True, description="Off: no personal column, and free text redacted.")
    masks: dict[str, str] = Field(default={}, description="Policies by column, stricter than the role's.")
    recipient: str = Field(default="", description="Whom the file is for: keyed hashes are theirs alone.")
    reason: str = Field(default="", description="Why the data is needed: a sentence or a ticket.")
    since: str = Field(
        default="",
        description="last: only what is new or changed since the last such export; start: all rows, and begin again.",
    )
    format: str = Field(default="csv", description="The kind of file.")
    options: dict[str, str] = Field(default={}, description="The format's options, by name, for example profile: raw.")
    destination: str = Field(default="s3", description="Where the file is delivered to.")
    requested_by: str = Field(default="", description="The e-mail address of who asks; their rights are checked.")
    verify: str = Field(
        default="", description="How much of the file is read back: full, sample or off; empty: what is usual for it."
    )
    template: str = Field(
        default="",
        description="Run this template of the person's, or OWNER/NAME; fields that stay as they were filled in are the "
        "template's, filters are added.",
    )
    export_id: str = Field(default="", description="Set by the sensor: run this filed request; all else is in its row.")

    def request(self) -> ExportRequest:
        """The request that it stands for."""
        named = {"campaign_id": self.campaign_id, DATE_FROM: self.date_from, DATE_TO: self.date_to}
        return ExportRequest(
            dataset=",".join((self.dataset, *self.also)),
            requested_by=self.requested_by,
            filters=self.filters | {name: value for name, value in named.items() if value},
            columns=tuple(self.columns),
            conditions=tuple(self.conditions),
            sort=tuple(self.sort),
            truncate=self.truncate,
            contact_info=self.contact_info,
            masks=self.masks,
            recipient=self.recipient,
            reason=self.reason,
            since=self.since,
            format=self.format,
            options=self.options,
            destination=self.destination,
            verify=_extent(self.verify),
        )


def changes_of(config: ExportConfig) -> dict[str, Any]:
    """What the launchpad says otherwise than a template: the fields of the request that are not as they are by default.
    Raises Rejected for another dataset, which only the template names."""
    asked, usual = config.request(), ExportConfig().request()
    names = (*HELD, "reason")
    changes = {name: getattr(asked, name) for name in names if getattr(asked, name) != getattr(usual, name)}
    if "dataset" in changes:
        raise Rejected("the template says which dataset is exported: leave dataset and also as they were filled in")
    return changes


def config_of(job: ExportJob) -> dict[str, Any]:
    """The run config that runs a filed request. The row says everything: what it says of the datasets here is for
    whoever looks at the run, in names that the form allows."""
    request = job.request
    first, *others = [member.dataset for member in members_in(request.dataset)]
    return ExportConfig(
        dataset=first, also=others, format=request.format, destination=request.destination, export_id=job.id
    ).model_dump()


def _extent(text: str) -> Verify | None:
    try:
        return Verify(text) if text else None
    except ValueError:
        raise Rejected(f"verify={text!r} is none of: {', '.join(Verify)}") from None


def tags_of(job: ExportJob) -> dict[str, str]:
    """The tags of a run of a filed request."""
    tags = {ID_TAG: job.id, OWNER_TAG: job.requester_id, ATTEMPT_TAG: str(job.attempt)}
    return tags | ({SIZE_TAG: "large"} if (job.rows_estimated or 0) >= _LARGE_ROWS else {})


@dg.op(name="export", description="Authorizes, plans, extracts, writes, verifies and publishes one export.")
def export(context: dg.OpExecutionContext, config: ExportConfig, services: dg.ResourceParam[ServicesResource]) -> None:
    """One export: `flow.export.run_export`."""
    with failures_told(context), services.open() as engine:
        job = _filed(context, engine, config) if config.export_id else _file(context, engine, config)
        with estimate_told(context, engine, job):
            try:
                done = run_export(engine, job, run_id=context.run_id, observer=ProgressLog(context.log))
            except Transient as error:
                raise failure_of(error, engine.jobs.get(job.id)) from error
        context.log.info(f"delivered {done.rows or 0:,} rows, {done.bytes or 0:,} bytes: {done.files[0].url}")
        context.log_event(materialization(engine, done, link=not done.request.recurring))


@dg.graph(name="export_graph")
def export_graph() -> None:
    """One op: parallelism belongs inside the engines."""
    export()


def build_export_job(
    example: dict[str, str],
    datasets: list[str],
    formats: list[str],
    destinations: list[str],
    *,
    of_campaigns: frozenset[str] = frozenset(),
) -> dg.JobDefinition:
    """The job, with a flat form in the launchpad: `example` prefills it, the lists are what may be chosen;
    `of_campaigns` are the datasets that can be asked for by campaign."""
    form = create_model(  # type: ignore[call-overload]
        "ExportForm",
        __base__=ExportConfig,
        **{
            name: (Literal[tuple(choices)], Field(example.get(name, field.default), description=field.description))
            for name, choices in (("dataset", datasets), ("format", formats), ("destination", destinations))
            for field in [ExportConfig.model_fields[name]]
        },
        **{
            name: (str, Field(example[name], description=ExportConfig.model_fields[name].description))
            for name in ("campaign_id", "requested_by")
        },
    )

    def flat(form: Any) -> dict[str, Any]:
        values = form.model_dump()
        if form.template:
            # The example that the form was filled in with is not what somebody asks for.
            usual = {name: field.default for name, field in ExportConfig.model_fields.items() if name != "requested_by"}
            filled_in = {name: type(form).model_fields[name].default for name in usual}
            values |= {name: usual[name] for name in usual if values[name] == filled_in[name]}
        elif form.dataset not in of_campaigns and form.campaign_id == example["campaign_id"]:
            # Nor is the example's campaign, once a dataset was chosen that has none.
            values["campaign_id"] = ""
        return {"ops": {"export": {"config": values}}}

    flat.__annotations__["form"] = form
    return export_graph.to_job(
        name=JOB_NAME,
        description="Exports a dataset as a file. The form is filled in with an example on the sample data.",
        config=dg.config_mapping(flat),
        executor_def=dg.in_process_executor,
    )


def _filed(context: dg.OpExecutionContext, engine: "Engine", config: ExportConfig) -> ExportJob:
    """The row to run. Raises Superseded where this run comes too late for it."""
    job = engine.jobs.get(config.export_id)
    if job is None:
        raise NotFound(f"there is no export {config.export_id}")
    attempt = context.run.tags.get(ATTEMPT_TAG, str(job.attempt))
    if job.status is not Status.PENDING or attempt != str(job.attempt):
        raise Superseded(f"nothing to do: attempt {job.attempt} of the export {job.id} is {job.status.value}")
    return job


def _file(context: dg.OpExecutionContext, engine: "Engine", config: ExportConfig) -> ExportJob:
    """The launchpad's request as a row, claimed by this run in the same transaction, so that no sensor starts it."""
    if config.template:
        changes = changes_of(config)
        job = run_template(engine, config.requested_by, config.template, changes, claim_as=context.run_id)
    else:
        request = config.request()
        make_order(engine, request)  # what is wrong in itself is said before any query
        job = file_request(engine, request, claim_as=context.run_id)
    context.instance.add_run_tags(context.run_id, {ID_TAG: job.id, OWNER_TAG: job.requester_id})
    return job
