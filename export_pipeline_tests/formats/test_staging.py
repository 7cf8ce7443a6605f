"""The folder that rows are staged in, and the batches in which they are."""

import time
from pathlib import Path
from threading import Thread

import polars as pl
import pyarrow as pa
import pytest

from export_pipeline.formats._sink import stage, staging_folder


def test_folder_when_left_by_an_error_while_files_still_come_then_it_goes_with_them() -> None:
    left: list[Path] = []
    until = time.monotonic() + 0.3

    def write(folder: Path) -> None:
        number = 0
        while time.monotonic() < until:
            number += 1
            try:
                (folder / f"{number}.arrow").write_bytes(b"rows")
            except FileNotFoundError:
                return  # the folder has gone

    with pytest.raises(ValueError, match="the source is gone"), staging_folder() as folder:
        left.append(folder)
        Thread(target=write, args=(folder,)).start()
        raise ValueError("the source is gone")
    assert not left[0].exists()


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
