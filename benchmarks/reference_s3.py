"""The reference for deliveries: `psql \\copy … TO STDOUT` piped into boto3's `upload_fileobj`.

Reads a JSON object from standard input: `command`, `key`, and the S3 server's address and keys.
"""

import json
import subprocess
import sys

import boto3
from botocore.config import Config


def main() -> None:
    """Uploads what the command prints."""
    task = json.load(sys.stdin)
    client = boto3.client(
        "s3",
        endpoint_url=task["s3_endpoint_url"],
        aws_access_key_id=task["access_key_id"],
        aws_secret_access_key=task["secret_access_key"],
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    with subprocess.Popen(task["command"], stdout=subprocess.PIPE) as process:
        client.upload_fileobj(process.stdout, task["bucket"], task["key"])
    if process.returncode:
        sys.exit(process.returncode)


if __name__ == "__main__":
    main()
