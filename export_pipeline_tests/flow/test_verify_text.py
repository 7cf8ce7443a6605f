"""The proof of text whose lines may be taken for rows."""

import random
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from export_pipeline.flow.attempt import Attempt
from export_pipeline.flow.content import FileContent
from export_pipeline.flow.proof import Proof
from export_pipeline.flow.verify import Verifier
from export_pipeline.formats import _duckdb
from export_pipeline.formats.csv import FORMAT
from export_pipeline.model.dataset import TEXT, Column
from export_pipeline.model.format import FileContext
from export_pipeline.model.job import ExportFile
from export_pipeline.model.verification import Verification, Verify


@pytest.mark.parametrize("extent", [Verify.FULL, Verify.SAMPLE])
def test_csv_when_lines_of_its_texts_look_like_rows_then_proven(
    extent: Verify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that the file is read from many places at once.
    monkeypatch.setattr(_duckdb, "_LIMITS", (_duckdb.Limits(64 << 10, 128 << 10, "192MB"),))
    columns = (Column("name", TEXT, "", "Name."), Column("said", TEXT, "", "What was said."))
    lines = (
        "Agent: Am I speaking with Zoë?",
        "Contact: Yes, speaking.",
        'Contact: "Really", he said.',
        'Agent: 5" pipes, then.',
    )
    chosen = random.Random(5)
    texts = ["\n".join(chosen.choices(lines, k=chosen.randint(1, 9))) for _ in range(5_000)]
    rows = pl.DataFrame({"name": ["Zoë"] * len(texts), "said": texts})
    options, added = {"profile": "raw"}, Proof(columns, extent)
    added.add(rows)
    context = FileContext("id", "things", "Things", columns, datetime.now(UTC))
    with (tmp_path / "things.csv").open("wb") as target:
        FORMAT.write(rows.lazy(), target, context, FORMAT.options.model_validate(options))
    document = {
        "format": "csv",
        "options": options,
        "columns": [{"name": column.name, "type": str(column.type)} for column in columns],
    }
    file = ExportFile("things.csv", "", 0, "", rows.height, FORMAT.media_type, certificate=added.certificate())

    verifier = Verifier(document, {"csv": FORMAT}, Attempt("verify", 1), password=lambda name: None, extent=extent)

    proven = Verification.PASSED if extent is Verify.FULL else Verification.SAMPLED
    assert verifier.check(FileContent(tmp_path / "things.csv"), file) is proven
