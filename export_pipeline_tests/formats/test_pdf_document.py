"""What a report says of itself, before it is drawn."""

import polars as pl
import pytest

from export_pipeline.formats._pdf_branding import Branding
from export_pipeline.formats._pdf_charts import Style
from export_pipeline.formats._pdf_document import Draft, facts, subject_label, subject_labels
from export_pipeline.formats._pdf_numbers import p_text
from export_pipeline.formats._pdf_table import make_table
from export_pipeline.formats._pdf_words import WORDS, Language
from export_pipeline.model.dataset import FLOAT, Column
from export_pipeline.model.format import FileContext
from export_pipeline_tests.formats.tables import SNAPSHOT_AT


def draft(language: Language = "en", **filters: str) -> Draft:
    context = FileContext("0192-id", "calls", "Calls", (), SNAPSHOT_AT, filters)
    return Draft(Style(WORDS[language], Branding()), context, "UTC")


@pytest.mark.parametrize(
    ("language", "filters", "expected"),
    [
        ("en", {"date_from": "2008-05-05", "date_to": "2008-05-10"}, "5 May 2008 – 10 May 2008"),
        (
            "de",
            {"date_from": "2008-05-05", "date_to": "2008-05-10", "timezone": "Asia/Tokyo"},
            "5. Mai 2008 – 10. Mai 2008 (Asia/Tokyo)",
        ),
        ("en", {"date_range": "today", "date_from": "2008-05-05", "date_to": "2008-05-05"}, "5 May 2008"),
        ("en", {"date_from": "2008-05-05"}, "from 5 May 2008"),
        ("es", {"date_to": "2008-05-10"}, "hasta el 10 de mayo de 2008"),
        (
            "en",
            {"date_from": "2008-05-05T10:30", "date_to": "2008-05-06T10:30+02:00"},
            "5 May 2008, 10:30 – 6 May 2008, 10:30 UTC+02:00",
        ),
        ("en", {"date_from": "2008-05-05T10:30:01"}, "from 2008-05-05T10:30:01"),
    ],
)
def test_period_when_dates_were_asked_for_then_as_they_were(
    language: Language, filters: dict[str, str], expected: str
) -> None:
    made = draft(language, **filters)
    period, rows = facts(made, 1, ("", [], 0), [])
    assert period == [made.words.period, expected]
    assert rows == [made.words.rows, "1"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_table_when_a_float_is_no_number_then_a_dash(value: float) -> None:
    table = make_table(pl.DataFrame({"x": [value, 0.5]}), (Column("x", FLOAT, "sql", "x"),), WORDS["de"], "UTC")
    assert table.rows == (("–",), ("0,5",))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1_234_567.0, "1.234.567"),
        (-1_234_567.89, "−1.234.568"),
        (999_999.5, "1.000.000"),
        (123_456.7, "123.457"),
        (1.5, "1,5"),
        (-0.00001234, "−1,234e−05"),
        (1.5e16, "1,5e+16"),
    ],
)
def test_table_when_a_float_is_large_or_small_then_as_the_language_writes_it(value: float, said: str) -> None:
    table = make_table(pl.DataFrame({"x": [value, 0.5]}), (Column("x", FLOAT, "sql", "x"),), WORDS["de"], "UTC")
    assert table.rows == ((said,), ("0,5",))


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.0497, "p = 0,0497"),
        (0.04999, "p = 0,04999"),
        (0.0503, "p = 0,0503"),
        (0.05, "p = 0,050"),
        (0.0512, "p = 0,051"),
        (0.0009, "p < 0,001"),
    ],
)
def test_p_when_near_the_level_of_significance_then_seen_on_which_side(p: float, said: str) -> None:
    assert p_text(WORDS["de"], p) == said


@pytest.mark.parametrize("name", ["", "  ", "\n"])
def test_subject_when_its_name_is_empty_then_said_so(name: str) -> None:
    assert subject_label(WORDS["en"], name) == "(none)"


WAVE = "Customer satisfaction survey 2026, second quarter, northern region: {} wave of calls"


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["Loans", "Cards"], ["Loans", "Cards"]),
        ([WAVE.format("first"), "Loans"], [WAVE[:59] + "…", "Loans"]),
        (
            [WAVE.format("first"), WAVE.format("second"), "Loans"],
            ["Customer sat…first wave o…", "Customer sat…second wave…", "Loans"],
        ),
        (["W" * 70 + "1", "W" * 70 + "2"], ["W" * 12 + "…" + "W" * 12 + "1", "W" * 12 + "…" + "W" * 12 + "2"]),
        (["A\nB", "A B", "C"], ["1. A B", "2. A B", "3. C"]),
        (["", "(none)"], ["1. (none)", "2. (none)"]),
    ],
)
def test_subjects_when_names_begin_alike_then_told_apart_in_charts_too(names: list[str], labels: list[str]) -> None:
    assert subject_labels(WORDS["en"], names) == labels
    assert len({label[:26] for label in labels}) == len(labels)
