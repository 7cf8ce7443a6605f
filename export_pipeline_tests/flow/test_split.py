"""An export split into numbered files by rows or bytes."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import openpyxl
import polars as pl
import pytest

from export_pipeline.embedded.sample import SHOWN_CAMPAIGN
from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.extract import Rows
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.manage import verify_export
from export_pipeline.flow.request import file_request
from export_pipeline.flow.write import numbered, write_files
from export_pipeline.model.dataset import BOOLEAN, TEXT, Column
from export_pipeline.model.errors import Rejected, Transient
from export_pipeline.model.job import ExportJob, ExportRequest, Status
from export_pipeline.model.verification import Verification, Verify
from export_pipeline_tests.formats import tables
from export_pipeline_tests.formats.tables import FORMATS

#: Enough for several batches of the source.
ROWS = 7_000


def done(engine: Engine, asked: ExportRequest, form: str, **options: str) -> ExportJob:
    filters = {"campaign_id": SHOWN_CAMPAIGN, "limit": str(ROWS)}
    request = replace(asked, filters=filters, format=form, options=options)
    return run_export(engine, file_request(engine, request))


def data(engine: Engine, job: ExportJob) -> list[bytes]:
    return [b"".join(engine.destination("s3").read(file.key)) for file in job.files]


@pytest.mark.parametrize(
    ("key", "name"),
    [("a.b/c/export_1.csv", "a.b/c/export_1_part-00007.csv"), ("x.csv.gz", "x_part-00007.csv.gz")],
)
def test_key_when_numbered_then_the_number_stands_before_the_extension(key: str, name: str) -> None:
    assert numbered(key, 7) == name


@pytest.mark.parametrize("form", ["csv", "tsv", "json", "jsonl", "parquet", "avro", "xlsx"])
def test_export_when_split_by_rows_then_each_file_has_so_many_and_all_are_proven(
    engine: Engine, asked: ExportRequest, form: str
) -> None:
    job = done(engine, asked, form, max_file_rows="3000")
    rows = [file.rows for file in job.files]
    assert rows == [3000, 3000, 1000]
    assert job.rows == ROWS
    assert [file.key.rpartition("_")[2].partition(".")[0] for file in job.files] == [
        f"part-{number:05}" for number in range(1, len(rows) + 1)
    ]
    assert job.verification in (Verification.PASSED, Verification.SAMPLED)
    folder = job.files[0].key.rpartition("/")[0]
    manifest = json.loads(b"".join(engine.destination("s3").read(f"{folder}/manifest.json")))
    assert [file["name"] for file in manifest["files"]] == [file.key.rpartition("/")[2] for file in job.files]
    assert manifest["rows"] == ROWS


def test_workbooks_when_split_then_each_says_which_part_its_totals_are_of(engine: Engine, asked: ExportRequest) -> None:
    job = done(engine, asked, "xlsx", max_file_rows="6000")
    told = []
    for content in data(engine, job):
        summary = openpyxl.load_workbook(io.BytesIO(content), read_only=True)["Summary"]
        found = {row[0].value: row[1].value for row in summary.iter_rows(max_col=2)}
        told.append((found["Part"], found["Rows"]))
    said = "; the totals below are of its rows alone"
    assert told == [(f"1{said}", 6000), (f"2{said}", 1000)]


def test_export_when_split_then_its_files_together_are_the_whole(engine: Engine, asked: ExportRequest) -> None:
    whole = data(engine, done(engine, asked, "jsonl"))[0]
    assert b"".join(data(engine, done(engine, asked, "jsonl", max_file_rows="999"))) == whole
    parts = [pl.read_csv(part) for part in data(engine, done(engine, asked, "csv", max_file_bytes="400000"))]
    assert pl.concat(parts).height == whole.count(b"\n")


@pytest.mark.parametrize(("form", "limit"), [("csv", 300_000), ("tsv", 262_144), ("jsonl", 400_000), ("json", 700_000)])
def test_export_when_text_is_split_by_bytes_then_files_are_full_and_none_has_more(
    engine: Engine, asked: ExportRequest, form: str, limit: int
) -> None:
    job = done(engine, asked, form, max_file_bytes=str(limit))
    sizes = [file.bytes for file in job.files]
    assert len(sizes) > 2
    assert max(sizes) <= limit
    assert min(sizes[:-1]) > 0.98 * limit


@pytest.mark.parametrize(
    ("form", "compression", "limit"),
    [
        ("parquet", "zstd", 100_000),
        ("parquet", "none", 200_000),
        ("xlsx", "", 300_000),
        ("avro", "snappy", 200_000),
        ("avro", "gzip", 100_000),
        ("csv", "gzip", 100_000),
        ("csv", "zstd", 100_000),
    ],
)
def test_export_when_what_is_compressed_is_split_by_bytes_then_no_file_has_more(
    engine: Engine, asked: ExportRequest, form: str, compression: str, limit: int
) -> None:
    options = {"compression": compression} if compression else {}
    job = done(engine, asked, form, max_file_bytes=str(limit), **options)
    sizes = [file.bytes for file in job.files]
    assert len(sizes) > 2
    assert max(sizes) <= limit
    assert all(size > 0.8 * limit for size in sizes[:-1])


def split(name: str, columns: tuple[Column, ...], batches: list[pl.DataFrame], limit: int) -> tuple[int, list[bytes]]:
    """How many rows were written, and the files."""
    form, rows = FORMATS[name], sum(batch.height for batch in batches)
    options = form.options.model_validate({"max_file_bytes": str(limit)})
    given = {"extent": Verify.OFF, "media_type": "x/y", "selection": SimpleNamespace(masked={})}
    plan = SimpleNamespace(format=form, options=options, columns=columns, **given)
    read, attempt, kept = Rows(batches[0].schema, iter(batches), rows), Attempt("split", 1, rows_done=rows), Kept()
    found = write_files(read, plan, tables.context(columns), attempt, destination=kept, key="f")  # type: ignore[arg-type]
    return sum(file.rows for file in found), list(kept.data.values())


def test_rows_when_they_take_much_more_in_a_file_than_in_memory_then_the_limit_holds_too() -> None:
    columns = tuple(Column(f"a rather long name of a flag, number {n}", BOOLEAN, "", "") for n in range(4))
    frame = pl.DataFrame({column.name: [True, None, False] * 8_000 for column in columns})
    rows, files = split("jsonl", columns, [frame.head(20_000), frame.tail(4_000)], 100_000)
    assert rows == 24_000
    assert max(map(len, files)) <= 100_000
    assert b"".join(files) == tables.write("jsonl", frame.rows(), columns)


def test_json_when_a_file_is_of_hundreds_of_batches_then_the_limit_holds_too() -> None:
    columns = (Column("text", TEXT, "", ""),)
    batches = [pl.DataFrame({"text": ["x" * 100]})] * 700
    rows, files = split("json", columns, batches, 65_536)
    assert rows == 700
    assert 65_536 - 200 < len(files[0]) <= 65_536


class Kept:
    """A destination in memory."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}

    @contextmanager
    def open(self, key: str, **_: object) -> Iterator[io.BytesIO]:
        target = io.BytesIO()
        yield target
        self.data[key] = target.getvalue()

    def address(self, key: str) -> str:
        return key


def test_export_when_there_is_nothing_to_split_then_one_file(engine: Engine, asked: ExportRequest) -> None:
    empty: dict[str, Any] = {"campaign_id": SHOWN_CAMPAIGN, "date_from": "2099-01-01"}
    request = replace(asked, filters=empty, options={"max_file_rows": "10"})
    job = run_export(engine, file_request(engine, request))
    assert [file.rows for file in job.files] == [0]


def test_links_when_there_are_several_files_then_one_each(engine: Engine, asked: ExportRequest) -> None:
    job = done(engine, asked, "csv", max_file_rows="5000")
    link = issue_link(engine, asked.requested_by, job.id)
    assert list(link.urls) == [file.key.rpartition("/")[2] for file in job.files]
    assert link.url == link.urls[job.files[0].key.rpartition("/")[2]]
    assert verify_export(engine, asked.requested_by, job.id) == (job.rows, Verification.PASSED)


def test_export_when_tried_again_with_fewer_files_then_no_stale_one_is_left(
    engine: Engine, asked: ExportRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt writes more files than there are rows for at the second."""
    destination = engine.destination("s3")
    confirm = type(destination).confirm

    def failing(self: Any, key: str, **proof: Any) -> None:
        if "/1/" in key and "part-00004" in key:
            raise Transient("the store went away")
        confirm(self, key, **proof)

    monkeypatch.setattr(type(destination), "confirm", failing)
    request = replace(asked, filters={"campaign_id": SHOWN_CAMPAIGN}, options={"max_file_rows": "1500"})
    job = file_request(engine, request)
    with pytest.raises(Transient):
        run_export(engine, job)
    assert engine.jobs.existing(job.id).status is Status.PENDING
    again = run_export(engine, engine.jobs.existing(job.id))
    keys = {item.key for item in destination.list("exports/")}
    assert keys == {file.key for file in again.files} | {f"{again.files[0].key.rpartition('/')[0]}/manifest.json"}


@pytest.mark.parametrize(("name", "value"), [("max_file_rows", "0"), ("max_file_bytes", "100"), ("max_file_rows", "x")])
def test_limit_when_it_makes_no_sense_then_refused(engine: Engine, asked: ExportRequest, name: str, value: str) -> None:
    with pytest.raises(Rejected, match=f"option {name}"):
        file_request(engine, replace(asked, options={name: value}))


@pytest.mark.parametrize(
    ("form", "options", "told"),
    [
        ("csv", {"locale": "at"}, "csv: option locale='at': Input should be 'en', "),
        ("csv", {"timezone": "Wien"}, "csv: option timezone='Wien': is not the IANA name"),
        ("csv", {"profile": "raw", "locale": "de"}, "csv: timezone and locale are for people"),
        ("jsonl", {"locale": "de"}, "jsonl has no option locale; it has: max_file_rows, "),
    ],
)
def test_option_when_wrong_then_one_sentence_with_its_name_and_value(
    engine: Engine, asked: ExportRequest, form: str, options: dict[str, str], told: str
) -> None:
    with pytest.raises(Rejected) as caught:
        file_request(engine, replace(asked, format=form, options=options))
    assert str(caught.value).startswith(told) and "Value error" not in str(caught.value)
