"""The folders that rows are staged in: gone with their process, however it ends, and never before."""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from export_pipeline.staging import remove_abandoned, staging_folder

#: Stages rows until it is killed, beside a process of its own that works in the folder.
WORKER = """
import subprocess
from export_pipeline.staging import staging_folder
with staging_folder() as folder:
    folder.joinpath("rows.arrow").write_text("zoe@example.com")
    child = subprocess.Popen(["sleep", "60"], cwd=folder, stdout=subprocess.DEVNULL, close_fds=False)
    print(folder, child.pid, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files, of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def worker(temporary: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A process that stages rows, and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        folder, child = process.stdout.readline().split()
        try:
            yield process, Path(folder)
        finally:
            os.kill(int(child), 9)
            process.kill()


def test_folder_when_its_process_is_killed_then_removed_and_not_before(temporary: Path) -> None:
    with worker(temporary) as (process, folder):
        assert remove_abandoned() == []
        assert (folder / "rows.arrow").exists()
        process.kill()
        process.wait()
        assert (folder / "rows.arrow").exists()
        assert remove_abandoned(dry_run=True) == [str(folder)]
        assert (folder / "rows.arrow").exists()
        assert remove_abandoned() == [str(folder)]
        assert list(temporary.iterdir()) == []
    assert remove_abandoned() == []


def test_folder_when_in_use_then_stays_and_goes_at_the_end(temporary: Path) -> None:
    with staging_folder() as folder, staging_folder() as other:
        assert folder.parent == other.parent
        assert {path.stat().st_mode & 0o777 for path in (folder.parent, folder, other)} == {0o700}
        assert remove_abandoned() == []
        assert folder.exists() and other.exists()
    assert list(temporary.iterdir()) == []


def test_folders_when_made_while_others_remove_then_each_stays_as_long_as_it_is_used() -> None:
    ended, lost = Event(), []

    def remove() -> None:
        while not ended.is_set():
            remove_abandoned()

    def use() -> None:
        for _ in range(100):
            with staging_folder() as folder:
                try:
                    (folder / "rows.arrow").write_bytes(b"rows")
                    time.sleep(0.0005)
                    (folder / "rows.arrow").read_bytes()
                except FileNotFoundError:
                    lost.append(folder)

    removing, using = Thread(target=remove), [Thread(target=use) for _ in range(3)]
    for thread in (removing, *using):
        thread.start()
    for thread in using:
        thread.join()
    ended.set()
    removing.join()
    assert lost == []


def test_folder_when_removed_before_it_is_locked_then_another_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, removed = fcntl.flock, []

    def lock_too_late(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append("")
            removed[:] = remove_abandoned()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_too_late)
    with staging_folder() as folder:
        assert folder.exists()
        assert len(removed) == 1 and removed != [str(folder)]


@pytest.mark.parametrize("case", ["a link", "a file", "open to others", "another user's"])
def test_parent_when_it_is_not_ours_alone_then_not_used(
    case: str, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staging_folder() as folder:
        parent = folder.parent
    theirs = temporary / "theirs"
    (theirs / "rows").mkdir(parents=True, mode=0o700)
    theirs.chmod(0o700)
    match case:
        case "a link":
            parent.symlink_to(theirs)
        case "a file":
            parent.touch()
        case "open to others":
            theirs.rename(parent)
            parent.chmod(0o777)
        case "another user's":
            other = os.geteuid() + 1
            theirs.rename(parent.with_name(parent.name.replace(str(os.geteuid()), str(other))))
            monkeypatch.setattr(os, "geteuid", lambda: other)
    before = sorted(temporary.rglob("*"))
    with staging_folder() as folder:
        assert folder.is_relative_to(temporary)
        assert (folder.parent not in before, folder.parent.stat().st_mode & 0o777) == (True, 0o700)
        assert remove_abandoned() == []
    assert sorted(temporary.rglob("*")) == before


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
