"""Several datasets in one file, out of one snapshot: files in an archive, with a manifest and a README, or the sheets
of one workbook.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.compress import compression_of
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.extract import Opened
from export_pipeline.flow.plan import Order, Plan
from export_pipeline.flow.publish import MANIFEST, README, document_of, manifest, member_name
from export_pipeline.flow.write import CountingWriter, check_all_written, context_of, frame_of, proof_of, write_rows
from export_pipeline.model.archive import Archive
from export_pipeline.model.destination import Destination
from export_pipeline.model.format import Compression, FileContext, TextOptions, polars_type
from export_pipeline.model.job import ExportFile, ExportJob, Outcome

if TYPE_CHECKING:
    import polars as pl

_WIDTH = 100


def write_package(
    engine: Engine,
    job: ExportJob,
    order: Order,
    opened: Opened,
    attempt: Attempt,
    *,
    destination: Destination,
    key: str,
) -> tuple[ExportFile]:
    """Writes the order's datasets as one file under the key. Raises Broken where a row that was read was not
    written."""
    form = order.container
    assert form is not None
    write = _write_archive if form.archiver is not None else _write_workbook
    with destination.open(key, media_type=form.media_type, filename=key.rpartition("/")[2]) as target:
        writer = CountingWriter(target, attempt)
        members = write(engine, job, order, opened, attempt, writer)
        attempt.check()
    rows = sum(member.rows for member in members)
    check_all_written(attempt, rows)
    file = ExportFile(
        key=key,
        url=destination.address(key),
        bytes=writer.bytes,
        sha256=writer.sha256,
        rows=rows,
        media_type=form.media_type,
        members=members,
    )
    return (file,)


def _write_archive(  # noqa: PLR0917
    engine: Engine, job: ExportJob, order: Order, opened: Opened, attempt: Attempt, writer: CountingWriter
) -> tuple[ExportFile, ...]:
    form, members = order.container, []
    assert form is not None and form.archiver is not None
    name = getattr(order.options, "password", "")
    password = engine.settings.zip_password(name) if name else None
    with form.archiver.create(cast(BinaryIO, writer), order.options, password, opened.snapshot_at) as archive:
        for plan in order.plans:
            context = context_of(engine, job.id, plan, opened.snapshot_at)
            with opened.read(plan) as rows, _file(archive, member_name(order, plan), plan) as target:
                inner = CountingWriter(target, Attempt(job.id, job.attempt))
                attempt.rows_estimated = (attempt.rows_estimated or 0) + rows.estimated
                written, certificate = write_rows(inner, rows.schema, rows.batches, plan, context)
            members.append(
                ExportFile(
                    key=member_name(order, plan),
                    url="",
                    bytes=inner.bytes,
                    sha256=inner.sha256,
                    rows=written,
                    media_type=plan.media_type,
                    certificate=certificate,
                    masked=plan.selection.masked,
                )
            )
        outcome = Outcome(files=tuple(members), snapshot_at=opened.snapshot_at)
        for text, contents in (
            (MANIFEST, document_of(_inner(manifest(job, order, outcome)))),
            (README, readme(job, order, outcome).encode()),
        ):
            with archive.file(text, compress=True) as target:
                target.write(contents)
    return tuple(members)


def _write_workbook(  # noqa: PLR0917
    engine: Engine, job: ExportJob, order: Order, opened: Opened, attempt: Attempt, writer: CountingWriter
) -> tuple[ExportFile, ...]:
    form = order.container
    assert form is not None and form.write_many is not None
    proofs = [proof_of(plan) for plan in order.plans]

    def rows(plan: Plan) -> Iterator[pl.DataFrame]:
        # Opened when its turn has come: an open query holds memory in PostgreSQL.
        with opened.read(plan) as found:
            attempt.rows_estimated = (attempt.rows_estimated or 0) + found.estimated
            yield from found.batches

    parts: list[tuple[pl.LazyFrame, FileContext]] = [
        (frame_of(_schema(plan), rows(plan), proof), context_of(engine, job.id, plan, opened.snapshot_at))
        for plan, proof in zip(order.plans, proofs, strict=True)
    ]
    written = form.write_many(parts, cast(BinaryIO, writer), order.options)
    return tuple(
        ExportFile(
            key=member_name(order, plan),
            url="",
            bytes=0,
            sha256="",
            rows=count,
            media_type=plan.media_type,
            certificate=proof.certificate() if proof is not None else None,
            masked=plan.selection.masked,
        )
        for plan, proof, count in zip(order.plans, proofs, written, strict=True)
    )


def _inner(document: dict[str, Any]) -> dict[str, Any]:
    """The manifest for inside: what reading back proves comes after it."""
    return {name: value for name, value in document.items() if name != "verification"}


def readme(job: ExportJob, order: Order, outcome: Outcome) -> str:
    """What each file and column of a package is, for a person who has never heard of it."""
    lines = [
        f"Export {job.id}, as of {outcome.snapshot_at:%Y-%m-%d %H:%M:%S} UTC.",
        *_references(order),
        f"{MANIFEST} says the same to programs, with checksums.",
        "",
    ]
    for plan, file in zip(order.plans, outcome.files, strict=True):
        selection = plan.selection
        title = f"{file.key}: {selection.dataset.title}"
        lines += [title, "=" * len(title), *textwrap.wrap(selection.dataset.description, _WIDTH)]
        lines += [f"{file.rows:,} rows, {plan.format.title}."]
        if selection.summary:
            lines += ["Only: " + "; ".join(f"{name} = {value}" for name, value in selection.summary.items())]
        if plan.truncated:
            lines += [f"Not all rows: {plan.truncated}."]
        if selection.dated and selection.referenced:
            lines += ["And, of whatever date, what the other files refer to."]
        if selection.left_out:
            told = (f"{item.name} ({selection.why_left_out[item.name]})" for item in selection.left_out)
            lines += ["Left out: " + ", ".join(told)]
        width = max(len(column.name) for column in plan.columns)
        lines += ["", *(f"  {item.name:<{width}}  {item.type}: {item.description}" for item in plan.columns), ""]
    return "\r\n".join(lines)


def _references(order: Order) -> list[str]:
    """What holds for references between the files, as sentences; `flow.order.closed` closes those to datasets that have
    no name of their own."""
    datasets = {plan.selection.dataset.name: plan.selection.dataset for plan in order.plans}
    cuts = {dataset.of for dataset in datasets.values() if dataset.of}
    is_closed, told = False, []
    for plan in order.plans:
        for name in plan.selection.dataset.references:
            if name in datasets:
                is_closed = True
            elif name in cuts:
                files = [member_name(order, other) for other in order.plans if other.selection.dataset.of == name]
                filtered = "hold what they were" if len(files) > 1 else "holds what it was"
                told.append(
                    f"Not all that {member_name(order, plan)} refers to in {name} need be here: it is only in "
                    f"{', '.join(files)}, which {filtered} filtered by."
                )
    moment = "All files show the same moment"
    if not is_closed:
        return [f"{moment}.", *told]
    return [f"{moment}: what one refers to in another is there{', but for this:' if told else '.'}", *told]


@contextmanager
def _file(archive: Archive, name: str, plan: Plan) -> Iterator[BinaryIO]:
    """The archive's file for a plan's rows."""
    plain = isinstance(plan.options, TextOptions) and compression_of(plan.options) is Compression.NONE
    with archive.file(name, compress=plain) as target:
        yield target


def _schema(plan: Plan) -> pl.Schema:
    import polars as pl

    return pl.Schema({column.name: polars_type(column) for column in plan.columns})
