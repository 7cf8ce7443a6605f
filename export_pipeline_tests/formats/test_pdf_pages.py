"""What a report's pages hold, and that it stays on them."""

import io
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import takewhile
from operator import itemgetter
from typing import Any, NamedTuple

import pypdfium2
import pytest

from export_pipeline.formats.pdf import FORMAT, PdfOptions
from export_pipeline.model.dataset import INTEGER, TEXT, Column, decimal
from export_pipeline.model.format import FileContext
from export_pipeline.model.report import Aggregate, Chart, ChartKind, Measure, Report
from export_pipeline_tests.formats.tables import SNAPSHOT_AT, OneWay, frame

COLUMNS = (Column("number", INTEGER, "sql", "A number."),)
CONTEXT = FileContext("0192-id", "calls", "Calls", COLUMNS, SNAPSHOT_AT)
#: The narrowest, of 14 mm, is that of the rows.
MARGIN = 39


class Character(NamedTuple):
    """A character and its edges on a page."""

    text: str
    page: int
    left: float
    bottom: float
    right: float
    top: float


def characters(rows: Sequence[tuple[Any, ...]], context: FileContext, **options: str) -> list[Character]:
    """Each character, on whatever page."""
    target = OneWay()
    FORMAT.write(
        frame(rows, context.columns),
        target,  # type: ignore[arg-type]
        context,
        PdfOptions.model_validate(options),
    )
    document = pypdfium2.PdfDocument(io.BytesIO(target.data.getvalue()))
    try:
        return [
            Character(text.get_text_range(index, 1), page, *text.get_charbox(index))
            for page, text in enumerate(page.get_textpage() for page in document)
            for index in range(text.count_chars())
        ]
    finally:
        document.close()


def overlapping(found: Sequence[Character]) -> list[tuple[str, str]]:
    """The characters that are printed over each other, by more than kerning does."""
    seen = sorted((each for each in found if each.text.isprintable() and not each.text.isspace()), key=itemgetter(2))
    return [
        (one.text, other.text)
        for index, one in enumerate(seen)
        for other in takewhile(lambda other, right=one.right: other.left < right - 1, seen[index + 1 :])
        # The letters of a ligature have one box.
        if one.page == other.page and (one.left, one.right) != (other.left, other.right)
        if min(one.top, other.top) > max(one.bottom, other.bottom) + 1
    ]


@pytest.mark.parametrize(
    "said", [",".join(f"{number:08}-1111-2222-3333-444444444444" for number in range(6)), "7" * 400]
)
def test_filters_when_they_are_longer_than_a_line_then_they_stay_on_the_page(said: str) -> None:
    context = replace(CONTEXT, filters={"campaign_id": said})
    found = characters([(1,), (2,)], context, report="detailed_results", page_size="a4")
    assert max(each.right for each in found) < 596 - MARGIN
    text = "".join(each.text for each in found if each.text.isprintable() and not each.text.isspace())
    assert said in text.replace("\u200b", "")


@pytest.mark.parametrize("most", [2**63 - 1, 7])
def test_cards_when_a_number_is_long_then_it_stays_in_its_column(most: int) -> None:
    total = Measure("Sum of all", Aggregate.SUM, "number", unit="USD", decimals=2)
    context = replace(CONTEXT, report=Report((total, total)))
    said = f"{6 * most:,}.00"
    found = characters([(most,)] * 6, context)
    text = "".join(each.text for each in found)
    first = text.index(said)
    second = text.index(said, first + 1)
    assert found[first + len(said) - 1].right < found[second].left
    assert max(each.right for each in found) < 596 - MARGIN


def test_rows_when_words_and_numbers_are_longer_than_their_columns_then_not_over_each_other() -> None:
    texts = (
        "00000000-1111-2222-3333-444444444444",
        "7d" * 24,
        "FIRST.LAST@SUB.EXAMPLE.COM",
        "no_answer_after_the_third",
    )
    names = ("id", "masked", "email", "status")
    columns = [Column(name, TEXT, "sql", "A text.") for name in names]
    columns += [Column(f"amount_{index}", decimal(38, 10), "sql", "An amount.") for index in range(4)]
    amounts = [Decimal(f"-123456789012345678901234567{row}.0123456789") for row in range(3)]
    rows = [(*(f"{row}{text}" for text in texts), *[amount] * 4) for row, amount in enumerate(amounts)]

    found = characters(rows, replace(CONTEXT, columns=tuple(columns)), report="detailed_results")

    assert overlapping(found) == []
    assert "−1,234,567,890,123,456,789,012,345,672.0123456789" in "".join(each.text for each in found)


def test_comparison_when_figures_and_names_are_long_then_not_over_each_other() -> None:
    columns = (Column("status", TEXT, "sql", "How it ended."), Column("cost", decimal(12, 2), "sql", "The cost."))
    total = Measure("Cost", Aggregate.SUM, "cost", unit="USD", decimals=2)
    rows = [(f"{index}_no_answer_after_the_third_attempt", Decimal("9999999.99")) for index in range(6)]
    context = replace(CONTEXT, columns=columns, report=Report((total,), subject="status"))

    found = characters(rows, context, report="comparison")

    assert overlapping(found) == []
    assert "".join(each.text for each in found).count("9,999,999.99") == 6


def test_title_and_legend_when_words_are_longer_than_a_line_then_they_stay_in_it() -> None:
    columns = (Column("status", TEXT, "sql", "How it ended."),)
    chart = Chart("Outcomes", ChartKind.PIE, "status", Measure("Calls", Aggregate.COUNT))
    context = replace(CONTEXT, columns=columns, report=Report((), (chart, chart)))

    found = characters([("W" * 40,), ("V" * 40,)], context, report="detailed_results", title="W" * 80)

    assert max(each.right for each in found) < 596 - MARGIN
    assert overlapping(found) == []
