"""What every format must do, whichever it is: a new file in `formats/` is tested from the moment it exists."""

import json
import tempfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from export_pipeline.flow.content import FileContent
from export_pipeline.model.dataset import TEXT, Column
from export_pipeline.model.errors import Broken, Rejected
from export_pipeline.model.format import Format
from export_pipeline_tests.formats import tables
from export_pipeline_tests.formats.tables import COLUMNS, FORMATS, OneWay, Row

ROW = (
    'Zoë "Z" Müller, 東京 😀\nsecond line',
    "6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10",
    -42,
    Decimal("-12.3400"),
    0.1,
    True,
    date(2010, 11, 17),
    datetime(2010, 11, 17, 14, 3, 22, tzinfo=UTC),
    '{"text": "Hello"}',
)
NULLS = (None,) * len(COLUMNS)

# Formats that show what the rows say together and hold no cells; what they show is tested in formats/test_<name>.py.
REPORTS = {"pdf"}

# What the one test of values expects of each other format; a format that is not here fails it.
_UTC = "2010-11-17T14:03:22.000000Z"
_JSON = (*ROW[:4], Decimal("0.1"), True, "2010-11-17", _UTC, {"text": "Hello"})
EXPECTED = {
    "avro": [ROW, NULLS],
    "csv": [
        [ROW[0], ROW[1], "-42", "-12.3400", "0.1", "true", "2010-11-17", _UTC, ROW[8]],
        [""] * len(COLUMNS),
    ],
    "json": [[*_JSON], [*NULLS]],
    "jsonl": [[*_JSON], [*NULLS]],
    "parquet": [ROW, NULLS],
    "tsv": [
        [ROW[0], ROW[1], "-42", "-12.3400", "0.1", "true", "2010-11-17", _UTC, ROW[8]],
        [""] * len(COLUMNS),
    ],
    "xlsx": [
        (*ROW[:3], -12.34, 0.1, True, datetime(2010, 11, 17), datetime(2010, 11, 17, 14, 3, 22), ROW[8]),
        NULLS,
    ],
}
READ = {
    "avro": lambda data: [tuple(record.values()) for record in tables.read_avro(data)],
    "csv": lambda data: tables.read_csv(data)[1:],
    "json": tables.read_json,
    "jsonl": tables.read_jsonl,
    "parquet": tables.read_parquet,
    "tsv": lambda data: tables.read_csv(data, "\t")[1:],
    "xlsx": lambda data: tables.read_xlsx(data)[0][1:],
}


#: Formats whose columns may not be called just anything.
PLAIN_NAMES = {"avro"}


class Refusal(Exception):
    """An error of a source or a target, which no library knows."""


#: The formats that write rows; what holds files of other formats is tested with packages.
WRITERS = {name: form for name, form in FORMATS.items() if form.write is not None}


@pytest.fixture(params=sorted(FORMATS))
def any_form(request: pytest.FixtureRequest) -> Format:
    return FORMATS[request.param]


@pytest.fixture(params=sorted(WRITERS))
def form(request: pytest.FixtureRequest) -> Format:
    return WRITERS[request.param]


@pytest.fixture(params=sorted(WRITERS.keys() - REPORTS))
def cells(request: pytest.FixtureRequest) -> Format:
    """A format that holds the rows' values."""
    return FORMATS[request.param]


@pytest.fixture
def no_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files, which the test leaves empty."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def write(form: Format, rows: list[Row], target: OneWay, error: BaseException | None = None) -> int:
    return form.write(tables.frame(rows, error=error), target, tables.context(), form.options())  # type: ignore[arg-type]


def test_values_when_read_back_by_another_program_then_equal(cells: Format) -> None:
    target = OneWay()

    assert write(cells, [ROW, NULLS], target) == 2

    assert READ[cells.name](target.data.getvalue()) == EXPECTED[cells.name]


def test_file_when_no_rows_then_header_only(cells: Format) -> None:
    target = OneWay()

    assert write(cells, [], target) == 0

    data = target.data.getvalue()
    names = [column.name for column in COLUMNS]
    assert READ[cells.name](data) == []
    header = {
        "avro": lambda: [field["name"] for field in tables.read_avro(data).writer_schema["fields"]],
        "csv": lambda: tables.read_csv(data)[0],
        "json": lambda: [column["name"] for column in json.loads(data)["metadata"]["columns"]],
        "jsonl": lambda: names if data == b"" else [],  # where names only come with rows
        "parquet": lambda: tables.pyarrow.parquet.read_schema(tables.io.BytesIO(data)).names,
        "tsv": lambda: tables.read_csv(data, "\t")[0],
        "xlsx": lambda: list(tables.read_xlsx(data)[0][0]),
    }[cells.name]()
    assert header == names


def test_order_when_many_batches_then_kept(cells: Format) -> None:
    rows = [(f"text {number}", None, number, *([None] * 6)) for number in range(20_000)]
    target = OneWay()

    assert write(cells, rows, target) == len(rows)

    assert [int(row[2]) for row in READ[cells.name](target.data.getvalue())] == list(range(20_000))


@pytest.mark.parametrize("batches", [0, 1, 30])
def test_write_when_source_fails_then_its_own_error(form: Format, batches: int, no_leftovers: Path) -> None:
    refusal = Refusal("the source is gone")

    with pytest.raises(Refusal) as caught:
        write(form, [ROW] * (1000 * batches), OneWay(), error=refusal)

    assert caught.value is refusal
    assert list(no_leftovers.iterdir()) == []


@pytest.mark.parametrize("fail_after", [0, 4_000])
def test_write_when_target_fails_then_its_own_error(form: Format, fail_after: int, no_leftovers: Path) -> None:
    refusal = Refusal("the store is full")

    with pytest.raises(Refusal) as caught:
        write(form, [ROW] * 5_000, OneWay(fail_after, refusal))

    assert caught.value is refusal
    assert list(no_leftovers.iterdir()) == []


def test_write_when_interrupted_then_interrupt(form: Format, no_leftovers: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(form, [ROW] * 5_000, OneWay(), error=KeyboardInterrupt())

    assert list(no_leftovers.iterdir()) == []


def test_write_when_target_fails_then_nothing_follows(form: Format) -> None:
    class Counting(OneWay):
        calls = 0

        def write(self, data: object) -> int:
            self.calls += 1
            raise Refusal("no")

    target = Counting()
    with pytest.raises(Refusal):
        write(form, [ROW] * 5_000, target)

    assert target.calls == 1


def test_names_when_they_need_quoting_then_unchanged(cells: Format) -> None:
    names = ["a,b", 'with "quotes"', "with space", "naïve"]
    columns = tuple(Column(name, TEXT, "sql", "Text.") for name in names)
    target = OneWay()
    if cells.name in PLAIN_NAMES:
        with pytest.raises(Rejected, match="a,b"):
            cells.write(tables.frame([], columns), target, tables.context(columns), cells.options())  # type: ignore[arg-type]
        return

    cells.write(tables.frame([("1", "2", "3", "4")], columns), target, tables.context(columns), cells.options())  # type: ignore[arg-type]

    data = target.data.getvalue()
    found = {
        "csv": lambda: tables.read_csv(data)[0],
        "json": lambda: list(json.loads(data)["data"][0]),
        "jsonl": lambda: list(json.loads(data)),
        "parquet": lambda: tables.pyarrow.parquet.read_schema(tables.io.BytesIO(data)).names,
        "tsv": lambda: tables.read_csv(data, "\t")[0],
        "xlsx": lambda: list(tables.read_xlsx(data)[0][0]),
    }[cells.name]()
    assert found == names


def test_options_when_unknown_name_then_refused(any_form: Format) -> None:
    with pytest.raises(ValidationError, match="no_such_option"):
        any_form.options.model_validate({"no_such_option": "1"})


def test_options_when_listed_then_described(any_form: Format) -> None:
    for name, field in any_form.options.model_fields.items():
        assert field.description, name
    assert json.dumps(any_form.options().model_dump())
    assert any_form.description
    assert any_form.extension.isalnum()


READABLE = [form for form in FORMATS.values() if form.reader is not None]


@pytest.mark.parametrize("form", READABLE, ids=lambda form: form.name)
def test_reader_when_it_reads_a_file_then_the_rows_are_those_that_the_format_holds(
    form: Format, tmp_path: Path
) -> None:
    rows = [ROW, NULLS, (*ROW[:2], 2**53 + 1, *ROW[3:])] * 700
    path = tmp_path / f"file.{form.extension}"
    target = OneWay()
    write(form, rows, target)
    path.write_bytes(target.data.getvalue())
    reader, options = form.reader, form.options()  # type: ignore[call-arg]
    assert reader is not None
    held = tables.frame(rows).collect()
    if reader.held is not None:
        held = reader.held(held, COLUMNS, options)

    assert_frame_equal(pl.concat(reader.rows(FileContent(path), COLUMNS, options, None)), held)
    assert_frame_equal(pl.concat(reader.rows(FileContent(path), COLUMNS, options, 1_000)), held.head(1_000))
    assert reader.count(FileContent(path), COLUMNS, options) == len(rows)


@pytest.mark.parametrize("name", ["back\\slash/x[1]", "{a,b}/q?*", "plain.gz", "plain.zst", "\udcff\udcfe"])
@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "parquet"])
def test_reader_when_the_name_is_hostile_then_the_file_is_read(form: str, name: str, tmp_path: Path) -> None:
    columns, rows = (COLUMNS[0], COLUMNS[2]), [("text", 1), (None, None)]
    options = {"envelope": "false"} if form == "json" else {}
    (tmp_path / "\\").mkdir()
    path, reader = tmp_path / name, FORMATS[form].reader
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(tables.write(form, rows, columns, **options))
    chosen = FORMATS[form].options.model_validate(options)
    assert reader is not None
    assert pl.concat(reader.rows(FileContent(path), columns, chosen, None)).rows() == rows
    assert reader.count(FileContent(path), columns, chosen) == 2


@pytest.mark.parametrize("name", ["csv", "tsv", "json", "jsonl"])
def test_reader_when_rows_become_wide_then_a_batch_takes_no_more_and_all_are_in_order(
    name: str, tmp_path: Path
) -> None:
    columns = (COLUMNS[0], COLUMNS[2])
    rows: list[Row] = [("narrow", number) for number in range(3_000)]
    # Among the texts are lines that could be rows.
    rows += [("x" * 29_000 + "\nlike a row,1\r\n" * 10, number) for number in range(3_000, 4_000)]
    form, path = FORMATS[name], tmp_path / "file"
    path.write_bytes(tables.write(name, rows, columns))
    assert form.reader is not None
    found = list(form.reader.rows(FileContent(path), columns, form.options(), None))  # type: ignore[call-arg]
    assert max(batch.estimated_size() for batch in found) < 20 << 20
    assert pl.concat(found).rows() == rows


@pytest.mark.parametrize("form", READABLE, ids=lambda form: form.name)
def test_reader_when_the_file_is_damaged_or_another_then_broken(form: Format, tmp_path: Path) -> None:
    path = tmp_path / f"file.{form.extension}"
    reader, options = form.reader, form.options()  # type: ignore[call-arg]
    assert reader is not None
    target = OneWay()
    write(form, [ROW] * 300, target)
    whole = target.data.getvalue()
    for data in (whole[: len(whole) // 2], b"something else\n" * 100):
        path.write_bytes(data)
        with pytest.raises(Broken):
            found = sum(batch.height for batch in reader.rows(FileContent(path), COLUMNS, options, None))
            # A text file that ends early in the middle of a row is told by its number of rows at least.
            raise Broken(f"{found} rows") if found < 300 else AssertionError(found)
