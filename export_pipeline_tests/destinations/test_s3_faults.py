"""A store that fails in the middle: told as an error of ours, nothing stays, and nobody waits for long."""

import threading
import time

import pytest

from export_pipeline.destinations.s3 import S3Bucket
from export_pipeline.embedded.s3 import S3
from export_pipeline.model.errors import Transient
from export_pipeline_tests.destinations.conftest import KEY
from export_pipeline_tests.servers.faults import FaultProxy

MEBIBYTE = 1 << 20


def put(store: S3Bucket, mebibytes: int = 24) -> None:
    with store.open(KEY, media_type="text/csv", filename="x.csv") as target:
        for _ in range(mebibytes):
            target.write(b"x" * MEBIBYTE)


def assert_nothing_left(store: S3Bucket, server: S3) -> None:
    client = server.client()
    assert client.list_objects_v2(Bucket=store.bucket).get("Contents", []) == []
    assert client.list_multipart_uploads(Bucket=store.bucket).get("Uploads", []) == []


@pytest.mark.parametrize(
    ("text", "mebibytes"),
    [
        ("PUT ", 1),
        ("?uploads", 24),
        ("partNumber=1&", 24),
        ("partNumber=2&", 24),
        ("partNumber=3&", 24),
        ("POST /{bucket}/" + KEY + "?uploadId", 24),
    ],
    ids=["one put", "start", "first part", "middle part", "last part", "completion"],
)
def test_request_when_it_always_fails_then_transient_and_nothing_stays(
    through_proxy: S3Bucket, proxy: FaultProxy, s3_server: S3, text: str, mebibytes: int
) -> None:
    proxy.failing = (text.format(bucket=through_proxy.bucket),)
    # A body that is still on its way when the answer comes may break off instead: either is Transient.
    with pytest.raises(Transient, match="the store did not take or give what was asked"):
        put(through_proxy, mebibytes)
    assert proxy.failed >= 3
    proxy.heal()
    assert_nothing_left(through_proxy, s3_server)


def test_part_when_it_fails_twice_then_tried_again_and_the_object_is_whole(
    through_proxy: S3Bucket, proxy: FaultProxy
) -> None:
    proxy.failing, proxy.failures = ("partNumber=2&",), 2
    put(through_proxy)
    assert proxy.failed == 2
    assert b"".join(through_proxy.read(KEY)) == b"x" * 24 * MEBIBYTE


def test_connections_when_cut_for_good_then_transient_and_clean_finishes_it(
    through_proxy: S3Bucket, store: S3Bucket, proxy: FaultProxy, s3_server: S3
) -> None:
    with (
        pytest.raises(Transient, match="it may be down"),
        through_proxy.open(KEY, media_type="text/csv", filename="x.csv") as target,
    ):
        for number in range(60):
            target.write(b"x" * MEBIBYTE)
            if number == 20:
                proxy.refusing = True
                proxy.cut()
    assert store.stat(KEY) is None
    # Nobody could tell the store: that upload is on record for `clean`, which finishes it once it answers.
    with pytest.raises(Transient):
        through_proxy.clean(KEY)
    proxy.heal()
    assert through_proxy.clean(KEY) == 1
    assert_nothing_left(store, s3_server)


def test_upload_when_left_while_the_store_hangs_then_the_error_passes_in_time_and_clean_finishes_it(
    through_proxy: S3Bucket, store: S3Bucket, proxy: FaultProxy, s3_server: S3
) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        through_proxy.open(KEY, media_type="text/csv", filename="x.csv") as target,
    ):
        for _ in range(12):
            target.write(b"x" * MEBIBYTE)
        proxy.hanging = True
        started = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - started < 3
    assert store.stat(KEY) is None
    proxy.heal()
    until = time.monotonic() + 5
    while store.clean(KEY) and time.monotonic() < until:
        time.sleep(0.05)
    assert_nothing_left(store, s3_server)


def test_reading_when_cut_in_the_middle_then_goes_on(through_proxy: S3Bucket, proxy: FaultProxy) -> None:
    put(through_proxy)
    proxy.bytes_per_second = 40 * MEBIBYTE
    timer = threading.Timer(0.3, proxy.cut)
    timer.start()
    found = b"".join(through_proxy.read(KEY))
    timer.join()
    assert found == b"x" * 24 * MEBIBYTE


def test_answer_when_the_store_is_busy_then_transient_and_told(through_proxy: S3Bucket, proxy: FaultProxy) -> None:
    proxy.failing = ("GET ",)
    with pytest.raises(Transient, match=r"what was asked \(503\); it may be busy"):
        list(through_proxy.list("exports/"))
