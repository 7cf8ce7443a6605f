"""What a shared template, and an export that somebody made by it, tell of the values that are looked for: all to the
template's owner and administrators, and to others none that are looked for where they may not look, or where free text
reaches them redacted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from export_pipeline.flow.dates import DATE_FILTERS
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.order import members_of
from export_pipeline.flow.policies import usual_policy
from export_pipeline.flow.properties import PROPERTIES, split_properties, told_properties
from export_pipeline.flow.query import LIMIT, filters_of
from export_pipeline.model.access import Principal, Role
from export_pipeline.model.condition import NOT_TOLD, comparisons_of, parse_condition, text_of
from export_pipeline.model.dataset import TEXT, Column, Dataset
from export_pipeline.model.errors import Rejected
from export_pipeline.model.job import ExportJob, ExportRequest
from export_pipeline.model.template import Template

#: Filters of all datasets, which are about nobody.
_OF_ALL = frozenset({LIMIT, *(name for name, _, _ in DATE_FILTERS)})


def as_told(engine: Engine, principal: Principal, template: Template) -> Template:
    """The template as the person may see it: to be shown, not to be run."""
    if principal.role is Role.ADMIN or principal.id == template.owner_id:
        return template
    return replace(template, request=_request_as_told(engine, principal, template.request))


def exports_as_told(engine: Engine, principal: Principal, jobs: Sequence[ExportJob]) -> list[ExportJob]:
    """Exports as the person may see them: to be shown, not to be run. Of one that was made by somebody else's template,
    or by one that is gone, the row does not tell which values came with it: none is told that the template would not
    tell."""
    ids = {job.request.template_id for job in jobs if job.request.template_id}
    if principal.role is Role.ADMIN or not ids:
        return list(jobs)
    owned = engine.templates.owned_by(principal, ids)
    return [
        job
        if job.request.template_id is None or job.request.template_id in owned
        else replace(job, request=_request_as_told(engine, principal, job.request))
        for job in jobs
    ]


def _request_as_told(engine: Engine, principal: Principal, request: ExportRequest) -> ExportRequest:
    try:
        datasets = {member.name: engine.dataset(member.dataset) for member in members_of(engine, request)}
    except Rejected:
        datasets = {}  # what it is about is gone: nobody knows any more what is personal
    filters = {name: _filter_told(principal, datasets, name, value) for name, value in request.filters.items()}
    conditions = tuple(_told(principal, datasets, text) for text in request.conditions)
    return replace(request, filters=filters, conditions=conditions)


def _told(principal: Principal, datasets: Mapping[str, Dataset], text: str) -> str:
    tree = parse_condition(text)
    paths = {item.path for item in comparisons_of(tree)}
    hidden = {path for path in paths if not _may_see_path(principal, datasets, path)}
    return text_of(tree, hidden) if hidden else text


def _may_see_path(principal: Principal, datasets: Mapping[str, Dataset], path: tuple[str, ...]) -> bool:
    """Whether the person sees the column at the path plainly, in each dataset that it may be of."""
    named = len(path) > 1 and path[0] in datasets
    found = [datasets[path[0]]] if named else list(datasets.values())
    name = path[1] if named else path[0]
    return bool(found) and all(_sees(principal, dataset, _column(dataset, name)) for dataset in found)


def _column(dataset: Dataset, name: str) -> Column | None:
    """The column; of a property that is a column of its own, that which it lies in."""
    return dataset.column(name) or (dataset.column(dataset.spread.column) if dataset.spread else None)


def _filter_told(principal: Principal, datasets: Mapping[str, Dataset], name: str, value: str) -> str:
    if not _may_see_filter(principal, datasets, name):
        return NOT_TOLD
    if name.rpartition(".")[2] != PROPERTIES or _may_see_path(principal, datasets, tuple(name.split("."))):
        return value
    return ",".join(told_properties(split_properties(value)))


def _may_see_filter(principal: Principal, datasets: Mapping[str, Dataset], name: str) -> bool:
    """Whether the person sees plainly what the filter looks at, in each dataset that has it."""
    prefix, _, bare = name.rpartition(".")
    found = [datasets[prefix]] if prefix in datasets else list(datasets.values())
    declared = [(dataset, item) for dataset in found for item in filters_of(dataset) if item.name == bare]
    if not declared:
        return bare in _OF_ALL
    return all(
        _sees(principal, dataset, Column(item.name, TEXT, "", "", item.sensitivity, free_text=item.free_text))
        for dataset, item in declared
    )


def _sees(principal: Principal, dataset: Dataset, column: Column | None) -> bool:
    scope = dataset.access.get(principal.role)
    return scope is not None and column is not None and usual_policy(principal.role, scope, column) is None
