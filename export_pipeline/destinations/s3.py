"""An S3 bucket: Amazon's, or any store that speaks S3.

Data goes through obstore (multipart, streamed, little memory); boto3 makes links and administers the bucket. Objects
are encrypted at rest and private. Nothing here puts an address with a signature into a text.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import quote

from export_pipeline.model.destination import DestinationType, Stored
from export_pipeline.model.errors import Broken, ExportError, Rejected, Transient
from export_pipeline.settings import Settings

if TYPE_CHECKING:
    from obstore.store import S3Store

#: An upload has at most so many parts, of 5 MiB at least (docs.aws.amazon.com, "Amazon S3 multipart upload limits").
_MAX_PARTS = 10_000
_PART_BYTES = 8 << 20
_READ_BYTES = 4 << 20
_RULE = "export_pipeline"


class S3Bucket:
    """One bucket."""

    def __init__(self, bucket: str, settings: Settings) -> None:
        self.bucket = bucket
        self._settings = settings

    def check(self) -> None:
        """Writes, reads and deletes a small object. Raises Transient or Broken, with advice."""
        key = f"{self._settings.s3_prefix.strip('/')}/.check".lstrip("/")
        with self.open(key, media_type="text/plain", filename="check") as target:
            target.write(b"export_pipeline may write here\n")
        if not b"".join(self.read(key)):
            raise Broken(f"what was written to the bucket {self.bucket} cannot be read back")
        self.clean(key)

    @contextmanager
    def open(self, key: str, *, media_type: str, filename: str, estimated_bytes: int = 0) -> Iterator[BinaryIO]:
        """See `Destination.open`. A multipart upload, completed last and aborted by any exception."""
        import obstore

        # Estimates are often low: room for ten times as much.
        part = max(_PART_BYTES, -(-estimated_bytes * 10 // _MAX_PARTS))
        upload = obstore.open_writer(
            self._store,
            key,
            attributes={"Content-Type": media_type, "Content-Disposition": _attachment(filename)},
            buffer_size=part,
            max_concurrency=2,
        )
        with self._told():
            writer = upload.__enter__()
        try:
            yield cast(BinaryIO, _Writer(writer, self))
        except BaseException as error:
            # What fails now is not what is wrong; an upload that could not be aborted is for `clean`.
            with contextlib.suppress(Exception):
                upload.__exit__(type(error), error, error.__traceback__)
            raise
        with self._told():
            upload.__exit__(None, None, None)

    def stat(self, key: str) -> Stored | None:
        """See `Destination.stat`."""
        import obstore

        with self._told():
            try:
                found = obstore.head(self._store, key)
            except FileNotFoundError:
                return None
        return Stored(key, found["size"], found["last_modified"])

    def read(self, key: str) -> Iterator[bytes]:
        """See `Destination.read`."""
        import obstore

        with self._told():
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=_READ_BYTES):
                yield bytes(chunk)

    def confirm(self, key: str, *, bytes: int, sha256: str) -> None:
        """See `Destination.confirm`. It is read back and hashed: 0.4 s for 300 MB beside the store (measured)."""
        import obstore

        found = hashlib.sha256()
        size = 0
        with self._told():
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=_READ_BYTES):
                found.update(chunk)
                size += len(chunk)
        if size != bytes or found.hexdigest() != sha256:
            raise Broken(
                f"the object in the bucket {self.bucket} is not what was sent ({size:,} of {bytes:,} bytes, or other "
                "contents); it was deleted, and the store needs a look"
            )

    def list(self, prefix: str) -> Iterator[Stored]:
        """See `Destination.list`."""
        import obstore

        with self._told():
            for page in obstore.list(self._store, prefix=prefix):
                for item in page:
                    yield Stored(item["path"], item["size"], item["last_modified"])

    def clean(self, prefix: str) -> int:
        """See `Destination.clean`. Open uploads go first: one that is completed afterwards would be left."""
        import obstore

        uploads = list(self._uploads(prefix))
        with self._told():
            for upload in uploads:
                self._abort(upload)
            # A prefix is a folder to obstore: an object of that very name is not below it.
            keys = [item.key for item in self.list(prefix)]
            if not prefix.endswith("/") and self.stat(prefix) is not None:
                keys.append(prefix)
            if keys:
                obstore.delete(self._store, keys)
        return len(uploads) + len(keys)

    def abort_stale_uploads(self, older_than: timedelta, *, dry_run: bool = False) -> Sequence[str]:
        """See `Destination.abort_stale_uploads`. Only below our own prefix."""
        before = datetime.now(UTC) - older_than
        root = f"{self._settings.s3_prefix.strip('/')}/".lstrip("/")
        stale = [upload for upload in self._uploads(root) if upload["Initiated"] < before]
        if not dry_run:
            with self._told():
                for upload in stale:
                    self._abort(upload)
        return [upload["Key"] for upload in stale]

    def ensure_lifecycle(self, days: int) -> None:
        """Sets the bucket's rule that deletes our objects after so many days, should we not: the second guard. Rules of
        others are kept."""
        from botocore.exceptions import ClientError

        root = f"{self._settings.s3_prefix.strip('/')}/".lstrip("/")
        rule = {
            "ID": _RULE,
            "Filter": {"Prefix": root},
            "Status": "Enabled",
            "Expiration": {"Days": days},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
        }
        with self._told():
            try:
                rules = self._client.get_bucket_lifecycle_configuration(Bucket=self.bucket)["Rules"]
            except ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchLifecycleConfiguration":
                    raise
                rules = []
            if rule in rules:
                return
            kept = [item for item in rules if item.get("ID") != _RULE]
            self._client.put_bucket_lifecycle_configuration(
                Bucket=self.bucket, LifecycleConfiguration={"Rules": [*kept, rule]}
            )

    def filesystem(self) -> Any:
        """The bucket as an fsspec filesystem, for engines that read files themselves."""
        from export_pipeline.destinations._ranges import RangeFileSystem

        return RangeFileSystem("s3", **self._options())

    def address(self, key: str) -> str:
        """See `Destination.address`."""
        return f"s3://{self.bucket}/{key}"

    def link(self, key: str, *, ttl_seconds: int, filename: str) -> str:
        """See `Destination.link`: presigned (s3v4). It also dies with the key, or session, that it was made with."""
        link: str = self._client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self.bucket,
                "Key": key,
                "ResponseContentDisposition": _attachment(filename),
            },
            ExpiresIn=ttl_seconds,
        )
        return link

    @cached_property
    def _store(self) -> S3Store:
        from obstore.store import S3Store

        encryption = (
            {"aws_server_side_encryption": "aws:kms", "aws_sse_kms_key_id": self._settings.kms_key_id}
            if self._settings.kms_key_id
            else {"aws_server_side_encryption": "AES256"}
        )
        store: S3Store = S3Store(self.bucket, **self._options(), **encryption)
        return store

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self._settings.aws_endpoint_url,
            region_name=self._settings.aws_region,
            **self._keys("aws_access_key_id", "aws_secret_access_key", "aws_session_token"),
            config=Config(
                signature_version="s3v4", connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 2}
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
        with self._told():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
            for page in pages:
                yield from page.get("Uploads", [])

    def _abort(self, upload: Mapping[str, Any]) -> None:
        self._client.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The libraries' errors as ours."""
        from botocore.exceptions import BotoCoreError, ClientError
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError, BotoCoreError, ClientError) as error:
            raise _translated(error, self.bucket) from error


class _Writer:
    """Tells the store's errors from everybody else's while a file is being written."""

    def __init__(self, writer: Any, bucket: S3Bucket) -> None:
        self._writer = writer
        self._bucket = bucket

    def write(self, data: Any) -> int:
        with self._bucket._told():
            self._writer.write(data)
        return len(data)


def connect(settings: Settings) -> S3Bucket:
    """The bucket in S3_BUCKET_NAME. Raises Rejected where it is not set."""
    if not settings.s3_bucket_name:
        raise Rejected("the destination s3 needs a bucket: set S3_BUCKET_NAME")
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

    return Boto3CredentialProvider()


def _translated(error: Exception, bucket: str) -> ExportError:
    from botocore.exceptions import ClientError, NoCredentialsError

    # The texts of the libraries hold addresses and headers: they are looked at, never passed on.
    text = str(error)
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    known = {
        "NoSuchBucket": f"there is no bucket {bucket}; create it, or correct S3_BUCKET_NAME",
        "AccessDenied": f"the store does not let us use the bucket {bucket}; check the key's rights to it",
        "InvalidAccessKeyId": "the store does not know the access key; check AWS_ACCESS_KEY_ID",
        "SignatureDoesNotMatch": "the store refuses the secret key; check AWS_SECRET_ACCESS_KEY and the clock",
    }
    for name, told in known.items():
        if name in (code, "") and name in text:
            return Broken(told)
    if isinstance(error, NoCredentialsError):
        return Broken("there are no keys for the store; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile")
    if isinstance(error, PermissionError):
        return Broken(known["AccessDenied"])
    if isinstance(error, FileNotFoundError):
        return Broken(f"the object is not, or no longer, in the bucket {bucket}")
    return Transient(f"the store did not take or give what was asked ({type(error).__name__}); it may be down or busy")
