"""Values that break exporters: for every format they come back exactly as the format holds them, or are refused by row
and column. What a format does not hold exactly is listed here, and nowhere else."""

import random
import re
import time
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export_pipeline.flow.compress import with_level
from export_pipeline.flow.content import FileContent
from export_pipeline.flow.proof import Proof
from export_pipeline.model.dataset import FLOAT, INTEGER, JSON, TEXT, TIMESTAMP, Column, Dataset, Kind, decimal
from export_pipeline.model.errors import Rejected
from export_pipeline.model.verification import Verify
from export_pipeline_tests.contracts.corpus import CELL_FORMATS, CORPUS, round_trip, rows_of
from export_pipeline_tests.formats import tables
from export_pipeline_tests.formats.tables import COLUMNS

#: What a format refuses of the corpus: JSON knows neither NaN nor infinity.
REFUSED = {("json", "float"): r"row 11: float is NaN", ("jsonl", "float"): r"row 11: float is NaN"}


@pytest.mark.parametrize("kind", CORPUS)
@pytest.mark.parametrize("name", CELL_FORMATS)
def test_corpus_when_written_then_comes_back_as_the_format_holds_it(name: str, kind: str, tmp_path: Path) -> None:
    form, rows = CELL_FORMATS[name], rows_of(kind)
    options = form.options.model_validate({"profile": "raw"} if name in ("csv", "tsv") else {})
    if (name, kind) in REFUSED:
        with pytest.raises(Rejected, match=REFUSED[name, kind]):
            round_trip(form, rows, COLUMNS, options, tmp_path)
        rows = [row for row in rows if row[4] is None or abs(row[4]) < float("inf")]
    round_trip(form, rows, COLUMNS, options, tmp_path)


@pytest.mark.parametrize("kind", ["text", "json"])
@pytest.mark.parametrize("name", ["csv", "tsv"])
def test_corpus_when_written_for_spreadsheets_then_comes_back_too(name: str, kind: str, tmp_path: Path) -> None:
    form = CELL_FORMATS[name]
    round_trip(form, rows_of(kind), COLUMNS, form.options.model_validate({}), tmp_path)


#: What formats hold otherwise than exactly: everything that is not here is equal to what came from the source.
INEXACT = {
    ("json", "decimal"): "numbers of JSON, which are read as binary floating point",
    ("jsonl", "decimal"): "numbers of JSON, which are read as binary floating point",
    ("json", "json"): "white space between the parts of JSON goes, and `null` is null",
    ("jsonl", "json"): "white space between the parts of JSON goes, and `null` is null",
    **{("xlsx", kind): "cells are doubles and texts" for kind in CORPUS},
}


@pytest.mark.parametrize("kind", CORPUS)
@pytest.mark.parametrize("name", CELL_FORMATS)
def test_format_when_it_holds_less_than_everything_then_it_is_listed(name: str, kind: str) -> None:
    form = CELL_FORMATS[name]
    assert form.reader is not None
    rows = [row for row in rows_of(kind) if row[4] is None or abs(row[4]) < float("inf")]
    batch = tables.frame(rows).collect()
    options = form.options.model_validate({"profile": "raw"} if name in ("csv", "tsv") else {})
    held = form.reader.held(batch, COLUMNS, options) if form.reader.held else batch
    exact = held.schema[kind] == batch.schema[kind] and held.select(kind).equals(batch.select(kind))
    assert exact is ((name, kind) not in INEXACT)


@pytest.mark.parametrize("name", CELL_FORMATS)
def test_text_when_a_megabyte_long_then_whole_or_refused(name: str, tmp_path: Path) -> None:
    form = CELL_FORMATS[name]
    columns = (Column("id", INTEGER, "", ""), Column("text", TEXT, "", ""))
    rows = [(1, 'ä"\n' * 250_000), (2, "x" * 6_000_000), (3, "short")]
    if name == "xlsx":
        with pytest.raises(Rejected, match=r"row 1: text has 750,000 characters and an Excel cell holds 32,767"):
            round_trip(form, rows, columns, form.options.model_validate({}), tmp_path)
    else:
        round_trip(form, rows, columns, form.options.model_validate({}), tmp_path)


@pytest.mark.parametrize("name", CELL_FORMATS)
def test_columns_when_there_are_a_thousand_then_all_are_there(name: str, tmp_path: Path) -> None:
    form = CELL_FORMATS[name]
    columns = tuple(Column(f"column_{number}", TEXT if number % 2 else INTEGER, "", "") for number in range(1000))
    rows = [tuple(f"{row},{number}" if number % 2 else row * number for number in range(1000)) for row in range(20)]
    round_trip(form, rows, columns, form.options.model_validate({}), tmp_path)


NAMES = (
    "=formula",
    'with "quotes"',
    "line\nbreak",
    "comma,semicolon;tab\t",
    "Name",
    "name",
    " ends ",
    "naïve 東京 😀",
    "a/b~c.d",
)


@pytest.mark.parametrize("name", sorted(CELL_FORMATS.keys() - {"avro"}))
def test_names_when_strange_or_unlike_in_case_only_then_kept(name: str, tmp_path: Path) -> None:
    form = CELL_FORMATS[name]
    columns = tuple(Column(text, TEXT, "", "") for text in NAMES)
    round_trip(form, [tuple("abcdefghi"), (None,) * 9], columns, form.options.model_validate({}), tmp_path)


@pytest.mark.parametrize("names", [("a\\b", "it's", "\\"), ("a\\'b", "A\\'B")], ids=str)
@pytest.mark.parametrize("name", sorted(CELL_FORMATS.keys() - {"avro"}))
def test_names_when_they_have_a_backslash_then_kept(name: str, names: tuple[str, ...], tmp_path: Path) -> None:
    form = CELL_FORMATS[name]
    columns = tuple(Column(text, TEXT, "", "") for text in names)
    rows = [tuple(str(place) for place in range(len(names))), (None,) * len(names)]
    round_trip(form, rows, columns, form.options.model_validate({}), tmp_path)


@pytest.mark.parametrize("folder", ["text=other", "a?b", "a*b", "[ab]", "it's", "back\\slash"])
@pytest.mark.parametrize("name", CELL_FORMATS)
def test_file_when_its_folder_is_called_like_a_pattern_or_a_column_then_it_alone_is_read(
    name: str, folder: str, tmp_path: Path
) -> None:
    form, columns = CELL_FORMATS[name], (Column("text", TEXT, "", ""), Column("n", INTEGER, "", ""))
    for place in (tmp_path / "a-b", tmp_path / "a", tmp_path / folder):
        place.mkdir()
        round_trip(form, [("own", 1), ("rows", 2)], columns, form.options.model_validate({}), place)


def test_names_when_two_are_the_same_then_the_dataset_is_refused() -> None:
    twice = (Column("name", TEXT, "a", ""), Column("name", TEXT, "b", ""))
    with pytest.raises(ValueError, match="declares the column name twice"):
        Dataset("any", "Any", "", "t", twice, (), "1", {})


@pytest.mark.parametrize("name", ["*", "^phone$", "^.*$", "$owned"])
def test_names_when_one_means_something_else_then_the_dataset_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="means something else"):
        Dataset("any", "Any", "", "t", (Column(name, TEXT, "a", ""),), (), "1", {})


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("name", CELL_FORMATS)
def test_rows_when_none_or_one_then_so_many(name: str, count: int, tmp_path: Path) -> None:
    form = CELL_FORMATS[name]
    round_trip(form, rows_of("integer")[:count], COLUMNS, form.options.model_validate({}), tmp_path)


@pytest.mark.parametrize("name", sorted(CELL_FORMATS.keys() - {"xlsx"}))
def test_rows_when_more_than_a_sheet_holds_then_all_in_one_file(name: str, tmp_path: Path) -> None:
    form, columns, count = CELL_FORMATS[name], (Column("n", INTEGER, "", ""),), 1_048_576
    assert form.write is not None and form.reader is not None
    options, path = form.options.model_validate({}), tmp_path / "file"
    with path.open("wb") as target:
        frame = pl.LazyFrame({"n": pl.int_range(count, eager=True)})
        assert form.write(frame, target, tables.context(columns), options) == count
    assert form.reader.count(FileContent(path), columns, options) == count
    if name not in ("avro", "json"):  # which take seconds to read
        found = pl.concat(form.reader.rows(FileContent(path), columns, options, None))["n"]
        assert (found.n_unique(), found.min(), found.max()) == (count, 0, count - 1)


def test_sheets_when_a_row_more_than_one_holds_then_two(tmp_path: Path) -> None:
    form = CELL_FORMATS["xlsx"]
    assert form.write is not None and form.reader is not None
    columns = (Column("n", INTEGER, "", ""),)
    options = form.options.model_validate({"workbook": "rows"})
    for count in (1_048_575, 1_048_576):
        frame = pl.LazyFrame({"n": pl.int_range(count, eager=True)})
        path = tmp_path / f"{count}.xlsx"
        with path.open("wb") as target:
            assert form.write(frame, target, tables.context(columns), options) == count
        assert form.reader.count(FileContent(path), columns, options) == count
        sheets = tables.calamine_sheets(path)
        assert len(sheets) == (1 if count == 1_048_575 else 2)
        assert sheets[-1][-1] == [count - 1]


OPTIONS: dict[str, st.SearchStrategy[dict[str, str]]] = {
    "csv": st.fixed_dictionaries(
        {
            "profile": st.sampled_from(["raw", "spreadsheet"]),
            "quoting": st.sampled_from(["necessary", "non_numeric", "always", "never"]),
            "decimal_comma": st.sampled_from(["true", "false"]),
            "line_ending": st.sampled_from(["lf", "crlf"]),
            "bom": st.sampled_from(["true", "false"]),
            "compression": st.sampled_from(["none", "gzip", "zstd", "lz4", "snappy"]),
        },
        optional={"delimiter": st.sampled_from([";", "tab", "|", "^"])},
    ),
    "tsv": st.fixed_dictionaries({"profile": st.sampled_from(["raw", "spreadsheet"])}),
    "json": st.fixed_dictionaries(
        {
            "envelope": st.sampled_from(["true", "false"]),
            "indent": st.sampled_from(["0", "2"]),
            "decimals": st.sampled_from(["number", "text"]),
            "compression": st.sampled_from(["none", "zstd"]),
        }
    ),
    "jsonl": st.fixed_dictionaries({"decimals": st.sampled_from(["number", "text"])}),
    "parquet": st.fixed_dictionaries(
        {
            "compression": st.sampled_from(["zstd", "snappy", "lz4", "gzip", "none"]),
            "nested": st.sampled_from(["text", "struct"]),
        }
    ),
    "avro": st.sampled_from(["zstd", "snappy", "gzip", "none"]).flatmap(
        lambda compression: st.fixed_dictionaries(
            {"compression": st.just(compression)},
            optional={"compression_level": st.sampled_from(["1", "9"])} if compression in ("zstd", "gzip") else {},
        )
    ),
    "xlsx": st.fixed_dictionaries(
        {
            "workbook": st.sampled_from(["rows", "report"]),
            "timezone": st.sampled_from(["UTC", "Europe/Lisbon", "America/St_Johns"]),
        }
    ),
}


@pytest.mark.parametrize("name", CELL_FORMATS)
@settings(derandomize=True, max_examples=25, deadline=None, database=None)
@given(data=st.data())
def test_rows_when_any_with_any_options_then_come_back(
    name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    form, rng = CELL_FORMATS[name], random.Random(data.draw(st.integers(0, 2**32)))
    options = with_level(form.options.model_validate(data.draw(OPTIONS[name])), None)
    finite = [value for value in CORPUS["float"] if abs(value) < float("inf")]
    corpus = {**CORPUS, "uuid": ("6f1c1f6e-2d0a-5c0e-9a44-0f3f0f9f6a10",), "float": finite}
    chosen = tuple(rng.sample(COLUMNS, rng.randint(1, len(COLUMNS))))
    rows = [
        tuple(rng.choice([None, *corpus[column.name]]) for column in chosen) for _ in range(rng.choice([0, 1, 3, 40]))
    ]
    try:
        round_trip(form, rows, chosen, options, tmp_path_factory.mktemp("any"))
    except Rejected as refusal:
        # Without quotes, or with some around nulls too, there is no way to write some values: then the row is named.
        assert getattr(options, "quoting", "") in ("never", "always") and re.match(r"row \d", str(refusal)), refusal


@pytest.mark.parametrize("name", CELL_FORMATS)
def test_text_when_any_at_all_then_comes_back(name: str, tmp_path: Path) -> None:
    """Random texts of all planes, in one file: a fixed seed, so always the same."""
    form, rng = CELL_FORMATS[name], random.Random(20101117)
    columns = (Column("id", INTEGER, "", ""), Column("text", TEXT, "", ""), Column("other", TEXT, "", ""))

    def text() -> str:
        codes = (rng.choice((rng.randrange(0x80), rng.randrange(0x800), rng.randrange(0x110000))) for _ in range(8))
        return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)

    rows = [(number, text(), text()) for number in range(2_000)]
    round_trip(form, rows, columns, form.options.model_validate({}), tmp_path)


def test_lists_when_a_hundred_deep_then_read_back_in_time(tmp_path: Path) -> None:
    """Each list within a list doubles the time that DuckDB takes."""
    form, columns = CELL_FORMATS["parquet"], (Column("json", JSON, "", ""),)
    started = time.monotonic()
    options = form.options.model_validate({"nested": "struct"})
    round_trip(form, [("[" * 100 + "]" * 100,), ('{"a": [[[[{"b": [[1]]}]]]]}',)], columns, options, tmp_path)
    round_trip(form, [("[" * 100 + "]" * 100,)], columns, options, tmp_path)
    assert time.monotonic() - started < 5


def test_sums_when_of_the_largest_numbers_then_exact() -> None:
    columns = (Column("whole", INTEGER, "", ""), Column("exact", decimal(38, 0), "", ""), Column("f", FLOAT, "", ""))
    assert {column.type.kind for column in columns} == {Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT}
    batch = pl.DataFrame(
        {"whole": [2**63 - 1] * 4, "exact": [str(10**38 - 1)] * 4, "f": [1e308] * 4}, schema_overrides={"f": pl.Float64}
    ).with_columns(pl.col("exact").cast(pl.Decimal(38, 0)))
    proof = Proof(columns, Verify.FULL)
    proof.add(batch)
    assert proof.certificate().sums == {"whole": str(4 * (2**63 - 1)), "exact": str(4 * (10**38 - 1)), "f": "inf"}


def test_reading_when_rows_are_very_long_then_still_in_time(tmp_path: Path) -> None:
    """Rows beyond the usual buffers are read with generous ones, once."""
    form = CELL_FORMATS["csv"]
    columns = (Column("id", INTEGER, "", ""), Column("at", TIMESTAMP, "", ""), Column("j", JSON, "", ""))
    long = '{"text": "' + "x" * 20_000_000 + '"}'
    started = time.monotonic()
    round_trip(
        form, [(1, None, "{}"), (2, None, long), (3, None, None)], columns, form.options.model_validate({}), tmp_path
    )
    assert time.monotonic() - started < 20
