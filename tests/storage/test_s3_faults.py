"""What goes wrong with a bucket is retried, or said in words that help."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from asyncdiff_api.formats.errors import OutageError, OutputRefusedError
from asyncdiff_api.output import S3, Output
from asyncdiff_runtime.storage import Creation, open_output
from asyncdiff_runtime.storage.s3 import S3Options, S3Storage
from support.processes import free_port
from support.s3 import S3Server

if TYPE_CHECKING:
    from asyncdiff_runtime.storage import Storage


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Sets variables for this test."""

    def put(values: dict[str, str]) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


def storage_of(server: S3Server, bucket: str, attempts: int = 2) -> Storage:
    return S3Storage(bucket, "posters/", S3Options(endpoint=server.endpoint, attempts=attempts))


def test_a_missing_bucket_is_named(
    s3_server: S3Server, environment: Callable[[dict[str, str]], None]
) -> None:
    environment(s3_server.environment())
    storage = storage_of(s3_server, "nowhere")
    for attempt in (
        lambda: storage.create("job.json", b""),
        lambda: storage.stat("job.json"),
        lambda: list(storage.list("")),
    ):
        with pytest.raises(OutputRefusedError, match="bucket nowhere does not exist"):
            attempt()


def test_a_stranger_is_told_which_rights_are_missing(
    s3_server: S3Server, bucket: str, environment: Callable[[dict[str, str]], None]
) -> None:
    environment(s3_server.environment(s3_server.add_account()))
    with pytest.raises(OutputRefusedError, match=r"AccessDenied.*list, read, write and delete"):
        storage_of(s3_server, bucket).write("job.json", b"")


def test_wrong_keys_are_refused_at_once(
    s3_server: S3Server, bucket: str, environment: Callable[[dict[str, str]], None]
) -> None:
    environment({**s3_server.environment(), "AWS_SECRET_ACCESS_KEY": "wrong"})
    with pytest.raises(OutputRefusedError, match="SignatureDoesNotMatch"):
        storage_of(s3_server, bucket).write("job.json", b"")


def test_missing_credentials_are_refused_with_the_places_to_put_them(
    s3_server: S3Server,
    bucket: str,
    environment: Callable[[dict[str, str]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment(s3_server.environment())
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(OutputRefusedError, match="credentialsSecret"):
        storage_of(s3_server, bucket).write("job.json", b"")


def test_a_server_that_stays_away_is_an_outage(
    new_s3_server: Callable[[], S3Server], environment: Callable[[dict[str, str]], None]
) -> None:
    server = new_s3_server()
    environment(server.environment())
    storage = storage_of(server, server.bucket())
    server.kill()

    with pytest.raises(OutageError, match=r"not reached in 2 attempts"):
        storage.write("job.json", b"")


@pytest.mark.parametrize(("reached", "attempts"), [(False, 8), (True, 20)])
def test_an_output_that_the_run_has_reached_is_waited_for_longer(
    monkeypatch: pytest.MonkeyPatch, reached: bool, attempts: int
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody")
    monkeypatch.setattr(time, "sleep", lambda _: None)
    output = Output(s3=S3(bucket="away", prefix="posters/", endpoint=f"http://127.0.0.1:{free_port()}"))

    with pytest.raises(OutageError, match=f"not reached in {attempts} attempts"):
        open_output(output, reached=reached).write("job.json", b"")


def test_a_server_that_comes_back_is_waited_for(
    new_s3_server: Callable[[], S3Server], environment: Callable[[dict[str, str]], None]
) -> None:
    server = new_s3_server()
    environment(server.environment())
    storage = storage_of(server, server.bucket(), attempts=8)
    storage.write("list.jsonl", b"lines")
    server.kill()

    with ThreadPoolExecutor() as pool:
        writing = pool.submit(storage.create, "job.json", b"written")
        reading = pool.submit(storage.read, "list.jsonl")
        server.run()
        assert writing.result() is Creation.CREATED
        assert reading.result() == b"lines"
    assert storage.read("job.json") == b"written"
