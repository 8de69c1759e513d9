"""The S3 server keeps the promises that the ledger rests on."""

from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.exceptions import ConnectionError as UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.s3 import S3Server


def put(client: Any, bucket: str, body: bytes, **condition: str) -> int:
    """Writes an object and returns the status."""
    try:
        answer = client.put_object(Bucket=bucket, Key="block", Body=body, **condition)
    except ClientError as error:
        answer = error.response
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])


def content(client: Any, bucket: str, key: str = "block") -> bytes:
    body: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def test_the_second_conditional_put_is_refused_and_changes_nothing(s3_server: S3Server, bucket: str) -> None:
    client = s3_server.client()

    assert put(client, bucket, b"first", IfNoneMatch="*") == 200
    assert put(client, bucket, b"second", IfNoneMatch="*") == 412
    assert content(client, bucket) == b"first"


def test_of_racing_conditional_puts_exactly_one_wins(s3_server: S3Server, bucket: str) -> None:
    bodies = [f"writer {number}".encode() for number in range(16)]
    client = s3_server.client()

    with ThreadPoolExecutor(len(bodies)) as writers:
        codes = list(writers.map(lambda body: put(client, bucket, body, IfNoneMatch="*"), bodies))

    winners = [body for body, code in zip(bodies, codes, strict=True) if code == 200]
    assert [content(client, bucket)] == winners
    assert set(codes) <= {200, 409, 412}


def test_a_put_against_a_stale_etag_is_refused(s3_server: S3Server, bucket: str) -> None:
    client = s3_server.client()
    etag = client.put_object(Bucket=bucket, Key="block", Body=b"first")["ETag"]

    assert put(client, bucket, b"second", IfMatch=etag) == 200
    assert put(client, bucket, b"third", IfMatch=etag) == 412
    assert content(client, bucket) == b"second"


def test_a_conditional_multipart_upload_is_refused_at_its_completion(
    s3_server: S3Server, bucket: str
) -> None:
    client = s3_server.client()
    client.put_object(Bucket=bucket, Key="video", Body=b"first")
    upload = {"Bucket": bucket, "Key": "video"}
    upload["UploadId"] = client.create_multipart_upload(**upload)["UploadId"]
    part = client.upload_part(**upload, PartNumber=1, Body=b"second")

    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.complete_multipart_upload(
            **upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}, IfNoneMatch="*"
        )
    assert content(client, bucket, "video") == b"first"


def test_a_range_is_read_only_of_the_expected_version(s3_server: S3Server, bucket: str) -> None:
    client = s3_server.client()
    etag = client.put_object(Bucket=bucket, Key="block", Body=b"0123456789")["ETag"]

    answer = client.get_object(Bucket=bucket, Key="block", Range="bytes=2-4", IfMatch=etag)
    assert answer["Body"].read() == b"234"
    client.put_object(Bucket=bucket, Key="block", Body=b"changed")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.get_object(Bucket=bucket, Key="block", Range="bytes=2-4", IfMatch=etag)


def test_lists_come_in_pages(s3_server: S3Server, bucket: str) -> None:
    client = s3_server.client()
    keys = [f"items/{number:03}.png" for number in range(25)]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"")

    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 10})

    assert [[found["Key"] for found in page["Contents"]] for page in pages] == [
        keys[:10],
        keys[10:20],
        keys[20:],
    ]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_server_that_ended_serves_the_same_data_when_it_runs_again(
    new_s3_server: Callable[[], S3Server], end: str
) -> None:
    server = new_s3_server()
    bucket = server.bucket()
    client = server.client()
    client.put_object(Bucket=bucket, Key="block", Body=b"kept", Metadata={"seed": "7"})

    getattr(server, end)()
    with pytest.raises(UnreachableError):
        client.list_buckets()
    server.run()

    found = client.get_object(Bucket=bucket, Key="block")
    assert (found["Body"].read(), found["Metadata"]) == (b"kept", {"seed": "7"})


def test_an_account_may_do_nothing_until_a_policy_says_so(s3_server: S3Server, bucket: str) -> None:
    stranger = s3_server.client(s3_server.add_account())

    with pytest.raises(ClientError, match="AccessDenied"):
        stranger.upload_fileobj(io.BytesIO(b"x"), bucket, "x")


def test_wrong_keys_are_refused(s3_server: S3Server) -> None:
    from support.s3 import Account

    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        s3_server.client(Account(s3_server.root.access_key, "guess")).list_buckets()


def test_any_program_finds_the_server_by_its_environment(s3_server: S3Server, bucket: str) -> None:
    program = (
        "import boto3; print(*(found['Name'] for found in boto3.client('s3').list_buckets()['Buckets']))"
    )

    output = subprocess.run(
        [sys.executable, "-c", program],
        env=s3_server.environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert bucket in output.split()
