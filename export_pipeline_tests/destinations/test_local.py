"""What only the folder does: keys stay inside, files are ours alone, a full disk is told, staged files go."""

import errno
import os
import stat
import time
from collections import namedtuple
from datetime import timedelta
from pathlib import Path

import pytest

from export_pipeline.destinations import local
from export_pipeline.destinations.local import LocalFolder
from export_pipeline.model.errors import Broken, Rejected
from export_pipeline.settings import load_settings
from export_pipeline_tests.destinations.conftest import KEY

Usage = namedtuple("Usage", "total used free")


def put(folder: LocalFolder, key: str = KEY, data: bytes = b"a,b\r\n", *, estimated_bytes: int = 0) -> None:
    with folder.open(key, media_type="text/csv", filename="x.csv", estimated_bytes=estimated_bytes) as target:
        target.write(data)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files_in(path: Path) -> list[str]:
    return sorted(item.name for item in path.rglob("*") if item.is_file())


def test_folder_when_not_set_then_rejected_and_named() -> None:
    with pytest.raises(Rejected, match="set EXPORT_DIRECTORY"):
        local.connect(load_settings(DATABASE_URL="postgresql://nobody@127.0.0.1/none"))


def test_file_when_written_then_it_and_every_folder_are_ours_alone(folder: LocalFolder) -> None:
    put(folder)
    path = folder.root / KEY
    assert mode_of(path) == 0o600
    assert {mode_of(parent) for parent in path.parents if parent.is_relative_to(folder.root)} == {0o700}


def test_file_when_being_written_then_staged_beside_its_name(folder: LocalFolder) -> None:
    with folder.open(KEY, media_type="text/csv", filename="x.csv") as target:
        target.write(b"half")
        assert files_in(folder.root) == ["export_6f1c.csv.part"]
        assert list(folder.list("")) == []
    assert files_in(folder.root) == ["export_6f1c.csv"]


def test_file_when_given_up_then_its_empty_folders_go_and_the_root_stays(folder: LocalFolder) -> None:
    with pytest.raises(RuntimeError), folder.open(KEY, media_type="text/csv", filename="x.csv"):
        raise RuntimeError
    assert list(folder.root.iterdir()) == []


def test_file_when_others_tidy_up_in_its_folders_then_written_all_the_same(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, times = local._make_folders, []

    def made_and_taken(path: Path) -> None:
        make(path)
        if path != folder.root and len(times) < 3:
            times.append(path)
            path.rmdir()

    monkeypatch.setattr(local, "_make_folders", made_and_taken)
    put(folder)
    assert len(times) == 3
    assert b"".join(folder.read(KEY)) == b"a,b\r\n"


def test_files_when_cleaned_then_empty_folders_go_up_to_one_that_is_needed(folder: LocalFolder) -> None:
    put(folder, "exports/a/1/x.csv")
    put(folder, "exports/b/1/x.csv")
    folder.clean("exports/a/1/")
    assert [path.name for path in (folder.root / "exports").iterdir()] == ["b"]


@pytest.mark.parametrize("key", ["../x.csv", "exports/../../x.csv", "/etc/x.csv", "", ".", ".."])
def test_key_when_it_would_leave_the_folder_then_broken(folder: LocalFolder, tmp_path: Path, key: str) -> None:
    folder.check()
    acts = (
        lambda: put(folder, key),
        lambda: folder.stat(key),
        lambda: list(folder.read(key)),
        lambda: folder.confirm(key, bytes=0, sha256=""),
        lambda: folder.clean(key),
        lambda: folder.address(key),
        lambda: folder.link(key, ttl_seconds=1, filename="x.csv"),
    )
    for act in acts:
        with pytest.raises(Broken, match="keys are relative"):
            act()
    assert files_in(tmp_path) == []


def test_key_when_a_link_leads_out_then_broken_and_nothing_there_is_touched(
    folder: LocalFolder, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.csv").write_bytes(b"secret")
    folder.check()
    (folder.root / "exports").symlink_to(outside)
    (folder.root / "direct.csv").symlink_to(outside / "secret.csv")
    for key in ("exports/secret.csv", "direct.csv"):
        for act in (lambda key=key: put(folder, key), lambda key=key: list(folder.read(key))):
            with pytest.raises(Broken, match="out of the folder by a link"):
                act()
    with pytest.raises(Broken, match="out of the folder by a link"):
        folder.clean("exports/")
    assert (outside / "secret.csv").read_bytes() == b"secret"
    assert files_in(outside) == ["secret.csv"]


def test_staged_name_when_it_is_a_link_then_broken_and_its_target_stays(folder: LocalFolder, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    folder.check()
    (folder.root / "x.csv.part").symlink_to(target)
    with pytest.raises(Broken, match="cannot be used"):
        put(folder, "x.csv")
    assert target.read_bytes() == b"precious"


def test_space_when_the_estimate_does_not_fit_then_broken_before_anything_is_written(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 9 * 10**8, 10**8))
    with pytest.raises(Broken, match="100,000,000 bytes free, and the file may need 200,000,000"):
        put(folder, estimated_bytes=2 * 10**8)
    assert list(folder.root.iterdir()) == []
    put(folder, estimated_bytes=10**6)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_disk_when_it_fills_up_while_writing_then_broken_and_nothing_stays(
    folder: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def full(path: Path, flags: int, *mode: int) -> int:
        return real("/dev/full", os.O_WRONLY) if path.suffix == ".part" else real(path, flags, *mode)

    monkeypatch.setattr("os.open", full)
    with pytest.raises(Broken, match=r"is full; free some space") as caught:
        put(folder)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert list(folder.root.iterdir()) == []


def test_folder_when_it_is_a_file_then_broken_with_advice(folder: LocalFolder) -> None:
    folder.root.write_bytes(b"")
    for act in (folder.check, lambda: put(folder)):
        with pytest.raises(Broken, match="check EXPORT_DIRECTORY"):
            act()


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not hold for root")
def test_folder_when_it_may_not_be_written_to_then_broken_with_advice(folder: LocalFolder) -> None:
    folder.check()
    folder.root.chmod(0o500)
    try:
        with pytest.raises(Broken, match="Permission denied; check EXPORT_DIRECTORY"):
            folder.check()
    finally:
        folder.root.chmod(0o700)


def test_part_of_the_path_when_it_is_a_file_then_broken_not_a_library_error(folder: LocalFolder) -> None:
    put(folder, "exports")
    with pytest.raises(Broken, match="check EXPORT_DIRECTORY"):
        put(folder, "exports/x.csv")
    assert folder.stat("exports/x.csv") is None
    assert files_in(folder.root) == ["exports"]


def test_staged_file_when_a_crash_left_it_then_goes_by_age(folder: LocalFolder) -> None:
    put(folder, "exports/done.csv")
    stale = folder.root / "exports" / "x.csv.part"
    stale.write_bytes(b"half")
    old = time.time() - 7200
    os.utime(stale, (old, old))
    (folder.root / "exports" / "y.csv.part").write_bytes(b"half")
    assert folder.abort_stale_uploads(timedelta(hours=1), dry_run=True) == ["exports/x.csv.part"]
    assert stale.exists()
    assert folder.abort_stale_uploads(timedelta(hours=1)) == ["exports/x.csv.part"]
    assert files_in(folder.root) == ["done.csv", "y.csv.part"]


def test_staged_file_when_its_attempt_is_cleaned_then_goes(folder: LocalFolder) -> None:
    put(folder, "exports/1/done.csv")
    (folder.root / "exports/1/x.csv.part").write_bytes(b"half")
    assert folder.clean("exports/1/") == 2
    assert files_in(folder.root) == []


def test_link_when_made_then_names_the_file(folder: LocalFolder) -> None:
    put(folder, "exports/Zoë 1.csv")
    link = folder.link("exports/Zoë 1.csv", ttl_seconds=1, filename="x.csv")
    assert link == (folder.root / "exports/Zoë 1.csv").as_uri() == folder.address("exports/Zoë 1.csv")
    assert link.startswith("file:///")
