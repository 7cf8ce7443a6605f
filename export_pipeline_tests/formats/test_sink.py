"""The batches in which rows are staged."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from export_pipeline.formats._sink import stage


@pytest.mark.parametrize(("characters", "rows"), [(30_000, 3_000), (10, 25_000), (10, 0)])
def test_batches_when_staged_then_of_some_thousand_rows_or_some_megabytes(
    tmp_path: Path, characters: int, rows: int
) -> None:
    staged = tmp_path / "rows.arrow"
    frame = pl.DataFrame({"id": range(rows), "text": ["x" * characters] * rows}, {"id": pl.Int64, "text": pl.String})

    assert stage(frame.lazy(), staged).rows == rows
    with pa.OSFile(str(staged)) as file, pa.ipc.open_file(file) as found:
        batches = [found.get_batch(index) for index in range(found.num_record_batches)]
    assert [batch.num_rows for batch in batches[:2]] == ([140, 140] if characters > 10 else [10_000, 10_000][:rows])
    assert max((batch.nbytes for batch in batches), default=0) < 5 << 20
    assert pl.scan_ipc(staged).collect().equals(frame)
