"""The proof of completeness: what was read, what was delivered, and what a file's holder can prove."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pytest

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.engine import Engine
from export_pipeline.flow.export import run_export
from export_pipeline.flow.links import issue_link
from export_pipeline.flow.manage import verify_export
from export_pipeline.flow.proof import Proof, compare
from export_pipeline.flow.request import file_request
from export_pipeline.flow.verify import Verifier, verify_copy, verify_delivered
from export_pipeline.model.dataset import FLOAT, INTEGER, TEXT, Column, decimal
from export_pipeline.model.errors import Broken, ExportError, Rejected, Unproven
from export_pipeline.model.format import FileContext, Format
from export_pipeline.model.job import ExportFile, ExportJob, ExportRequest, Status
from export_pipeline.model.verification import Certificate, Verification, Verify
from export_pipeline_tests.flow.test_export import contents

COLUMNS = (
    Column("text", TEXT, "", ""),
    Column("whole", INTEGER, "", ""),
    Column("exact", decimal(38, 3), "", ""),
    Column("float", FLOAT, "", ""),
)
SCHEMA = pl.Schema({"text": pl.String, "whole": pl.Int64, "exact": pl.Decimal(38, 3), "float": pl.Float64})
ROWS = [("a", 2**63 - 1, "99999999999999999999999999999999999.999", 0.1), ("b", None, "-1.5", float("nan"))] * 3


def no_password(name: str) -> bytes | None:
    return None


def proof(rows: list[tuple[Any, ...]], batch: int = 100) -> Certificate:
    found = Proof(COLUMNS, Verify.FULL)
    for start in range(0, len(rows), batch):
        texts = pl.DataFrame(rows[start : start + batch], schema=SCHEMA | {"exact": pl.String}, orient="row")
        found.add(texts.cast({"exact": pl.Decimal(38, 3)}))
    return found.certificate()


def test_proof_when_rows_come_in_another_order_and_size_then_the_same() -> None:
    assert proof(ROWS, 1) == proof(ROWS[::-1], 4) == proof(ROWS)
    assert proof(ROWS).sums["whole"] == str(3 * (2**63 - 1))
    assert proof(ROWS).sums["exact"] == str(3 * (10**38 - 1) - 4500)
    assert proof(ROWS).nulls == {"text": 0, "whole": 3, "exact": 0, "float": 0}


CHANGES: dict[str, Callable[[list[tuple[Any, ...]]], list[tuple[Any, ...]]]] = {
    "a row less": lambda rows: rows[1:],
    "a row twice instead of another": lambda rows: [rows[0], *rows[:-1]],
    "two rows twice": lambda rows: [*rows, rows[0], rows[0]],
    "a text": lambda rows: [("A", *rows[0][1:]), *rows[1:]],
    "a number": lambda rows: [(rows[0][0], 5, *rows[0][2:]), *rows[1:]],
    "a null": lambda rows: [*rows[:-1], (None, *rows[-1][1:])],
    "values between rows": lambda rows: [("b", *rows[0][1:]), ("a", *rows[1][1:]), *rows[2:]],
}


@pytest.mark.parametrize("change", CHANGES)
def test_comparison_when_anything_differs_then_broken(change: str) -> None:
    with pytest.raises(Broken):
        compare(proof(ROWS), proof(CHANGES[change](ROWS)), extent=Verify.FULL)
    compare(proof(ROWS), proof(ROWS[::-1]), extent=Verify.FULL)


def test_comparison_when_the_fingerprint_is_of_another_version_then_rows_nulls_and_sums_are_compared() -> None:
    old = replace(proof(ROWS), algorithm="sum-of-row-hashes/1 polars-0", fingerprint="0")
    compare(old, proof(ROWS), extent=Verify.FULL)
    with pytest.raises(Broken, match="whole added up to"):
        compare(old, proof(CHANGES["a number"](ROWS)), extent=Verify.FULL)


@pytest.mark.parametrize("values", [[1e308, 1e308, -1e308], [1e308, 1.0], [float("inf"), 0.5]], ids=str)
def test_comparison_when_sums_of_floats_have_no_point_then_the_same_rows_are_the_same(values: list[float]) -> None:
    columns = (Column("float", FLOAT, "", ""),)
    found = []
    for order in (values, values[::-1]):
        added = Proof(columns, Verify.FULL)
        for value in order:
            added.add(pl.DataFrame({"float": [value]}))
        found.append(added.certificate())
    assert compare(*found, extent=Verify.FULL)
    # Of another version, where the sums have to do.
    other = replace(found[0], algorithm="sum-of-row-hashes/1 polars-0", fingerprint="0")
    assert not compare(other, found[1], extent=Verify.FULL)


def done(engine: Engine, asked: ExportRequest, **changes: Any) -> ExportJob:
    return run_export(engine, file_request(engine, replace(asked, **changes)))


@pytest.mark.parametrize(
    ("form", "verify", "proven"),
    [
        ("csv", None, Verification.PASSED),
        ("csv", Verify.SAMPLE, Verification.SAMPLED),
        ("csv", Verify.OFF, Verification.OFF),
        ("tsv", None, Verification.PASSED),
        ("jsonl", None, Verification.PASSED),
        ("json", None, Verification.PASSED),
        ("parquet", None, Verification.PASSED),
        ("avro", None, Verification.SAMPLED),
        ("avro", Verify.FULL, Verification.PASSED),
        ("xlsx", None, Verification.SAMPLED),
        ("xlsx", Verify.FULL, Verification.PASSED),
        ("pdf", None, Verification.OFF),
    ],
)
def test_export_when_delivered_then_its_row_says_what_was_proven(
    engine: Engine, asked: ExportRequest, form: str, verify: Verify | None, proven: Verification
) -> None:
    job = done(engine, asked, format=form, verify=verify)
    assert job.verification is proven
    assert verify_export(engine, asked.requested_by, job.id) == (job.rows, proven)
    assert engine.jobs.existing(job.id).request.verify is verify


def losing(form: Format) -> Format:
    """The format, which puts one row twice instead of another, and counts them right."""

    def write(frame: pl.LazyFrame, target: BinaryIO, context: FileContext, options: Any) -> int:
        def lose(batch: pl.DataFrame) -> pl.DataFrame:
            return pl.concat([batch.head(1), batch.head(batch.height - 1)])

        return form.write(frame.map_batches(lose, streamable=True), target, context, options)

    return replace(form, write=write)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_export_when_the_writer_loses_a_row_then_failed_and_nothing_is_left(
    engine: Engine, asked: ExportRequest, form: str
) -> None:
    engine = replace(engine, formats={**engine.formats, form: losing(engine.formats[form])})
    job = file_request(engine, replace(asked, format=form))
    with pytest.raises(Unproven, match="nothing was delivered"):
        run_export(engine, job)
    failed = engine.jobs.existing(job.id)
    assert (failed.status, failed.verification, failed.files) == (Status.FAILED, Verification.FAILED, ())
    assert list(engine.destination("s3").list("exports/")) == []
    with pytest.raises(Rejected, match="failed"):
        issue_link(engine, asked.requested_by, job.id)
    # Without the proof nobody would have known.
    assert done(engine, asked, format=form, verify=Verify.OFF).status is Status.COMPLETED


@pytest.mark.parametrize("verify", [None, Verify.OFF])
def test_export_when_its_object_is_replaced_then_verifying_it_again_fails(
    engine: Engine, asked: ExportRequest, verify: Verify | None
) -> None:
    job = done(engine, asked, verify=verify)
    data = contents(engine, job)
    with engine.destination("s3").open(job.files[0].key, media_type="text/csv", filename="x") as target:
        target.write(data.replace(b"completed", b"Completed", 1))
    with pytest.raises(Unproven, match="SHA-256 differs"):
        verify_export(engine, asked.requested_by, job.id)


#: What somebody has made of a manifest at the destination.
OTHER_MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], Any], type[ExportError], str]] = {
    "nothing in it": (lambda document: {}, Rejected, "manifest.json is no manifest"),
    "no object": (lambda document: "xx", Rejected, "manifest.json is no manifest"),
    "another format": (lambda document: document | {"format": "nope"}, Rejected, "names a format that there is not"),
    "another option": (lambda document: document | {"options": {"x": 1}}, Rejected, "does not say what is needed"),
    "no files": (lambda document: document | {"files": []}, Rejected, "at files, list should have at least 1 item"),
    "other rows": (lambda document: document | {"rows": 3}, Unproven, "the manifest says 3 rows"),
    "another size": (
        lambda document: document | {"files": [document["files"][0] | {"bytes": 1}]},
        Unproven,
        "says other than what was delivered",
    ),
}


@pytest.mark.parametrize("change", OTHER_MANIFESTS)
def test_export_when_its_manifest_is_changed_then_verifying_it_again_says_how(
    engine: Engine, asked: ExportRequest, change: str
) -> None:
    changed, error, told = OTHER_MANIFESTS[change]
    job = done(engine, asked)
    destination, key = engine.destination("s3"), f"{job.files[0].key.rpartition('/')[0]}/manifest.json"
    document = changed(json.loads(b"".join(destination.read(key))))
    with destination.open(key, media_type="application/json", filename="x") as target:
        target.write(json.dumps(document).encode())
    with pytest.raises(error, match=told) as caught:
        verify_export(engine, asked.requested_by, job.id)
    assert caught.type is error and "pydantic" not in str(caught.value)


@pytest.mark.parametrize("name", ["manifest.json", "part-00002.csv"])
def test_export_when_a_file_is_gone_then_verifying_it_again_names_it(
    engine: Engine, asked: ExportRequest, name: str
) -> None:
    job = done(engine, asked, options={"max_file_rows": "5"})
    destination = engine.destination("s3")
    [key] = [stored.key for stored in destination.list("exports/") if stored.key.endswith(name)]
    destination.clean(key)
    with pytest.raises(Broken, match=f"{name} is not, or no longer"):
        verify_export(engine, asked.requested_by, job.id)


@pytest.fixture
def delivered(engine: Engine, asked: ExportRequest, tmp_path: Path) -> Iterator[Path]:
    """A compressed file and its manifest, as somebody has downloaded them."""
    job = done(engine, asked, options={"compression": "zstd"})
    copy = tmp_path / job.files[0].key.rpartition("/")[2]
    copy.write_bytes(contents(engine, job))
    folder = job.files[0].key.rpartition("/")[0]
    (tmp_path / "manifest.json").write_bytes(b"".join(engine.destination("s3").read(f"{folder}/manifest.json")))
    yield copy


def test_copy_when_verified_with_its_manifest_then_proven_without_anything_else(
    delivered: Path, engine: Engine
) -> None:
    manifest = delivered.with_name("manifest.json")
    assert delivered.name.endswith(".csv.zst")
    rows, proven = verify_copy(delivered, manifest, engine.formats, password=no_password)
    assert (rows, proven) == (json.loads(manifest.read_text())["rows"], Verification.PASSED)
    _, proven = verify_copy(delivered, manifest, engine.formats, password=no_password, extent=Verify.SAMPLE)
    assert proven is Verification.SAMPLED
    delivered.write_bytes(delivered.read_bytes()[:-1])
    with pytest.raises(Unproven, match="not the file that was delivered"):
        verify_copy(delivered, manifest, engine.formats, password=no_password)


def test_copy_when_its_manifest_is_changed_then_not_proven(delivered: Path, engine: Engine) -> None:
    manifest = delivered.with_name("manifest.json")
    document = json.loads(manifest.read_text())
    document["files"][0]["certificate"]["nulls"]["phone"] += 1
    manifest.write_text(json.dumps(document))
    with pytest.raises(Unproven, match="phone was null in 1 rows and is in 0"):
        verify_copy(delivered, manifest, engine.formats, password=no_password)


def in_file(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["files"][0].update(values)


def in_certificate(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["files"][0]["certificate"].update(values)


#: What somebody has made of a manifest that lies beside a file.
DAMAGED = {
    **{f"nulls {value}": in_certificate(nulls=value) for value in (None, 5, "zz")},
    **{f"sums {value}": in_certificate(sums=value) for value in (None, 5, "zz", {"cost_usd": "zz"})},
    "an unknown word": in_certificate(word=1),
    "rows": in_file(rows="x"),
    "columns": lambda document: document.update(columns=[{"name": 5, "type": 5}]),
    "no columns": lambda document: document.pop("columns"),
    "a type": lambda document: document["columns"][0].update(type="nope"),
    "an option": lambda document: document["options"].update(profile="nope"),
}
CONTRADICTING = {
    "rows of the file": in_file(rows=1),
    "rows of the file and of all": lambda document: (in_file(rows=1)(document), document.update(rows=1)),
    "rows of all": lambda document: document.update(rows=1),
    "bytes": in_file(bytes=1),
    "no nulls": in_certificate(nulls={}),
    "no sums": in_certificate(sums={}),
    "a smaller sample": in_certificate(head_rows=0, fingerprint=""),
}


@pytest.mark.parametrize("change", [*DAMAGED, *CONTRADICTING])
def test_copy_when_its_manifest_is_damaged_or_contradicts_it_then_told_in_a_sentence(
    delivered: Path, engine: Engine, change: str
) -> None:
    manifest = delivered.with_name("manifest.json")
    document = json.loads(manifest.read_text())
    (DAMAGED | CONTRADICTING)[change](document)
    manifest.write_text(json.dumps(document))
    error = Rejected if change in DAMAGED else Unproven
    with pytest.raises(error) as caught:
        verify_copy(delivered, manifest, engine.formats, password=no_password)
    assert "\n" not in str(caught.value) and "pydantic" not in str(caught.value)


def test_copy_when_its_fingerprints_are_of_another_version_then_no_more_than_a_sample(
    delivered: Path, engine: Engine
) -> None:
    manifest = delivered.with_name("manifest.json")
    document = json.loads(manifest.read_text())
    in_certificate(algorithm="sum-of-row-hashes/1 polars-0")(document)
    manifest.write_text(json.dumps(document))
    _, proven = verify_copy(delivered, manifest, engine.formats, password=no_password)
    assert proven is Verification.SAMPLED


def test_copy_when_nothing_was_added_up_then_its_bytes_are_compared(delivered: Path, engine: Engine) -> None:
    manifest = delivered.with_name("manifest.json")
    document = json.loads(manifest.read_text())
    in_file(certificate=None)(document)
    manifest.write_text(json.dumps(document))
    found = verify_copy(delivered, manifest, engine.formats, password=no_password)
    assert found == (document["rows"], Verification.OFF)
    delivered.write_bytes(delivered.read_bytes()[:-1])
    with pytest.raises(Unproven, match="not the file that was delivered"):
        verify_copy(delivered, manifest, engine.formats, password=no_password)


def test_copy_when_the_manifest_is_not_there_then_says_that(delivered: Path, engine: Engine) -> None:
    with pytest.raises(Rejected, match=r"none.json does not exist"):
        verify_copy(delivered, delivered.with_name("none.json"), engine.formats, password=no_password)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": 5}'])
def test_copy_when_there_is_no_manifest_then_says_so(delivered: Path, engine: Engine, content: str) -> None:
    manifest = delivered.with_name("other.json")
    manifest.write_text(content)
    with pytest.raises(Rejected, match="is no manifest"):
        verify_copy(delivered, manifest, engine.formats, password=no_password)


class Refusing:
    """A store that refuses in the midst of a file, once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.reads = 0

    def path(self, key: str) -> None:
        return None

    def read(self, key: str) -> Iterator[bytes]:
        self.reads += 1
        yield self._data[:3]
        if self.reads == 1:
            raise Broken("the bucket refused (AccessDenied)")
        yield self._data[3:]


def test_export_when_the_store_refuses_while_it_is_read_back_then_that_is_told_and_nothing_is_called_unproven(
    engine: Engine,
) -> None:
    columns = (Column("id", INTEGER, "", ""),)
    data, proof = b"id\n1\n2\n", Proof(columns, Verify.FULL)
    proof.add(pl.DataFrame({"id": [1, 2]}))
    file = ExportFile(
        key="a.csv",
        url="",
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        rows=2,
        media_type="text/csv",
        certificate=proof.certificate(),
    )
    document = {"format": "csv", "columns": [{"name": "id", "type": "integer"}], "options": {"profile": "raw"}}
    verifier = Verifier(document, engine.formats, Attempt("x", 1), password=lambda name: None)
    store = Refusing(data)
    with pytest.raises(Broken, match="AccessDenied") as caught:
        verify_delivered(store, (file,), verifier)  # type: ignore[arg-type]
    assert caught.type is Broken
    assert verify_delivered(store, (file,), verifier) is Verification.PASSED  # type: ignore[arg-type]
