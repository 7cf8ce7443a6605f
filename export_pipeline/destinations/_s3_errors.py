"""obstore's and boto3's errors as ours. Their texts hold addresses and headers: they are looked at, never passed on."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from export_pipeline.model.errors import Broken, ExportError, Transient

_DENIED = "the store does not let us use the bucket {bucket}; check the key's rights to it"
_REGION = "the bucket {bucket} is in another region; set AWS_REGION to its own"
_SESSION = "the store no longer accepts the session of our keys; renew them (AWS_SESSION_TOKEN)"

#: What needs somebody, by S3's code; a number where the answer had no body (docs.aws.amazon.com, "Error responses").
_BROKEN = {
    "NoSuchBucket": "there is no bucket {bucket}; create it, or correct S3_BUCKET_NAME",
    "NoSuchKey": "the object is not, or no longer, in the bucket {bucket}",
    "404": "the object is not, or no longer, in the bucket {bucket}",
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "401": _DENIED,
    "403": _DENIED,
    "InvalidAccessKeyId": "the store does not know the access key; check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the store refuses the secret key; check AWS_SECRET_ACCESS_KEY",
    "RequestTimeTooSkewed": "the store's clock and ours differ; set this machine's clock",
    "ExpiredToken": _SESSION,
    "InvalidToken": _SESSION,
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "301": _REGION,
}
#: Answers of the 4xx kind that pass all the same: lost or damaged on the way, too many at a time, aborted meanwhile.
_PASSING = {"BadDigest", "IncompleteBody", "NoSuchUpload", "OperationAborted", "RequestTimeout", "SlowDown"}


@contextmanager
def told(bucket: str) -> Iterator[None]:
    """Raises Transient or Broken where the body raises an error of the libraries; everything else passes as it is."""
    from botocore.exceptions import BotoCoreError, ClientError
    from obstore.exceptions import BaseError

    try:
        yield
    # obstore raises some errors as the language's own: OSError, FileNotFoundError.
    except (BaseError, OSError, BotoCoreError, ClientError) as error:
        raise _translated(error, bucket) from error


def s3_code(error: Exception) -> str:
    """What the store answered: S3's code, else the HTTP status; empty where it did not answer."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    text = str(error)
    found = re.search(r"<Code>([\w.]+)</Code>", text) or re.search(r"status code: (\d{3})", text)
    return found[1] if found else ""


def _translated(error: Exception, bucket: str) -> ExportError:
    from botocore.exceptions import NoCredentialsError

    if isinstance(error, NoCredentialsError):
        return no_keys()
    code = s3_code(error)
    if code in _BROKEN:
        return Broken(_BROKEN[code].format(bucket=bucket))
    if code.startswith("KMS"):
        return Broken(f"the store cannot use the KMS key ({code}); check EXPORT_KMS_KEY_ID and the rights to it")
    if not code:
        return Transient(
            "the store did not take or give what was asked, nor answer; it may be down, or AWS_ENDPOINT_URL is wrong"
        )
    if _status(error).startswith("4") and _status(error) not in ("408", "429") and code not in _PASSING:
        return Broken(
            f"the store refused what was asked of the bucket {bucket} ({code}); see the store's documentation"
        )
    return Transient(f"the store did not take or give what was asked ({code}); it may be busy")


def no_keys() -> Broken:
    """Told where nothing gives us keys."""
    return Broken("there are no keys for the store; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile")


def _status(error: Exception) -> str:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    found = re.search(r"status code: (\d{3})", str(error))
    return found[1] if found else ""
