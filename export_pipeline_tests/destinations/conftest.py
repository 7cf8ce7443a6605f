"""A destination each, without a database: the address of one is required, never dialled."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from export_pipeline.destinations import local, s3
from export_pipeline.destinations.local import LocalFolder
from export_pipeline.destinations.s3 import S3Bucket
from export_pipeline.embedded.s3 import S3
from export_pipeline.settings import load_settings
from export_pipeline_tests.servers.faults import FaultProxy, fault_proxy

KEY = "exports/campaign_results/export_6f1c.csv"

#: The bucket, with some settings changed.
Connect = Callable[..., S3Bucket]


@pytest.fixture
def connect(s3_settings: dict[str, str]) -> Connect:
    def make(**changes: str) -> S3Bucket:
        return s3.connect(
            load_settings(DATABASE_URL="postgresql://nobody@127.0.0.1/none", **{**s3_settings, **changes})
        )

    return make


@pytest.fixture
def store(connect: Connect) -> S3Bucket:
    return connect()


@pytest.fixture
def proxy(s3_server: S3) -> Iterator[FaultProxy]:
    with fault_proxy(s3_server.port) as running:
        yield running


@pytest.fixture
def through_proxy(connect: Connect, proxy: FaultProxy) -> S3Bucket:
    return connect(AWS_ENDPOINT_URL=f"http://127.0.0.1:{proxy.port}")


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    return local.connect(
        load_settings(DATABASE_URL="postgresql://nobody@127.0.0.1/none", EXPORT_DIRECTORY=str(tmp_path / "exports"))
    )
