"""What a report's pages hold, and that it stays on them."""

import io
from collections.abc import Sequence
from dataclasses import replace

import pypdfium2
import pytest

from export_pipeline.formats.pdf import FORMAT, PdfOptions
from export_pipeline.model.dataset import INTEGER, Column
from export_pipeline.model.format import FileContext
from export_pipeline.model.report import Aggregate, Measure, Report
from export_pipeline_tests.formats.tables import SNAPSHOT_AT, OneWay, frame

COLUMNS = (Column("number", INTEGER, "sql", "A number."),)
CONTEXT = FileContext("0192-id", "calls", "Calls", COLUMNS, SNAPSHOT_AT)
#: The narrowest, of 14 mm, is that of the rows.
MARGIN = 39


def characters(numbers: Sequence[int], context: FileContext, **options: str) -> list[tuple[str, float, float, float]]:
    """Each character, on whatever page: its left edge, its right edge and its lower edge."""
    target = OneWay()
    FORMAT.write(
        frame([(number,) for number in numbers], COLUMNS),
        target,  # type: ignore[arg-type]
        context,
        PdfOptions.model_validate(options),
    )
    document = pypdfium2.PdfDocument(io.BytesIO(target.data.getvalue()))
    try:
        texts = [page.get_textpage() for page in document]
        boxes = [
            (text.get_text_range(index, 1), text.get_charbox(index))
            for text in texts
            for index in range(text.count_chars())
        ]
        return [(text, left, right, bottom) for text, (left, bottom, right, _) in boxes]
    finally:
        document.close()


@pytest.mark.parametrize(
    "said", [",".join(f"{number:08}-1111-2222-3333-444444444444" for number in range(6)), "7" * 400]
)
def test_filters_when_they_are_longer_than_a_line_then_they_stay_on_the_page(said: str) -> None:
    context = replace(CONTEXT, filters={"campaign_id": said})
    found = characters([1, 2], context, report="detailed_results", page_size="a4")
    assert max(right for _, _, right, _ in found) < 596 - MARGIN
    text = "".join(text for text, *_ in found if text.isprintable() and not text.isspace())
    assert said in text.replace("\u200b", "")


@pytest.mark.parametrize("most", [2**63 - 1, 7])
def test_cards_when_a_number_is_long_then_it_stays_in_its_column(most: int) -> None:
    total = Measure("Sum of all", Aggregate.SUM, "number", unit="USD", decimals=2)
    context = replace(CONTEXT, report=Report((total, total)))
    said = f"{6 * most:,}.00"
    found = characters([most] * 6, context)
    text = "".join(text for text, *_ in found)
    first = text.index(said)
    second = text.index(said, first + 1)
    assert found[first + len(said) - 1][2] < found[second][1]
    assert max(right for _, _, right, _ in found) < 596 - MARGIN
