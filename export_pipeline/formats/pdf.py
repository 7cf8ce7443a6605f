"""PDF: a report for people, made of the rows' key figures and charts: an executive summary, detailed results, or a
comparison of subjects.

The rows are staged in a temporary file, computed from there as a stream, and only what the report shows goes on: into
a document (`_pdf_document.py`) that a process of its own renders (`_pdf_process.py`). All temporary files are removed
whatever happens.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from pydantic import Field, field_validator

from export_pipeline.formats import _pdf_document as documents
from export_pipeline.formats._figures import Figures, compute
from export_pipeline.formats._pdf_branding import Brand, load_brand
from export_pipeline.formats._pdf_charts import format_locale
from export_pipeline.formats._pdf_comparison import compare, labelled, subjects_of
from export_pipeline.formats._pdf_process import Job, MissingGlyphs, render
from export_pipeline.formats._pdf_side_by_side import comparison
from export_pipeline.formats._pdf_table import MOST_ROWS, make_table
from export_pipeline.formats._pdf_trial import find_results
from export_pipeline.formats._pdf_trial_tables import side_by_side
from export_pipeline.formats._pdf_words import Language
from export_pipeline.formats._sink import stage, surfacing
from export_pipeline.formats._zone import Zone
from export_pipeline.model.dataset import Column
from export_pipeline.model.errors import Rejected
from export_pipeline.model.format import FileContext, Format, Options
from export_pipeline.model.trial import Trial
from export_pipeline.staging import staging_folder

if TYPE_CHECKING:
    import polars as pl

_COPY_BYTES = 1 << 20
#: What people call the place of a value that is not told row by row.
_SAME_COLUMN = "a column that is the same in every row"


class PdfOptions(Options):
    """What can be chosen for a report."""

    report: Literal["executive_summary", "detailed_results", "comparison"] = Field(
        "executive_summary",
        description="`executive_summary`: one page with key figures, trend and mix; `detailed_results`: key figures, "
        f"charts, the first {MOST_ROWS:,} rows and an appendix; `comparison`: two to six subjects side by side, with "
        "significance.",
    )
    title: str = Field("", max_length=80, description="The report's title. Default: the dataset's.")
    language: Language | None = Field(
        None, description="Of the fixed words, numbers and dates. Default: the branding's, else `en`."
    )
    page_size: Literal["a4", "letter"] | None = Field(
        None, description="The paper. Default: the branding's, else `a4`."
    )
    timezone: Zone = Field(
        "UTC", description="The zone of times, and of the days of charts, by its IANA name, such as `Europe/Lisbon`."
    )
    compare_by: str = Field(
        "",
        description="For `comparison`: the column whose values are compared; dates and timestamps by month. Default: "
        "the dataset's subject, such as the campaign; of one experiment its variants, of several these.",
    )
    max_file_rows: int | None = Field(None, description="Refused: a report is one file about all rows.")
    max_file_bytes: int | None = Field(None, description="Refused: a report is one file about all rows.")

    @field_validator("max_file_rows", "max_file_bytes")
    @classmethod
    def _one_file(cls, limit: int | None) -> int | None:
        if limit is not None:
            raise ValueError("a report is one file about all rows; leave it out, or choose another format")
        return limit


def write(frame: pl.LazyFrame, target: BinaryIO, context: FileContext, options: PdfOptions) -> int:
    """Writes the report; see `Write`. Returns how many rows it is about, all of them counted in its figures. Raises
    Rejected for characters that no font has and for a comparison of too few or many, Broken for a wrong branding."""

    def still_wanted() -> None:
        # The file comes at the end; until then this is how the target can say that the export was stopped.
        target.write(b"")

    brand = load_brand(context.branding)
    _subject_column(context, options)
    with staging_folder() as folder:
        staged, room = folder / "rows.arrow", folder / "render"
        room.mkdir()
        rows = stage(frame, staged).rows
        still_wanted()
        with surfacing():
            job = _job(staged, rows, context, options, brand=brand, still_wanted=still_wanted)
        staged.unlink()
        still_wanted()
        try:
            report = render(job, room, still_wanted=still_wanted)
        except MissingGlyphs as missing:
            raise _rejected(missing.characters, job) from None
        with report.open("rb") as file:
            shutil.copyfileobj(file, target, _COPY_BYTES)
    return rows


def _job(
    staged: Path,
    rows: int,
    context: FileContext,
    options: PdfOptions,
    *,
    brand: Brand,
    still_wanted: Callable[[], object],
) -> Job:
    """The report's numbers and texts, ready to be rendered."""
    import polars as pl

    language, zone = options.language or brand.branding.language, options.timezone
    draft = documents.draft(brand, language, context, zone)
    subject = _subject_column(context, options)
    numbers: list[Figures]
    trial = _trial(context, options)
    if trial is not None:
        numbers = []
        side_by_side(draft, find_results(staged, trial, options.compare_by))
    elif options.report == "comparison":
        assert subject is not None
        rows_by_subject = labelled(staged, subject, zone, _key(context, subject))
        found = compare(
            rows_by_subject,
            context.report,
            subject,
            zone=zone,
            still_wanted=still_wanted,
            asked=_asked(context, subject),
        )
        numbers = list(found.figures)
        comparison(draft, found)
    else:
        numbers = [compute(pl.scan_ipc(staged), context.report, zone=zone)]
        still_wanted()
        if options.report == "executive_summary":
            documents.executive_summary(draft, numbers[0])
        else:
            shown = pl.scan_ipc(staged).head(MOST_ROWS).collect(engine="streaming")
            table = make_table(shown, context.columns, draft.words, zone)
            documents.detailed_results(draft, numbers[0], table, rows)
    subjects: tuple[str, list[str], int] = ("", [], 0)
    if subject is not None:
        subjects = (subject.name, *subjects_of(labelled(staged, subject, zone, _key(context, subject))))
    document = documents.finished(
        draft,
        kind=getattr(draft.words, options.report),
        title=options.title or context.title,
        brand=brand,
        page_size=options.page_size or brand.branding.page_size,
        language=language,
        facts=documents.facts(draft, rows, subjects, numbers),
    )
    return Job(document, draft.charts, format_locale(draft.words), context.snapshot_at, brand)


def _trial(context: FileContext, options: PdfOptions) -> Trial | None:
    """What a comparison shows as the rows have it: variants or experiments, where the rows are their results."""
    trial = context.report.trial
    if options.report != "comparison" or trial is None:
        return None
    own = ("", trial.variant, trial.experiment, trial.experiment_id)
    return trial if options.compare_by in own else None


def _subject_column(context: FileContext, options: PdfOptions) -> Column | None:
    """The column that tells subjects apart; only a comparison needs one. Raises Rejected where it has none."""
    compared = options.report == "comparison"
    name = (options.compare_by if compared else "") or context.report.subject
    column = next((column for column in context.columns if column.name == name), None)
    if column is None and compared:
        wrong = f"is no column of the file: {name}" if name else "is needed, as the columns hold no subject"
        raise Rejected(
            f"the option compare_by {wrong}; the columns are: {', '.join(column.name for column in context.columns)}"
        )
    return column


def _key(context: FileContext, subject: Column) -> str:
    """The column that tells subjects of one name apart."""
    return context.report.subject_id if subject.name == context.report.subject else ""


def _asked(context: FileContext, subject: Column) -> set[str]:
    """The ids of the subjects that were asked for."""
    named = context.filters.get(context.report.subject_filter, "") if subject.name == context.report.subject else ""
    return set(named.split(",")) if named else set()


def _rejected(characters: list[str], job: Job) -> Rejected:
    """The refusal of a text that no font can show, with the place where its first character was found."""
    named = ", ".join(
        f"{character} (U+{ord(character):04X})" if character.isprintable() else f"U+{ord(character):04X}"
        for character in characters
    )
    return Rejected(
        f"no font of the report has the characters {named}; found in {_place(set(characters), job.document)}. "
        "Have a font that has them put into the branding folder's fonts/, leave the column out, or choose another "
        "format"
    )


def _place(characters: set[str], document: Mapping[str, Any]) -> str:
    found = (place for place, text in _places(document) if characters & set(text))
    return next(found, "the figures, their definitions or the filters")


def _places(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The texts that come from rows, the request or the branding, with what people call their place."""
    for table in (block for block in document["blocks"] if block["type"] == "rows"):
        for index, row in enumerate(table["rows"]):
            yield from (
                (f"column {name}, row {index + 1:,}", text) for name, text in zip(table["names"], row, strict=True)
            )
        yield from ((_SAME_COLUMN, note) for note in table["notes"])
    for notes in (block for block in document["blocks"] if block["type"] == "notes"):
        yield from ((_SAME_COLUMN, note) for note in notes["items"])
    yield "the title", document["title"]
    yield from (("the subjects or filters", text) for fact in document["facts"] for text in fact)
    yield from (("branding.toml", document["brand"][key]) for key in ("name", "header", "footer"))
    for block in (block for block in document["blocks"] if block["type"] == "charts"):
        yield from ((f"the chart {item['title']}", item["alt"]) for item in block["items"])


FORMAT = Format(
    name="pdf",
    title="PDF report",
    description="A report to read and print: executive summary, detailed results or comparison, with charts. Figures "
    "and charts count all rows, so the limit of records for people does not apply; the table of rows ends after "
    f"{MOST_ROWS:,}. A character that no font has is refused. Branding, limits and examples: "
    "docs/pdf-reports.md.",
    extension="pdf",
    media_type="application/pdf",
    options=PdfOptions,
    write=write,
    for_people=lambda options: False,
)
