"""PDF reports, read back by another program (PDFium): what they say, what they refuse, and that nothing is left."""

import io
import re
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pypdfium2
import pytest
from pydantic import ValidationError

from export_pipeline.formats import _pdf_process
from export_pipeline.formats._pdf_branding import load_brand
from export_pipeline.formats._pdf_numbers import measured, number
from export_pipeline.formats._pdf_table import make_table
from export_pipeline.formats._pdf_words import WORDS, Language, definition, long_date
from export_pipeline.formats.pdf import FORMAT, PdfOptions
from export_pipeline.model.dataset import INTEGER, TEXT, TIMESTAMP, Column, decimal
from export_pipeline.model.errors import Broken, Rejected, Transient
from export_pipeline.model.format import FileContext
from export_pipeline.model.report import Aggregate, Bucket, Chart, ChartKind, Measure, Report
from export_pipeline_tests.formats.tables import SNAPSHOT_AT, OneWay, frame

COLUMNS = (
    Column("campaign", TEXT, "sql", "The campaign."),
    Column("status", TEXT, "sql", "How it ended."),
    Column("at", TIMESTAMP, "sql", "When."),
    Column("seconds", INTEGER, "sql", "How long."),
    Column("cost", decimal(12, 4), "sql", "The cost."),
)
DONE = ("status", ("done",))
CALLS = Measure("Calls", Aggregate.COUNT, "at")
REPORT = Report(
    figures=(
        CALLS,
        Measure("Done rate", Aggregate.SHARE, "at", only=DONE, decimals=1),
        Measure("Mean length", Aggregate.MEAN, "seconds", unit="s"),
        Measure("Cost", Aggregate.SUM, "cost", unit="USD", decimals=2),
    ),
    charts=(
        Chart("Outcomes", ChartKind.PIE, "status", CALLS),
        Chart("Per day", ChartKind.LINE, "at", CALLS, Bucket.DAY),
        Chart("Length by outcome", ChartKind.BAR, "status", Measure("Length", Aggregate.MEAN, "seconds")),
    ),
    subject="campaign",
)
FIRST_DAY = datetime(2010, 11, 1, 9, tzinfo=UTC)
LOGO = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="10"><rect width="40" height="10" fill="#933"/></svg>'

Row = tuple[Any, ...]


def calls(campaign: str, rows: int, done: int) -> list[Row]:
    """So many calls, of which so many are done; the others are spread over two statuses."""
    return [
        (
            campaign,
            "done" if index < done else ("busy", "failed")[index % 2],
            FIRST_DAY + timedelta(days=index % 20),
            60 + index % 7,
            Decimal("0.1250"),
        )
        for index in range(rows)
    ]


def context(columns: Sequence[Column] = COLUMNS, report: Report = REPORT, **changes: Any) -> FileContext:
    made = FileContext("0192-id", "calls", "Calls", tuple(columns), SNAPSHOT_AT, {"campaign_id": "7"}, report)
    return replace(made, **changes)


def write(rows: Sequence[Row], made: FileContext | None = None, target: OneWay | None = None, **options: str) -> bytes:
    """The finished file."""
    made, target = made or context(), target or OneWay()
    written = FORMAT.write(frame(rows, made.columns), target, made, PdfOptions.model_validate(options))  # type: ignore[arg-type]
    assert written == len(rows)
    return target.data.getvalue()


def pages(data: bytes) -> list[str]:
    """The text of each page, in one line, with plain spaces."""
    document = pypdfium2.PdfDocument(io.BytesIO(data))
    try:
        return [" ".join(page.get_textpage().get_text_bounded().split()) for page in document]
    finally:
        document.close()


@pytest.fixture
def no_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def branding(tmp_path: Path) -> Path:
    folder = tmp_path / "branding"
    (folder / "fonts").mkdir(parents=True)
    return folder


def test_executive_summary_when_written_then_one_page_with_figures_and_origin() -> None:
    made = context(filters={"campaign_id": "7" * 400, "date_from": "2010-11-01", "date_to": "2010-11-30"})

    [text] = pages(write(calls("Loans", 1_240, 620), made, page_size="letter"))

    for said in (
        "EXECUTIVE SUMMARY", "1,240", "50.0%", "63 s", "155.00 USD", "Outcomes", "Per day", "Length by outcome",
        "1 November 2010 – 30 November 2010", "Loans", "0192-id", "17 November 2010, 14:03 (UTC)", "1 / 1",
        "Share of the rows with a value in at, in which status is done.",
    ):  # fmt: skip
        assert said in text


def test_report_when_same_rows_then_same_bytes() -> None:
    rows = calls("Loans", 60, 20)

    assert write(rows) == write(rows)


def test_detailed_results_when_more_rows_than_a_table_holds_then_first_ones_and_a_pointer() -> None:
    columns = (Column("number", INTEGER, "sql", "The number."), Column("text", TEXT, "sql", "The text."))

    found = pages(
        write(
            [(number, f"t{number}") for number in range(2_003)], context(columns, Report()), report="detailed_results"
        )
    )

    assert "The first 2,000 of 2,003 rows" in found[1]
    table = " ".join(found)
    assert "1,999 t1999" in table and "t2000" not in table
    assert "The number." in found[-1] and "campaign_id 7" in found[-1]


def test_detailed_results_when_texts_look_like_code_then_they_are_text() -> None:
    codes = ['#panic("no")', "*b* _i_ $x$ <l> @ref \\", "// gone", "]#import"]
    rows = [(code, code, FIRST_DAY, 1, Decimal(1)) for code in codes]

    found = " ".join(pages(write(rows, report="detailed_results", title='#sys.inputs ["] $a$')))

    assert '#sys.inputs ["] $a$' in found
    for code in codes:
        assert found.count(code) >= 2


def test_detailed_results_when_no_rows_then_says_so() -> None:
    assert "Es gibt keine Zeilen." in " ".join(pages(write([], report="detailed_results", language="de")))


def test_detailed_results_when_all_rows_are_alike_then_says_how_many_and_what_they_have() -> None:
    columns = (Column("campaign", TEXT, "sql", "The campaign."), Column("seconds", INTEGER, "sql", "How long."))

    text = " ".join(pages(write([("Loans", 60)] * 3, context(columns, Report()), report="detailed_results")))

    assert "Rows All rows (3). The same in every row shown: campaign = Loans; seconds = 60." in text
    assert "There are no rows." not in text


def test_detailed_results_when_a_value_of_all_rows_has_no_font_then_refused_with_its_place() -> None:
    columns = (Column("campaign", TEXT, "sql", "The campaign."),)

    with pytest.raises(Rejected, match="found in a column that is the same in every row"):
        write([("\U00012000",)] * 2, context(columns, Report()), report="detailed_results")


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/St_Johns"])
def test_moments_when_the_zone_has_no_such_year_then_in_utc(zone: str) -> None:
    moments = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]
    columns = (Column("at", TIMESTAMP, "at", "When."),)

    text = " ".join(
        pages(write([(at,) for at in moments], context(columns, Report()), report="detailed_results", timezone=zone))
    )

    beyond = {"Asia/Tokyo": "9999-12-31 23:59:59 UTC", "America/St_Johns": "0001-01-01 00:00:00 UTC"}
    within = {"Asia/Tokyo": "0001-01-01 09:18:59", "America/St_Johns": "9999-12-31 20:29:59"}
    assert beyond[zone] in text and within[zone] in text


def test_text_when_no_font_has_a_character_then_refused_with_its_place(no_leftovers: Path) -> None:
    rows = [*calls("A", 3, 1), *calls("東 😀", 1, 1)]

    with pytest.raises(Rejected, match=r"東 \(U\+6771\), 😀 \(U\+1F600\); found in column campaign, row 4\. .*fonts/"):
        write(rows, report="detailed_results")
    with pytest.raises(Rejected, match=r"京.*found in the title"):
        write(calls("A", 3, 1), title="京")

    assert list(no_leftovers.iterdir()) == []


@pytest.mark.parametrize("name", ["max_file_rows", "max_file_bytes"])
def test_options_when_the_file_should_be_split_then_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="one file about all rows"):
        PdfOptions.model_validate({name: "100000"})


def test_branding_when_complete_then_seen_and_its_language_is_the_default(branding: Path) -> None:
    (branding / "logo.svg").write_text(LOGO)
    (branding / "branding.toml").write_text(
        'name = "Acme"\nheader = "Vertraulich"\nfooter = "Acme GmbH"\nlanguage = "de"\npage_size = "letter"\n'
        'page_numbers = false\n[colours]\nprimary = "#123456"\n[fonts]\nheading = "New Computer Modern"\n'
    )

    data = write(calls("Loans", 1_240, 620), context(branding=branding))

    [text] = pages(data)
    for said in ("Vertraulich", "Acme GmbH", "KURZBERICHT", "1.240", "50,0 %", "1. November 2010"):
        assert said in text
    assert "1 / 1" not in text
    with pypdfium2.PdfDocument(io.BytesIO(data)) as document:
        assert document[0].get_size() == (612, 792)
    assert b"NewCM" in data


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('color = "#123456"', r"branding\.toml: color is not a key; allowed are: name, header, footer"),
        ('[colours]\nprimary = "blue"', r"colours\.primary must be .*#1f3a5f"),
        ('[colours]\nbrand = "#123456"', r"colours\.brand is not a key; allowed are: primary, accent"),
        ('language = "fr"', "language is wrong: .*'en', 'de', 'pt' or 'es'"),
        ("name = ", "cannot be read as TOML"),
    ],
)
def test_branding_when_a_key_is_wrong_then_named(branding: Path, toml: str, said: str) -> None:
    (branding / "branding.toml").write_text(toml)

    with pytest.raises(Broken, match=said):
        load_brand(branding)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("logo.png", b"<svg/>", "logo.png is not what its name says"),
        ("fonts/font.exe", b"", r"font.exe is not a font; .*\.ttf"),
        ("logo.svg", b"x" * 2_000_001, "2,000,001 bytes; a logo may have 2,000,000"),
    ],
)
def test_branding_when_a_file_is_wrong_then_named(branding: Path, name: str, data: bytes, said: str) -> None:
    (branding / name).write_bytes(data)

    with pytest.raises(Broken, match=said):
        load_brand(branding)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("logo.svg", b"<svg", "logo.svg cannot be drawn"),
        ("fonts/broken.ttf", b"no font", "no readable font: broken.ttf"),
        ("branding.toml", b'[fonts]\nbody = "Comic"', "fonts names Comic, which no font has; there are: .*Libertinus"),
    ],
)
def test_branding_when_it_cannot_be_drawn_then_named(branding: Path, name: str, data: bytes, said: str) -> None:
    (branding / name).write_bytes(data)

    with pytest.raises(Broken, match=said):
        write(calls("A", 3, 1), context(branding=branding))


def test_branding_when_no_folder_then_the_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="EXPORT_BRANDING_DIRECTORY"):
        load_brand(tmp_path / "none")


def renderers() -> list[psutil.Process]:
    """The renderers that this process has started; the tests' servers are children of it, too."""
    return [child for child in psutil.Process().children() if any("_pdf_render" in word for word in child.cmdline())]


def test_renderer_when_the_export_is_stopped_then_ends(no_leftovers: Path) -> None:
    class Stopped(Exception):
        """What a target raises for a cancelled export."""

    class Stopping(OneWay):
        children: Sequence[psutil.Process] = ()

        def write(self, data: Any) -> int:
            self.children = self.children or renderers()
            if self.children:
                raise Stopped
            return super().write(data)

    target = Stopping()
    with pytest.raises(Stopped):
        write(calls("A", 3, 1), target=target)

    assert target.children and not any(child.is_running() for child in target.children)
    assert list(no_leftovers.iterdir()) == []


def test_renderer_when_it_needs_too_much_memory_then_refused(
    monkeypatch: pytest.MonkeyPatch, no_leftovers: Path
) -> None:
    monkeypatch.setattr(_pdf_process, "MOST_BYTES", 64 << 20)

    with pytest.raises(Rejected, match=r"needs more memory than the 64 MB.*fewer columns"):
        write(calls("A", 3, 1))

    assert list(no_leftovers.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "log", "error", "said"),
    [
        (-signal.SIGKILL, b"", Transient, r"was killed \(SIGKILL\).*try again"),
        (-signal.SIGTERM, b"", Transient, r"was killed \(SIGTERM\).*try again"),
        (-signal.SIGTRAP, b"# Fatal JavaScript out of memory: Committing failed.\n#", Rejected, "more memory"),
        (-signal.SIGABRT, b"memory allocation of 655360 bytes failed\n", Rejected, "more memory"),
        (1, b"Traceback:\nMemoryError\n", Rejected, "more memory"),
        (-signal.SIGABRT, b"thread caused non-unwinding panic. aborting.\n", Broken, r"\(signal 6\); this is a defect"),
        (1, b"Traceback:\ntypst.TypstError: a row's text\n", Broken, r"\(typst.TypstError\); this is a defect"),
    ],
)
def test_renderer_when_it_crashes_then_memory_is_named_only_where_it_was_short(
    code: int, log: bytes, error: type[Exception], said: str, tmp_path: Path
) -> None:
    (tmp_path / "log.txt").write_bytes(log)

    found = _pdf_process._crash(code, tmp_path)

    assert isinstance(found, error)
    assert re.search(said, str(found))


def test_renderer_when_it_takes_too_long_then_transient(monkeypatch: pytest.MonkeyPatch, no_leftovers: Path) -> None:
    monkeypatch.setattr(_pdf_process, "MOST_SECONDS", 0)

    with pytest.raises(Transient, match="not rendered within 0 seconds"):
        write(calls("A", 3, 1))

    assert renderers() == []
    assert list(no_leftovers.iterdir()) == []


@pytest.mark.parametrize(
    ("language", "amount", "share", "day"),
    [
        ("en", "−1,234,567.80", "12.5%", "3 March 2026"),
        ("de", "−1.234.567,80", "12,5\u00a0%", "3. März 2026"),
        ("pt", "−1.234.567,80", "12,5%", "3 de março de 2026"),
        ("es", "−1.234.567,80", "12,5\u00a0%", "3 de marzo de 2026"),
    ],
)
def test_words_when_in_a_language_then_its_numbers_and_dates(
    language: Language, amount: str, share: str, day: str
) -> None:
    words = WORDS[language]

    assert number(words, Decimal("-1234567.8"), 2) == amount
    assert measured(words, Measure("Rate", Aggregate.SHARE, decimals=1), 0.125) == share
    assert long_date(words, datetime(2026, 3, 3)) == day
    assert number(words, -0.001, 1) == f"0{words.decimal}0"
    assert measured(words, CALLS, None) == "–"


@pytest.mark.parametrize("language", sorted(WORDS))
def test_definitions_when_in_a_language_then_name_columns_and_values(language: Language) -> None:
    for measure in REPORT.figures:
        text = definition(WORDS[language], measure)
        assert "{" not in text and (measure.column in text or measure.aggregate is Aggregate.SHARE)
    assert "done" in definition(WORDS[language], REPORT.figures[1])


def test_table_when_columns_are_many_then_across_and_the_rest_is_named() -> None:
    columns = tuple(Column(f"column_{index}", TEXT, "sql", "Text.") for index in range(14))
    rows = [(*[f"{row} {'word ' * 8}{index}" for index in range(13)], "same") for row in range(3)]

    table = make_table(frame(rows, columns).collect(), columns, WORDS["en"], "UTC")

    assert table.across
    assert [column.name for column in table.columns] + list(table.left_out) == [f"column_{n}" for n in range(13)]
    assert table.left_out and table.constant == (("column_13", "same"),)


def test_table_when_texts_are_long_then_cut_and_said() -> None:
    table = make_table(frame([("a" * 49,), ("b",)], COLUMNS[:1]).collect(), COLUMNS[:1], WORDS["en"], "UTC")

    assert table.shortened and table.rows[0] == ("a" * 47 + "…",)
    assert not table.across
