"""From a request to its plans: one dataset in one format, or several of both in one package.

A package is asked for by the datasets' names with commas between them, each perhaps with its formats, as in
`contacts,calls:parquet+csv`, or by the name of a ready-made one. Its filters hold for each dataset that has them;
`calls.status=completed` is for one alone. Conditions and the order name the dataset of their columns. A dataset that is
there more than once has a name of its own each time, as in `calls as done,calls as lost`, which stands for it then.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from psycopg import sql

from export_pipeline.flow.conditions import dataset_of
from export_pipeline.flow.dates import DATE_FILTERS
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.incremental import check_since
from export_pipeline.flow.plan import Order, Plan, make_plan, parse_options
from export_pipeline.flow.publish import MANIFEST, README, member_name
from export_pipeline.flow.query import LIMIT, Selection, filters_of
from export_pipeline.flow.sort import read_sort
from export_pipeline.model.condition import comparisons_of, parse_condition
from export_pipeline.model.dataset import Dataset
from export_pipeline.model.errors import Rejected
from export_pipeline.model.format import Format
from export_pipeline.model.job import ExportRequest
from export_pipeline.model.package import Member, members_in

_ALIAS = re.compile(r"[a-z][a-z0-9_]{0,29}")
#: What a package's own files are called.
_OWN_FILES = (MANIFEST, README)
#: The filter whose values mean something else for each dataset.
_IDS = "ids"
#: Formats of a package's files that take the package's profile.
_PROFILED = ("csv", "tsv")


def make_order(engine: Engine, request: ExportRequest, at: datetime | None = None) -> Order:
    """Checks all that can be known without the source. Raises Rejected, saying what is allowed. `at`: see
    `make_plan`."""
    form = engine.format(request.format)
    members = members_of(engine, request)
    check_since(engine, request, [member.dataset for member in members])
    if form.archiver is None and len(members) == 1 and not members[0].formats:
        return Order(request, (make_plan(engine, replace(request, dataset=members[0].dataset), at),))
    datasets = [_called(engine, member) for member in members]
    # Below this a dataset is known by what the package calls it.
    engine = replace(engine, datasets={**engine.datasets, **{dataset.name: dataset for dataset in datasets}})
    _refuse_what_needs_one(request, datasets)
    options = parse_options(engine, form, request.options)
    if form.archiver is not None:
        if name := getattr(options, "password", ""):
            _check_password(engine, name)
        chosen = [(member, _formats(engine, member, options.files)) for member in members]  # type: ignore[attr-defined]
        parts = [(member, name) for member, names in chosen for name in names]
        if "profile" in request.options and not any(name in _PROFILED for _, name in parts):
            raise Rejected(
                f"{form.name}: the option profile is for CSV and TSV files, and none of these is one: leave it out, or "
                "take one of these formats"
            )
    elif form.write_many is not None and not any(member.formats for member in members):
        if options.max_file_rows is not None or options.max_file_bytes is not None:
            raise Rejected(
                f"{form.name}: several datasets are one file: max_file_rows and max_file_bytes do not go with it"
            )
        parts = [(member, form.name) for member in members]
    else:
        raise _not_one_file(engine, request, form, members)
    # Within the order all plans are counted from one moment.
    moment = at or datetime.now(UTC)
    if len(datasets) == 1:
        # Of one dataset, every filter and column is its own: what it does not have is refused as without a package.
        request = _named(request, datasets[0].name)
    names = [dataset.name for dataset in datasets]
    requests = [_part(engine, request, member, name, form, names) for member, name in parts]
    plans = tuple(replace(make_plan(engine, part, moment), in_package=len(names) > 1) for part in requests)
    order = Order(request, plans, form, options)
    if form.archiver is not None:
        _refuse_equal_files(order)
    return order


def _not_one_file(engine: Engine, request: ExportRequest, form: Format, members: Sequence[Member]) -> Rejected:
    """Why these datasets cannot be one file of this format."""
    if named := [f"{member.name}:{'+'.join(member.formats)}" for member in members if member.formats]:
        packages = ", ".join(item.name for item in engine.formats.values() if item.archiver)
        return Rejected(
            f"{request.dataset.strip()} ({', '.join(named)}) names the formats of its files, and {form.name} is one "
            f"file of one format: take the format {packages}, or ask for the datasets without formats of their own"
        )
    able = ", ".join(item.name for item in engine.formats.values() if item.archiver or item.write_many)
    return Rejected(f"{form.name} holds one dataset; take one of {able} for several, or ask for them one by one")


def _refuse_equal_files(order: Order) -> None:
    """Raises Rejected where two files would have one name, whatever its case: unpacked, one would replace the other."""
    taken = {name.lower(): "the package" for name in _OWN_FILES}
    for plan in order.plans:
        name, dataset = member_name(order, plan), plan.selection.dataset.name
        if (other := taken.get(name.lower())) is not None:
            raise Rejected(
                f"the file {name} of {dataset} would have the name of one of {other}: give the dataset another name, "
                f"as in '{plan.selection.dataset.declared_name} as first', or another format"
            )
        taken[name.lower()] = dataset


def members_of(engine: Engine, request: ExportRequest) -> tuple[Member, ...]:
    """The datasets that the request names, or those of the package that it names. Raises Rejected."""
    name = request.dataset.strip()
    if name in engine.packages:
        return engine.packages[name].members
    members = members_in(request.dataset)
    for member in members:
        if member.dataset in engine.packages:
            inside = ",".join(item.dataset for item in engine.packages[member.dataset].members)
            raise Rejected(
                f"{member.dataset} is a ready-made package, which stands alone: ask for it by its name and nothing "
                f"else, or for its datasets: {inside}"
            )
        if member.alias:
            _check_alias(engine, member)
    names = [member.name for member in members]
    if len(set(names)) < len(names):
        twice = next(member for member in members if names.count(member.name) > 1)
        raise Rejected(
            f"{request.dataset!r} names {twice.name} twice; for two formats write {twice.dataset}:csv+xlsx; for two "
            f"filters give each a name of its own: '{twice.dataset} as first,{twice.dataset} as second', and write "
            "first.FILTER=…, second.FILTER=…"
        )
    if len(members) == 1 and members[0].alias:
        raise Rejected(f"{request.dataset!r}: only a dataset of several in one file takes a name of its own")
    if engine.packages and len(members) == 1 and names[0] not in engine.datasets:
        known = ", ".join((*sorted(engine.datasets), *sorted(engine.packages)))
        raise Rejected(f"there is no dataset {names[0]!r}; there are: {known}")
    return members


def _check_alias(engine: Engine, member: Member) -> None:
    alias = member.alias
    if not _ALIAS.fullmatch(alias) or alias in engine.datasets or alias in engine.packages:
        raise Rejected(
            f"as {alias[:60]!r}: a name in a package begins with a lower-case letter and has at most 30 of these, "
            "digits and underscores; it is no dataset's"
        )
    if alias in {name.partition(".")[0].lower() for name in _OWN_FILES}:
        raise Rejected(f"as {alias!r}: a package has a file of that name itself; take another name")
    if member.dataset in engine.datasets and engine.datasets[member.dataset].column(alias):
        raise Rejected(
            f"as {alias!r}: {member.dataset} has a column of that name, so that {alias}.… could be either; take "
            "another name"
        )


def _called(engine: Engine, member: Member) -> Dataset:
    """The member's dataset, by the name that it has in the package."""
    dataset = engine.dataset(member.dataset)
    if not member.alias:
        return dataset
    # The own name first: a workbook's sheets are called after the title, and have room for 31 characters.
    title = f"{member.alias.replace('_', ' ')} ({dataset.title})"
    return replace(dataset, name=member.alias, of=dataset.name, title=title)


def _formats(engine: Engine, member: Member, usual: str) -> tuple[str, ...]:
    names = member.formats or tuple(name.strip() for name in usual.split(",") if name.strip())
    for name in names:
        if engine.format(name).archiver is not None:
            raise Rejected(f"{member.dataset}:{name}: a package cannot hold a package")
    if not names or len(set(names)) < len(names):
        raise Rejected(f"{member.dataset}: name its formats once each, as in files=csv or {member.dataset}:csv+xlsx")
    return names


def _named(request: ExportRequest, name: str) -> ExportRequest:
    """The request, with the dataset before the name of each filter and column that does not name it."""
    prefix = f"{name}."
    return replace(
        request,
        filters={prefix + key.removeprefix(prefix): value for key, value in request.filters.items()},
        columns=tuple(prefix + column.removeprefix(prefix) for column in request.columns),
        masks={prefix + column.removeprefix(prefix): policy for column, policy in request.masks.items()},
    )


def _part(  # noqa: PLR0917
    engine: Engine, request: ExportRequest, member: Member, name: str, container: Format, names: Sequence[str]
) -> ExportRequest:
    """The request for one file of the package, which holds the datasets of these names."""
    dataset = engine.dataset(member.name)
    options = dict(request.options) if container.archiver is None else {}
    if container.archiver is not None and name in _PROFILED and "profile" in request.options:
        options = {"profile": request.options["profile"]}
    return replace(
        request,
        dataset=dataset.name,
        format=name,
        options=options,
        filters=_own(dataset, request.filters),
        columns=tuple(column.partition(".")[2] for column in request.columns if column.startswith(f"{dataset.name}.")),
        conditions=tuple(text for text in request.conditions if _of_condition(text, names) == dataset.name),
        sort=tuple(item for item in request.sort if _of_sort(item, names) == dataset.name),
        masks=_own_masks(dataset, request.masks),
    )


def _of_condition(text: str, names: Sequence[str]) -> str:
    """The dataset that a condition is about, of those in the package. Raises Rejected."""
    paths = [item.path for item in comparisons_of(parse_condition(text))]
    return names[0] if len(names) == 1 else dataset_of(paths, names, "--where")


def _of_sort(item: str, names: Sequence[str]) -> str:
    path, _ = read_sort(item)
    return names[0] if len(names) == 1 else dataset_of([path], names, f"--sort {item}")


def _own(dataset: Dataset, filters: Mapping[str, str]) -> dict[str, str]:
    """The filters that are for this dataset: those that it has, and those that name it."""
    known = _known(dataset)
    own = {name: value for name, value in filters.items() if name in known}
    prefix = f"{dataset.name}."
    return own | {name.removeprefix(prefix): value for name, value in filters.items() if name.startswith(prefix)}


def _own_masks(dataset: Dataset, masks: Mapping[str, str]) -> dict[str, str]:
    """The masks of this dataset's columns: those of columns that it has, and those that name it."""
    own = {name: policy for name, policy in masks.items() if dataset.column(name)}
    prefix = f"{dataset.name}."
    return own | {name.removeprefix(prefix): policy for name, policy in masks.items() if name.startswith(prefix)}


def _known(dataset: Dataset) -> set[str]:
    dates = {name for name, _, _ in DATE_FILTERS} if dataset.date_column else set()
    return {item.name for item in filters_of(dataset)} | dates


def _refuse_what_needs_one(request: ExportRequest, datasets: Sequence[Dataset]) -> None:
    """Raises Rejected for what has no meaning for several datasets, or for none of these."""
    names = [dataset.name for dataset in datasets]
    if len(datasets) == 1:
        return
    if _IDS in request.filters:
        raise Rejected(f"ids are those of one dataset: say of which, as in {names[0]}.{_IDS}")
    if LIMIT in request.filters or any(name.endswith(f".{LIMIT}") for name in request.filters):
        raise Rejected("limit goes with one dataset: in a package it would leave rows whose references are missing")
    if request.truncate:
        raise Rejected("truncate goes with one dataset: in a package it would leave rows whose references are missing")
    known: set[str] = set().union(*(_known(dataset) for dataset in datasets))
    for name in request.filters:
        if name not in known and name.partition(".")[0] not in names:
            raise Rejected(f"none of {', '.join(names)} has a filter {name!r}; they have: {', '.join(sorted(known))}")
    for name in request.masks:
        if name.partition(".")[0] not in names and not any(dataset.column(name) for dataset in datasets):
            raise Rejected(f"none of {', '.join(names)} has a column {name!r} to mask")
    for column in request.columns:
        if column.partition(".")[0] not in names:
            raise Rejected(
                f"--columns {column}: with several datasets write the dataset before it, as in "
                f"{_with_dataset(column, names)}"
            )


def _with_dataset(column: str, names: Sequence[str]) -> str:
    """How to write a column of one of several datasets: the dataset stands before the whole, not within a function."""
    found = re.search(rf"\b({'|'.join(map(re.escape, names))})\.", column)
    name = found[1] if found else names[0]
    bare = re.sub(rf"\b{re.escape(name)}\.", "", column)
    return f"{name}.{bare}"


def _check_password(engine: Engine, name: str) -> None:
    if engine.settings.zip_password(name) is None:
        # Without the value: somebody may have put a password there.
        raise Rejected(
            "the option password takes the name of a password in EXPORT_ZIP_PASSWORDS, never a password itself; there "
            "is none of that name"
        )


def closed(order: Order) -> Order:
    """The order of somebody who was authorized, with every reference between its datasets closed: no call without its
    contact. A filter of what is referred to narrows what refers to it, too; a range of dates does not, so what it would
    leave out there comes in."""
    selections = {plan.selection.dataset.name: plan.selection for plan in order.plans}
    bases: dict[str, Selection] = {}
    whole: dict[str, Selection] = {}

    def base(name: str) -> Selection:
        """The dataset's rows of all times."""
        if name not in bases:
            selection = selections[name]
            within = [
                (expression, _query(base(other), selections[other].dataset.key))
                for other, expression in selection.dataset.references.items()
                if other in selections and _narrows(other, selection)
            ]
            bases[name] = replace(selection, dated=(), within=tuple(within))
        return bases[name]

    def _narrows(other: str, selection: Selection) -> bool:
        # A filter that both have, such as the campaign, need not be applied twice.
        own = base(other)
        return (
            bool(own.within or own.conditions)
            or not own.values.items() <= selection.values.items()
            or bool(own.dataset.where)
        )

    def all_of(name: str) -> Selection:
        if name not in whole:
            children = [item for item, other in selections.items() if name in other.dataset.references]
            queries = [_query(all_of(child), selections[child].dataset.references[name]) for child in children]
            whole[name] = replace(base(name), dated=selections[name].dated, referenced=tuple(queries))
        return whole[name]

    return replace(
        order,
        plans=tuple(replace(plan, selection=_as(plan, all_of(plan.selection.dataset.name))) for plan in order.plans),
    )


def _as(plan: Plan, selection: Selection) -> Selection:
    """The plan's own columns of the dataset's rows."""
    own = plan.selection
    return replace(
        selection, columns=own.columns, left_out=own.left_out, why_left_out=own.why_left_out, masks=own.masks
    )


def _query(selection: Selection, expression: str) -> sql.Composed:
    return sql.SQL("SELECT {} {}").format(sql.SQL(expression), selection.rows())
