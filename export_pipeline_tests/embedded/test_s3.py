"""The embedded S3 server: whatever disk it is on, it has room for buckets."""

import json
from urllib.request import urlopen

from export_pipeline.embedded.s3 import S3


def test_buckets_when_the_disk_has_little_room_then_still_hundreds(s3_server: S3) -> None:
    # The default would follow from the free disk, and each bucket takes a volume.
    with urlopen(f"http://127.0.0.1:{s3_server.master_port}/dir/status", timeout=10) as answer:
        topology = json.load(answer)["Topology"]

    assert topology["Max"] == 2000
