"""The folder that rows are staged in."""

import time
from pathlib import Path
from threading import Thread

import pytest

from export_pipeline.formats._sink import staging_folder


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
