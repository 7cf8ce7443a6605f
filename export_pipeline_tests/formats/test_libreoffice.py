"""LibreOffice opens what people would open: a workbook with everything in it, and a spreadsheet CSV.

Skipped where `soffice` is not installed (Debian: libreoffice-calc).
"""

import shutil
import subprocess
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import openpyxl
import pypdfium2
import pytest

from export_pipeline.model.dataset import DATE, INTEGER, TEXT, Column, decimal
from export_pipeline_tests.formats import tables
from export_pipeline_tests.formats.test_xlsx_workbook import data

DOCS = Path(__file__).parents[2] / "docs/csv.md"
SOFFICE = shutil.which("soffice")
pytestmark = pytest.mark.skipif(SOFFICE is None, reason="needs LibreOffice's soffice (Debian: libreoffice-calc)")


#: As docs/csv.md tells it: without a window there is no dialog, and LibreOffice does not look at the byte order mark.
#: By the format and locale: separator, quotation mark, UTF-8, first line, language of dates and decimals.
AS_TOLD = {
    ("csv", ""): "--infilter=CSV:44,34,76",
    ("tsv", ""): "--infilter=CSV:9,34,76",
    ("csv", "de"): "--infilter=CSV:59,34,76,1,,1031",
}


def convert(path: Path, to: str, folder: Path, *arguments: str) -> Path:
    """What LibreOffice, with a fresh profile, makes of the file."""
    command = [str(SOFFICE), f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless", *arguments]
    subprocess.run(
        [*command, "--convert-to", to, "--outdir", str(folder / "out"), str(path)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return folder / "out" / f"{path.stem}.{to}"


def test_workbook_when_printed_by_libreoffice_then_rows_summary_and_charts(tmp_path: Path) -> None:
    path = tmp_path / "calls.xlsx"
    path.write_bytes(data())

    document = pypdfium2.PdfDocument(convert(path, "pdf", tmp_path))

    texts = [page.get_textpage().get_text_bounded() for page in document]
    document.close()
    rows, summary, charts = texts
    assert "2010-11-17 23:30:00" in rows
    assert "1,200" in rows
    assert "$1.50" in rows
    assert "66.7%" in summary
    assert "3.75 USD" in summary
    assert charts.count("Calls per day") == 2  # over the numbers, and in the chart
    assert "67%" in charts  # a slice's label, which only the chart has


@pytest.mark.parametrize(("form", "locale"), AS_TOLD)
def test_spreadsheet_text_when_opened_by_libreoffice_as_told_then_columns_umlauts_phones_and_dates(
    form: str, locale: str, tmp_path: Path
) -> None:
    assert AS_TOLD[form, locale] in DOCS.read_text(encoding="utf-8")
    columns = [
        Column(name, kind, name, name)
        for name, kind in {"name": TEXT, "phone": TEXT, "day": DATE, "n": INTEGER, "cost": decimal(12, 4)}.items()
    ]
    rows = [
        ('Zoë "Z" Müller, Köln', "+15550100123", date(2010, 11, 17), -42, Decimal("0.1840")),
        ("東京\nsecond line", "(030) 123-45", date(2010, 2, 28), 7, Decimal("12")),
        ("=1+1", "", date(2011, 1, 1), 0, Decimal("0")),
    ]
    path = tmp_path / f"calls.{form}"
    path.write_bytes(tables.write(form, rows, columns, **({"locale": locale} if locale else {})))

    sheet = openpyxl.load_workbook(convert(path, "xlsx", tmp_path, AS_TOLD[form, locale])).active

    found = [[cell.value for cell in row] for row in sheet.iter_rows()]
    assert found[0] == ["name", "phone", "day", "n", "cost"]
    assert found[1][0] == 'Zoë "Z" Müller, Köln'
    assert found[2][0] == "東京\nsecond line"
    # Every digit is there; the plus of a lone number only stays in a workbook.
    assert [row[1] for row in found[1:3]] == [15550100123, "(030) 123-45"]
    assert [row[2] for row in found[1:]] == [datetime(2010, 11, 17), datetime(2010, 2, 28), datetime(2011, 1, 1)]
    assert [row[3:] for row in found[1:]] == [[-42, 0.184], [7, 12], [0, 0]]
    assert (sheet["A4"].data_type, found[3][0]) == ("s", "'=1+1")  # a text, not a formula


@pytest.mark.parametrize(("form", "locale", "split_at"), [("csv", "", 59), ("csv", "", 9), ("csv", "de", 44)])
def test_texts_when_split_at_another_character_than_the_files_then_nothing_is_run(
    form: str, locale: str, split_at: int, tmp_path: Path
) -> None:
    columns = [Column(name, kind, name, name) for name, kind in {"n": INTEGER, "text": TEXT, "next": TEXT}.items()]
    begins = ("", "'", " ", '"', ' "', "\u00a0", "''")
    rows = [
        (0, f"x{split}{begin}{formula}", rest)
        for split in (";", ",", "\t", "\n", "\r\n")
        for begin in begins
        for formula, rest in (("=1+1", ""), ("=1+1;", ""), ("+1+1", ""), ("-1", "2+3"), ("@SUM(1)", ""))
    ]
    path = tmp_path / f"calls.{form}"
    path.write_bytes(tables.write(form, rows, columns, **({"locale": locale} if locale else {})))

    sheet = openpyxl.load_workbook(convert(path, "xlsx", tmp_path, f"--infilter=CSV:{split_at},34,76")).active

    cells = [cell for row in sheet.iter_rows() for cell in row]
    assert len(cells) > len(rows)
    assert [cell.value for cell in cells if cell.data_type == "f"] == []


def test_texts_of_digits_when_opened_by_libreoffice_then_stay_only_where_the_column_is_told_to_be_text(
    tmp_path: Path,
) -> None:
    told = "--infilter=CSV:44,34,76,1,2/2"
    assert told in DOCS.read_text(encoding="utf-8")
    texts = ["0000001", "+15550100123", "12E4"]
    rows = [(number, text, date(2010, 11, 17)) for number, text in enumerate(texts)]
    path = tmp_path / "codes.csv"
    columns = [Column(name, kind, name, name) for name, kind in {"n": INTEGER, "code": TEXT, "day": DATE}.items()]
    path.write_bytes(tables.write("csv", rows, columns))

    def codes(*arguments: str) -> list[object]:
        sheet = openpyxl.load_workbook(convert(path, "xlsx", tmp_path, *arguments)).active
        found = [[cell.value for cell in row] for row in sheet.iter_rows()][1:]
        assert [(row[0], row[2]) for row in found] == [(n, datetime(2010, 11, 17)) for n in range(3)]
        return [row[1] for row in found]

    assert codes(AS_TOLD["csv", ""]) == [1, 15550100123, 120000]
    assert codes(told) == texts
