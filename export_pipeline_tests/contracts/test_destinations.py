"""What every destination must do, whichever it is: a new file in `destinations/` is tested at once."""

import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from export_pipeline.embedded.s3 import S3
from export_pipeline.model.destination import Destination, DestinationType
from export_pipeline.model.errors import Broken
from export_pipeline.registry import load_parts
from export_pipeline.settings import Settings, load_settings

DESTINATIONS = load_parts("export_pipeline.destinations", "DESTINATION", DestinationType)
MEBIBYTE = 1 << 20
KEY = "exports/campaign_results/2010/11/17/6f1c/1/export_6f1c.csv"
FOLDER = "exports/campaign_results/2010/11/17/6f1c/1/"

#: Everything that is there, finished or not.
Everything = Callable[[], list[str]]


def data_of(mebibytes: int) -> list[bytes]:
    """Pieces of a mebibyte, each of its own, so that none can take another's place unseen."""
    return [hashlib.sha256(bytes([number])).digest() * (MEBIBYTE // 32) for number in range(mebibytes)]


def put(destination: Destination, key: str, *pieces: bytes) -> str:
    with destination.open(key, media_type="text/csv", filename="export.csv") as target:
        for piece in pieces:
            target.write(piece)
    return hashlib.sha256(b"".join(pieces)).hexdigest()


def bytes_at(destination: Destination, key: str) -> bytes:
    return b"".join(destination.read(key))


@pytest.fixture
def part_settings(s3_settings: dict[str, str], tmp_path: Path) -> Settings:
    return load_settings(
        DATABASE_URL="postgresql://nobody@127.0.0.1/none", **s3_settings, EXPORT_DIRECTORY=str(tmp_path / "exports")
    )


@pytest.fixture(params=sorted(DESTINATIONS))
def destination(request: pytest.FixtureRequest, part_settings: Settings) -> Destination:
    return DESTINATIONS[request.param].connect(part_settings)


@pytest.fixture
def everything(s3_server: S3, bucket: str, tmp_path: Path) -> Everything:
    """Seen past the destinations: through the server's own key, and on the disk."""

    def look() -> list[str]:
        client = s3_server.client()
        objects = client.list_objects_v2(Bucket=bucket).get("Contents", [])
        uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
        return [item["Key"] for item in objects] + [f"open: {item['Key']}" for item in uploads] + files

    return look


def test_object_when_written_then_stored_as_it_is(destination: Destination) -> None:
    before = datetime.now(UTC)
    put(destination, KEY, b"first,", b"second\r\n")
    stored = destination.stat(KEY)
    assert stored is not None
    assert (stored.key, stored.bytes) == (KEY, 14)
    assert abs(stored.modified_at - before) < timedelta(seconds=5)
    assert bytes_at(destination, KEY) == b"first,second\r\n"


def test_object_when_large_then_stored_whole_from_another_thread(destination: Destination) -> None:
    pieces = data_of(30)
    thread = threading.Thread(target=put, args=(destination, KEY, *pieces))
    thread.start()
    thread.join()
    assert bytes_at(destination, KEY) == b"".join(pieces)


def test_object_when_written_in_pieces_of_any_kind_and_size_then_stored_in_order(destination: Destination) -> None:
    with destination.open(KEY, media_type="text/csv", filename="export.csv") as target:
        sizes = [target.write(b"a"), target.write(memoryview(b"-bcd-")[1:4]), target.write(bytearray())]
        target.write(memoryview(b"x" * 9 * MEBIBYTE))
    assert sizes == [1, 3, 0]
    assert bytes_at(destination, KEY) == b"abcd" + b"x" * 9 * MEBIBYTE


def test_object_when_empty_then_stored_empty(destination: Destination) -> None:
    sha256 = put(destination, KEY)
    stored = destination.stat(KEY)
    assert stored is not None
    assert stored.bytes == 0
    assert bytes_at(destination, KEY) == b""
    destination.confirm(KEY, bytes=0, sha256=sha256)


def test_object_when_being_written_then_not_visible(destination: Destination) -> None:
    with destination.open(KEY, media_type="text/csv", filename="export.csv") as target:
        for piece in data_of(20):
            target.write(piece)
        assert destination.stat(KEY) is None
        assert list(destination.list(FOLDER)) == []
    assert destination.stat(KEY) is not None


def test_object_when_written_again_then_replaced(destination: Destination) -> None:
    put(destination, KEY, b"a long first version")
    put(destination, KEY, b"second")
    assert bytes_at(destination, KEY) == b"second"
    assert [item.key for item in destination.list(FOLDER)] == [KEY]


@pytest.mark.parametrize("error", [RuntimeError, OSError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("mebibytes", [0, 1, 20])
def test_writing_when_left_by_an_exception_then_it_passes_and_nothing_stays(
    destination: Destination, everything: Everything, error: type[BaseException], mebibytes: int
) -> None:
    with (
        pytest.raises(error, match="out of the source") as caught,
        destination.open(KEY, media_type="text/csv", filename="export.csv") as target,
    ):
        for piece in data_of(mebibytes):
            target.write(piece)
        raise error("out of the source")
    assert caught.type is error
    assert everything() == []


def test_writing_when_left_by_an_exception_then_what_was_there_stays(destination: Destination) -> None:
    put(destination, KEY, b"finished")
    with (
        pytest.raises(RuntimeError),
        destination.open(KEY, media_type="text/csv", filename="export.csv") as target,
    ):
        target.write(b"x" * 9 * MEBIBYTE)
        raise RuntimeError
    assert bytes_at(destination, KEY) == b"finished"


@pytest.mark.parametrize("mebibytes", [1, 8, 33, 40], ids=["one put", "one part", "uneven parts", "whole parts"])
def test_confirm_when_the_object_is_what_was_written_then_passes_every_time(
    destination: Destination, mebibytes: int
) -> None:
    sha256 = put(destination, KEY, *data_of(mebibytes))
    for _ in range(2):
        destination.confirm(KEY, bytes=mebibytes * MEBIBYTE, sha256=sha256)


@pytest.mark.parametrize("mebibytes", [1, 33])
def test_confirm_when_the_object_is_another_then_broken(
    destination: Destination, part_settings: Settings, mebibytes: int
) -> None:
    pieces = data_of(mebibytes)
    sha256 = put(destination, KEY, *pieces)
    [part] = [part for part in DESTINATIONS.values() if type(part.connect(part_settings)) is type(destination)]
    put(part.connect(part_settings), KEY, *pieces[:-1], b"x" * MEBIBYTE)
    for _ in range(2):
        with pytest.raises(Broken, match="is not what was"):
            destination.confirm(KEY, bytes=mebibytes * MEBIBYTE, sha256=sha256)


@pytest.mark.parametrize("size", [4, 6])
def test_confirm_when_the_size_is_another_then_broken(destination: Destination, size: int) -> None:
    sha256 = put(destination, KEY, b"12345")
    with pytest.raises(Broken, match=f"5 of {size} bytes"):
        destination.confirm(KEY, bytes=size, sha256=sha256)


def test_object_when_missing_then_none_and_broken(destination: Destination) -> None:
    assert destination.stat(KEY) is None
    for act in (lambda: list(destination.read(KEY)), lambda: destination.confirm(KEY, bytes=1, sha256="00")):
        with pytest.raises(Broken, match="is not, or no longer, in"):
            act()


def test_prefix_when_listed_then_only_what_is_below_it(destination: Destination) -> None:
    keys = [f"{FOLDER}a.csv", f"{FOLDER}manifest.json", f"{FOLDER}deeper/b.csv"]
    others = ["exports/campaign_results/2010/11/17/6f1c/10/a.csv", "exports/other.csv"]
    for key in [*keys, *others]:
        put(destination, key, b"12")
    assert sorted(item.key for item in destination.list(FOLDER)) == sorted(keys)
    assert {item.bytes for item in destination.list(FOLDER)} == {2}
    assert sorted(item.key for item in destination.list("")) == sorted([*keys, *others])
    assert list(destination.list("exports/none/")) == []


def test_prefix_when_cleaned_then_all_below_it_goes_and_nothing_else(
    destination: Destination, everything: Everything
) -> None:
    other = "exports/campaign_results/2010/11/17/6f1c/10/a.csv"
    for key in (KEY, f"{FOLDER}manifest.json", f"{FOLDER}deeper/b.csv", other):
        put(destination, key, b"12")
    assert destination.clean(FOLDER) == 3
    assert [item.key for item in destination.list("")] == [other]
    assert len(everything()) == 1
    assert destination.clean(FOLDER) == 0


def test_object_when_cleaned_by_its_key_then_only_it_goes(destination: Destination) -> None:
    put(destination, KEY, b"12")
    put(destination, f"{KEY}.gz", b"12")
    assert destination.clean(KEY) == 1
    assert [item.key for item in destination.list("")] == [f"{KEY}.gz"]


@pytest.mark.parametrize("prefix", ["", "/"])
def test_everything_when_cleaned_then_refused(destination: Destination, prefix: str) -> None:
    put(destination, KEY, b"12")
    with pytest.raises(Broken):
        destination.clean(prefix)
    assert destination.stat(KEY) is not None


def test_key_when_it_has_letters_of_any_language_then_stored_and_listed(destination: Destination) -> None:
    key = "exports/Zoë 東京 😀 100%.csv"
    put(destination, key, b"12")
    assert [item.key for item in destination.list("exports/")] == [key]
    assert bytes_at(destination, key) == b"12"
    assert destination.clean("exports/") == 1


def test_check_when_files_can_be_written_then_passes_and_leaves_nothing(
    destination: Destination, everything: Everything
) -> None:
    destination.check()
    destination.check()
    assert everything() == []


def test_filesystem_when_read_then_gives_what_was_written(destination: Destination) -> None:
    pieces = data_of(3)
    put(destination, KEY, *pieces)
    address = destination.address(KEY)
    path = address.removeprefix("s3://") if address.startswith("s3://") else KEY
    with destination.filesystem().open(path) as file:
        assert file.read(3 * MEBIBYTE) == b"".join(pieces)


def test_uploads_when_none_is_stale_then_none_is_aborted(destination: Destination) -> None:
    with destination.open(KEY, media_type="text/csv", filename="export.csv") as target:
        for piece in data_of(20):
            target.write(piece)
        assert destination.abort_stale_uploads(timedelta(hours=1)) == []
    assert destination.stat(KEY) is not None
