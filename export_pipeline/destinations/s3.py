"""An S3 bucket: Amazon's, or any store that speaks S3.

Data goes through obstore (multipart, streamed, little memory); boto3 makes links and administers the bucket. Objects
are encrypted at rest and private. Nothing here puts an address with a signature into a text.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from threading import Thread
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import quote

from export_pipeline.ahead import ahead
from export_pipeline.destinations._s3_errors import no_keys, s3_code, told
from export_pipeline.destinations._s3_upload import Upload
from export_pipeline.model.destination import DestinationType, Stored
from export_pipeline.model.errors import Broken, ExportError, Rejected
from export_pipeline.settings import Settings

if TYPE_CHECKING:
    from obstore.store import S3Store

#: An upload has at most so many parts, of 5 MiB at least (docs.aws.amazon.com, "Amazon S3 multipart upload limits").
_MAX_PARTS = 10_000
_PART_BYTES = 8 << 20
#: Each request reads so much: one for a whole large object would have to end within the client's timeout.
_READ_BYTES = 8 << 20
#: And so much of it is handed on at once: whoever keeps a little ahead does not keep another request's worth.
_CHUNK_BYTES = 1 << 20
#: From this size on, asking the store for its checksum is cheaper than reading back.
_LARGE_BYTES = 32 << 20


class S3Bucket:
    """One bucket."""

    def __init__(self, bucket: str, settings: Settings) -> None:
        self.bucket = bucket
        self._settings = settings
        self._root = f"{settings.s3_prefix.strip('/')}/".lstrip("/")
        self._checksums: dict[str, str] = {}

    def check(self) -> None:
        """Writes, reads and deletes a small object, and tries to read it without keys. Raises Transient or Broken that
        name the step."""
        key = f"{self._root}.check/{uuid.uuid4().hex}"
        text = b"export_pipeline may write here\n"
        with self._step("write to it"), self.open(key, media_type="text/plain", filename="check") as target:
            target.write(text)
        try:
            with self._step("read it back"):
                self.confirm(key, bytes=len(text), sha256=hashlib.sha256(text).hexdigest())
            with self._step("keep it private"):
                self._refuse_public(key)
        finally:
            with self._step("delete from it"):
                self.clean(key)

    @contextmanager
    def open(self, key: str, *, media_type: str, filename: str, estimated_bytes: int = 0) -> Iterator[BinaryIO]:
        """See `Destination.open`. A multipart upload, completed last and aborted by any exception."""
        import obstore

        # Estimates are often low: room for ten times as much.
        part_bytes = max(_PART_BYTES, -(-estimated_bytes * 10 // _MAX_PARTS))
        writer = obstore.open_writer(
            self._store,
            key,
            attributes={"Content-Type": media_type, "Content-Disposition": _attachment(filename)},
            buffer_size=part_bytes,
            max_concurrency=2,
        )
        upload = Upload(writer, self.bucket, part_bytes)
        Thread(target=self._prepare_client, name="boto3", daemon=True).start()
        try:
            yield cast(BinaryIO, upload)
        except BaseException as error:
            upload.abort(error)
            raise
        upload.complete()
        if upload.bytes >= _LARGE_BYTES:
            self._checksums[key] = upload.checksum()

    def stat(self, key: str) -> Stored | None:
        """See `Destination.stat`."""
        import obstore

        with told(self.bucket):
            try:
                found = obstore.head(self._store, key)
            except FileNotFoundError:
                return None
        return Stored(key, found["size"], found["last_modified"])

    def read(self, key: str) -> Iterator[bytes | memoryview]:
        """See `Destination.read`."""
        import obstore

        with told(self.bucket):
            size = obstore.head(self._store, key)["size"]

            pieces = (
                memoryview(obstore.get_range(self._store, key, start=start, end=min(start + _READ_BYTES, size)))
                for start in range(0, size, _READ_BYTES)
            )
            for piece in ahead(pieces):
                for start in range(0, len(piece), _CHUNK_BYTES):
                    yield piece[start : start + _CHUNK_BYTES]

    def confirm(self, key: str, *, bytes: int, sha256: str) -> None:
        """See `Destination.confirm`.

        The first time after a large upload the store is asked for the SHA-256 that it took of each part on arrival, and
        that is compared with ours. Else, or where it has none or another, the object is read back and hashed.
        """
        checksum = self._checksums.pop(key, None)
        if checksum is not None and self._stored_checksum(key) == (checksum, bytes):
            return
        found = hashlib.sha256()
        size = 0
        for chunk in self.read(key):
            found.update(chunk)
            size += len(chunk)
        if size != bytes or found.hexdigest() != sha256:
            raise Broken(
                f"the object in the bucket {self.bucket} is not what was sent ({size:,} of {bytes:,} bytes, or other "
                "contents); the store needs a look"
            )

    def list(self, prefix: str) -> Iterator[Stored]:
        """See `Destination.list`."""
        import obstore

        with told(self.bucket):
            for page in obstore.list(self._store, prefix=prefix):
                for item in page:
                    yield Stored(item["path"], item["size"], item["last_modified"])

    def clean(self, prefix: str) -> int:
        """See `Destination.clean`. Open uploads go first: one that is completed afterwards would be left."""
        import obstore

        name = prefix.rstrip("/")
        if not name:
            raise Broken("the whole bucket is not ours to clean; name a prefix")
        # A prefix is a folder; to S3 it is any beginning, to obstore an object of that very name is not below it.
        uploads = [item for item in self._uploads(name) if item["Key"] == name or item["Key"].startswith(f"{name}/")]
        for upload in uploads:
            self._abort(upload)
        keys = [item.key for item in self.list(name)]
        if not prefix.endswith("/") and self.stat(name) is not None:
            keys.append(name)
        if keys:
            with told(self.bucket):
                obstore.delete(self._store, keys)
        return len(uploads) + len(keys)

    def abort_stale_uploads(self, older_than: timedelta, *, dry_run: bool = False) -> Sequence[str]:
        """See `Destination.abort_stale_uploads`. Only below our own prefix."""
        before = datetime.now(UTC) - older_than
        stale = [upload for upload in self._uploads(self._root) if upload["Initiated"] < before]
        if not dry_run:
            for upload in stale:
                self._abort(upload)
        return [upload["Key"] for upload in stale]

    def ensure_lifecycle(self, days: int) -> None:
        """Sets the bucket's rule that deletes our objects after so many days, should we not: the second guard. Rules of
        others are kept. Raises Broken where our prefix is the whole bucket."""
        from botocore.exceptions import ClientError

        if not self._root:
            raise Broken("the rule would delete whatever is in the bucket; set EXPORT_S3_PREFIX")
        rule = {
            "ID": f"export_pipeline {self._root}",
            "Filter": {"Prefix": self._root},
            "Status": "Enabled",
            "Expiration": {"Days": days},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
        }
        with told(self.bucket):
            try:
                rules = self._client.get_bucket_lifecycle_configuration(Bucket=self.bucket)["Rules"]
            except ClientError as error:
                if s3_code(error) != "NoSuchLifecycleConfiguration":
                    raise
                rules = []
            if rule in rules:
                return
            kept = [item for item in rules if item.get("ID") != rule["ID"]]
            self._client.put_bucket_lifecycle_configuration(
                Bucket=self.bucket, LifecycleConfiguration={"Rules": [*kept, rule]}
            )

    def filesystem(self) -> Any:
        """The bucket as an fsspec filesystem, for engines that read files themselves."""
        from export_pipeline.destinations._ranges import RangeFileSystem

        return RangeFileSystem("s3", **self._options())

    def path(self, key: str) -> None:
        """See `Destination.path`: it has to be fetched."""

    def address(self, key: str) -> str:
        """See `Destination.address`."""
        return f"s3://{self.bucket}/{key}"

    def link(self, key: str, *, ttl_seconds: int, filename: str) -> str:
        """See `Destination.link`: presigned (s3v4). It also dies with the key, or session, that it was made with."""
        wanted = {"Bucket": self.bucket, "Key": key, "ResponseContentDisposition": _attachment(filename)}
        with told(self.bucket):
            link: str = self._client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=ttl_seconds)
        return link

    @cached_property
    def _store(self) -> S3Store:
        from obstore.store import S3Store

        encryption = (
            {"aws_server_side_encryption": "aws:kms", "aws_sse_kms_key_id": self._settings.kms_key_id}
            if self._settings.kms_key_id
            else {"aws_server_side_encryption": "AES256"}
        )
        # With a checksum the store verifies each part on arrival, and can be asked for it.
        store: S3Store = S3Store(self.bucket, **self._options(), **encryption, checksum_algorithm="SHA256")
        return store

    @cached_property
    def _client(self) -> Any:
        return self._connect(signature_version="s3v4")

    def _prepare_client(self) -> None:
        """`confirm` will need it, and boto3 takes 0.2 s to start. Whatever is wrong is told then."""
        with contextlib.suppress(Exception):
            _ = self._client

    def _connect(self, *, signature_version: Any) -> Any:
        import boto3
        from botocore.config import Config

        # These requests are answered at once or not at all: whoever cancels an export waits for them.
        return boto3.client(
            "s3",
            endpoint_url=self._settings.aws_endpoint_url,
            region_name=self._settings.aws_region,
            **self._keys("aws_access_key_id", "aws_secret_access_key", "aws_session_token"),
            config=Config(
                signature_version=signature_version,
                connect_timeout=3,
                read_timeout=5,
                retries={"total_max_attempts": 2},
            ),
        )

    def _options(self) -> dict[str, Any]:
        endpoint = self._settings.aws_endpoint_url
        return {
            "region": self._settings.aws_region,
            "client_options": {
                "allow_http": bool(endpoint and endpoint.startswith("http://")),
                "connect_timeout": "3s",
                "timeout": "60s",
            },
            "retry_config": {"max_retries": 2, "retry_timeout": timedelta(seconds=60)},
            **({"endpoint": endpoint} if endpoint else {}),
            **self._keys("access_key_id", "secret_access_key", "session_token"),
            **({} if self._settings.aws_access_key_id else {"credential_provider": _usual_credentials()}),
        }

    def _keys(self, *names: str) -> Mapping[str, str]:
        values = (
            self._settings.aws_access_key_id,
            self._settings.aws_secret_access_key,
            self._settings.aws_session_token,
        )
        return {name: value.get_secret_value() for name, value in zip(names, values, strict=True) if value}

    def _uploads(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        with told(self.bucket):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
            for page in pages:
                yield from page.get("Uploads", [])

    def _abort(self, upload: Mapping[str, Any]) -> None:
        from botocore.exceptions import ClientError

        with told(self.bucket):
            try:
                self._client.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            except ClientError as error:
                # Its own worker was quicker.
                if s3_code(error) != "NoSuchUpload":
                    raise

    def _stored_checksum(self, key: str) -> tuple[str | None, int]:
        with told(self.bucket):
            found = self._client.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
        return found.get("ChecksumSHA256"), found["ContentLength"]

    def _refuse_public(self, key: str) -> None:
        from botocore import UNSIGNED
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._connect(signature_version=UNSIGNED).head_object(Bucket=self.bucket, Key=key)
        except (ClientError, BotoCoreError):
            return
        raise Broken("anybody may read its objects without a key; block public access to it")

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        try:
            yield
        except ExportError as error:
            raise type(error)(f"the bucket {self.bucket} failed the attempt to {what}: {error}") from error


def connect(settings: Settings) -> S3Bucket:
    """The bucket in S3_BUCKET_NAME. Raises Rejected where it is not set, or the store's address is wrong."""
    if not settings.s3_bucket_name:
        raise Rejected("the destination s3 needs a bucket: set S3_BUCKET_NAME")
    endpoint = settings.aws_endpoint_url
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise Rejected("AWS_ENDPOINT_URL is wrong: it must begin with https:// (or http://)")
    return S3Bucket(settings.s3_bucket_name, settings)


DESTINATION = DestinationType(
    name="s3",
    title="S3 bucket",
    description="A private bucket (S3_BUCKET_NAME): encrypted, multipart, with links that expire.",
    connect=connect,
)


def _attachment(filename: str) -> str:
    """A Content-Disposition for any name (RFC 6266): a plain form, and one in UTF-8 where that loses letters."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in filename)
    extended = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'attachment; filename="{plain}"{extended}'


def _usual_credentials() -> Any:
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider()
    except ValueError as error:
        raise no_keys() from error
