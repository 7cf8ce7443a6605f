"""What only the S3 destination does: links, encryption, headers, the lifecycle rule, keys that are wrong."""

import json
import time
import urllib.error
import urllib.request
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from export_pipeline.destinations import s3
from export_pipeline.destinations.s3 import S3Bucket
from export_pipeline.embedded.s3 import S3
from export_pipeline.model.errors import Broken, Rejected, Transient
from export_pipeline.settings import load_settings
from export_pipeline_tests.destinations.conftest import KEY, Connect


def put(store: S3Bucket, data: bytes = b"a,b\r\n", *, key: str = KEY) -> None:
    with store.open(key, media_type="text/csv; charset=utf-8", filename="export_6f1c.csv") as target:
        target.write(data)


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("size", [5, 9 << 20], ids=["one put", "multipart"])
def test_object_when_stored_then_encrypted_private_and_named(store: S3Bucket, s3_server: S3, size: int) -> None:
    put(store, b"x" * size)
    found = s3_server.client().head_object(Bucket=store.bucket, Key=KEY)
    assert found["ServerSideEncryption"] == "AES256"
    assert found["ContentType"] == "text/csv; charset=utf-8"
    assert found["ContentDisposition"] == 'attachment; filename="export_6f1c.csv"'
    assert status_of(f"{s3_server.endpoint}/{store.bucket}/{KEY}") == 403


def test_object_when_a_kms_key_is_set_then_the_store_is_asked_to_use_it(connect: Connect) -> None:
    asked: list[dict[str, str]] = []

    class Recorder(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            asked.append({name.lower(): value for name, value in self.headers.items()})
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("ETag", '"0"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Recorder) as server:
        Thread(target=server.handle_request).start()
        put(connect(AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_port}", EXPORT_KMS_KEY_ID="alias/exports"))
    assert asked[0]["x-amz-server-side-encryption"] == "aws:kms"
    assert asked[0]["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/exports"
    assert "x-amz-acl" not in asked[0]


@pytest.mark.parametrize(
    ("filename", "disposition"),
    [
        ("export_6f1c.csv", 'attachment; filename="export_6f1c.csv"'),
        ("Zoë 東京 😀.csv", f"attachment; filename=\"Zo_ __ _.csv\"; filename*=UTF-8''{quote('Zoë 東京 😀.csv')}"),
        (
            'a"b\\c\r\nX: y.csv',
            "attachment; filename=\"a_b_c__X: y.csv\"; filename*=UTF-8''a%22b%5Cc%0D%0AX%3A%20y.csv",
        ),
    ],
)
def test_link_when_opened_then_downloads_the_file_under_its_name(
    store: S3Bucket, filename: str, disposition: str
) -> None:
    put(store)
    url = store.link(KEY, ttl_seconds=60, filename=filename)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"a,b\r\n"
        assert answer.headers["Content-Disposition"] == disposition
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert parse_qs(urlsplit(url).query)["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["60"]


def test_link_when_it_has_expired_then_refused(store: S3Bucket) -> None:
    put(store)
    # Counted from the whole second before: of a link for one second, next to nothing may be left.
    url = store.link(KEY, ttl_seconds=3, filename="x.csv")
    assert status_of(url) == 200
    until = time.monotonic() + 10
    while status_of(url) == 200 and time.monotonic() < until:
        time.sleep(0.2)
    assert status_of(url) == 403


@pytest.mark.parametrize(
    ("old", "new"),
    [("X-Amz-Expires=60", "X-Amz-Expires=604800"), ("export_6f1c", "export_0000"), ("x.csv", "y.csv")],
    ids=["expiry", "key", "name"],
)
def test_link_when_it_was_changed_then_refused(store: S3Bucket, old: str, new: str) -> None:
    put(store)
    put(store, key=KEY.replace("export_6f1c", "export_0000"))
    url = store.link(KEY, ttl_seconds=60, filename="x.csv")
    assert old in url
    assert status_of(url.replace(old, new)) == 403


def test_large_object_when_confirmed_at_once_then_not_read_back(
    store: S3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    data = b"0123456789abcdef" * (3 << 20)
    put(store, data)

    def read(self: S3Bucket, key: str) -> None:
        raise AssertionError("read back")

    sha256 = hashlib.sha256(data).hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(S3Bucket, "read", read)
        store.confirm(KEY, bytes=len(data), sha256=sha256)
        with pytest.raises(AssertionError, match="read back"):
            store.confirm(KEY, bytes=len(data), sha256=sha256)


def test_upload_when_its_worker_died_then_listed_and_aborted_by_age_and_prefix(
    store: S3Bucket, s3_server: S3, connect: Connect
) -> None:
    client = s3_server.client()

    def left() -> set[str]:
        return {item["Key"] for item in client.list_multipart_uploads(Bucket=store.bucket).get("Uploads", [])}

    keys = {"exports/1/a.csv", "exports/10/a.csv", "exported/a.csv"}
    for key in keys:
        client.create_multipart_upload(Bucket=store.bucket, Key=key)
    assert store.abort_stale_uploads(timedelta(hours=1)) == []
    assert set(store.abort_stale_uploads(timedelta(seconds=-5), dry_run=True)) == keys - {"exported/a.csv"}
    assert left() == keys
    assert store.clean("exports/1") == 1
    assert left() == {"exports/10/a.csv", "exported/a.csv"}
    assert store.abort_stale_uploads(timedelta(seconds=-5)) == ["exports/10/a.csv"]
    assert left() == {"exported/a.csv"}


def test_lifecycle_when_ensured_then_merged_with_the_rules_of_others(
    store: S3Bucket, s3_server: S3, connect: Connect
) -> None:
    client = s3_server.client()
    other = {"ID": "other", "Filter": {"Prefix": "logs/"}, "Status": "Enabled", "Expiration": {"Days": 400}}
    client.put_bucket_lifecycle_configuration(Bucket=store.bucket, LifecycleConfiguration={"Rules": [other]})

    def rules() -> dict[str, tuple[str, int]]:
        found = client.get_bucket_lifecycle_configuration(Bucket=store.bucket)["Rules"]
        return {rule["ID"]: (rule["Filter"]["Prefix"], rule["Expiration"]["Days"]) for rule in found}

    store.ensure_lifecycle(31)
    store.ensure_lifecycle(31)
    assert rules() == {"other": ("logs/", 400), "export_pipeline exports/": ("exports/", 31)}
    connect(EXPORT_S3_PREFIX="staging").ensure_lifecycle(8)
    store.ensure_lifecycle(61)
    assert rules() == {
        "other": ("logs/", 400),
        "export_pipeline exports/": ("exports/", 61),
        "export_pipeline staging/": ("staging/", 8),
    }


def test_lifecycle_when_there_is_none_yet_then_set(store: S3Bucket, s3_server: S3) -> None:
    store.ensure_lifecycle(31)
    [rule] = s3_server.client().get_bucket_lifecycle_configuration(Bucket=store.bucket)["Rules"]
    assert (rule["Status"], rule["Expiration"]) == ("Enabled", {"Days": 31})


def test_lifecycle_when_the_prefix_is_the_whole_bucket_then_refused(connect: Connect, s3_server: S3) -> None:
    whole = connect(EXPORT_S3_PREFIX="/")
    with pytest.raises(Broken, match="EXPORT_S3_PREFIX"):
        whole.ensure_lifecycle(31)
    with pytest.raises(s3_server.client().exceptions.ClientError, match="NoSuchLifecycleConfiguration"):
        s3_server.client().get_bucket_lifecycle_configuration(Bucket=whole.bucket)


def test_check_when_the_bucket_is_public_then_broken_and_nothing_stays(store: S3Bucket, s3_server: S3) -> None:
    client = s3_server.client()
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{store.bucket}/*",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    client.put_bucket_policy(Bucket=store.bucket, Policy=json.dumps(policy))
    with pytest.raises(Broken, match="keep it private: anybody may read its objects"):
        store.check()
    assert client.list_objects_v2(Bucket=store.bucket).get("Contents", []) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"S3_BUCKET_NAME": "not-there"}, "there is no bucket not-there; create it, or correct S3_BUCKET_NAME"),
        ({"AWS_ACCESS_KEY_ID": "AKIDWRONG"}, "does not know the access key; check AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": "secretwrong"}, "refuses the secret key; check AWS_SECRET_ACCESS_KEY"),
    ],
    ids=["bucket", "key", "secret"],
)
def test_settings_when_wrong_then_broken_and_named_whatever_is_done(
    connect: Connect, changes: dict[str, str], told: str
) -> None:
    wrong = connect(**changes)
    secrets = {changes.get(name, "-") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")} - {"-"}
    acts = {
        "small": lambda: put(wrong),
        "large": lambda: put(wrong, b"x" * (9 << 20)),
        "list": lambda: list(wrong.list("exports/")),
        "clean": lambda: wrong.clean("exports/"),
        "lifecycle": lambda: wrong.ensure_lifecycle(31),
        "check": wrong.check,
    }
    for act in acts.values():
        with pytest.raises(Broken, match=told) as caught:
            act()
        assert not any(secret in str(caught.value) for secret in secrets)
        assert "Signature" not in str(caught.value)
        assert "http" not in str(caught.value)
    assert "secretwrong" not in repr(wrong)


def test_keys_when_there_are_none_then_broken_and_named(
    s3_settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    named = {name: value for name, value in s3_settings.items() if "ACCESS_KEY" not in name}
    store = s3.connect(load_settings(DATABASE_URL="postgresql://nobody@127.0.0.1/none", **named))
    acts = (lambda: put(store), lambda: store.link(KEY, ttl_seconds=5, filename="x"), lambda: store.clean("exports/"))
    for act in acts:
        with pytest.raises(Broken, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"):
            act()


def test_store_when_down_then_transient(connect: Connect) -> None:
    down = connect(AWS_ENDPOINT_URL="http://127.0.0.1:1")
    for act in (lambda: put(down), lambda: down.stat(KEY), lambda: down.clean("exports/")):
        with pytest.raises(Transient, match="it may be down, or AWS_ENDPOINT_URL is wrong"):
            act()


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"S3_BUCKET_NAME": ""}, "set S3_BUCKET_NAME"), ({"AWS_ENDPOINT_URL": "127.0.0.1:9000"}, "AWS_ENDPOINT_URL")],
)
def test_settings_when_missing_or_wrong_then_rejected_at_once(
    connect: Connect, changes: dict[str, str], told: str
) -> None:
    with pytest.raises(Rejected, match=told):
        connect(**changes)
