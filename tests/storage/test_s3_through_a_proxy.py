"""A bucket behind a line that breaks, lies and stalls: what was written is what is read, or the error says why."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from asyncdiff_api.formats.errors import ContractError, OutageError, OutputRefusedError
from asyncdiff_api.output import Addressing
from asyncdiff_runtime.storage import Creation
from asyncdiff_runtime.storage.s3 import S3Options, S3Storage
from asyncdiff_runtime.storage.s3_parts import MIN_PART_BYTES
from support.processes import wait_until
from support.proxy import (
    Answer,
    CutUpload,
    Fault,
    GarbleAnswer,
    GarbleUpload,
    Hang,
    LoseAnswer,
    Proxy,
    Reset,
    Truncate,
    asks,
)
from support.s3 import S3Server

DATA = random.Random(1).randbytes(100_000)
LARGE = random.Random(2).randbytes(2 * MIN_PART_BYTES + 100)


@pytest.fixture
def proxy(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    with Proxy.http(s3_server.port) as proxy:
        yield proxy


def storage_of(proxy: Proxy, bucket: str, **options: object) -> S3Storage:
    settings = {"attempts": 4, "renewal_seconds": 60.0, "single_bytes": MIN_PART_BYTES, **options}
    return S3Storage(bucket, "posters/", S3Options(endpoint=proxy.endpoint, **settings))  # type: ignore[arg-type]  # -- by name


@pytest.fixture
def storage(proxy: Proxy, bucket: str) -> S3Storage:
    return storage_of(proxy, bucket)


@pytest.mark.parametrize(
    "fault",
    [
        Answer(503, "SlowDown"),
        Answer(500),
        Answer(429, "TooManyRequests"),
        Answer(409, "ConditionalRequestConflict"),
        Answer(400, "BadDigest"),
        CutUpload(after_bytes=50_000),
        GarbleUpload(),
        LoseAnswer(),
    ],
    ids=str,
)
def test_an_upload_that_meets_a_fault_is_made_again(proxy: Proxy, storage: S3Storage, fault: Fault) -> None:
    injection = proxy.inject(fault, where=asks("PUT"), times=2)
    creation = storage.create("a.png", DATA)
    # Where the answer was lost, the retry finds its own object, and callers compare.
    assert creation is (Creation.EXISTS if isinstance(fault, LoseAnswer) else Creation.CREATED)
    assert storage.read("a.png") == DATA
    assert injection.hits == 2


@pytest.mark.parametrize("fault", [Answer(500), Reset(50_000), Truncate(50_000), GarbleAnswer()], ids=str)
def test_a_body_that_breaks_or_changes_on_the_way_is_read_again(
    proxy: Proxy, storage: S3Storage, fault: Fault
) -> None:
    storage.write("a.png", DATA)
    injection = proxy.inject(fault, where=asks("GET"), times=2)
    assert storage.read("a.png") == DATA
    assert injection.hits == 2


def test_a_body_that_never_arrives_whole_is_an_outage(proxy: Proxy, bucket: str) -> None:
    storage = storage_of(proxy, bucket, attempts=2)
    storage.write("a.png", DATA)
    for fault in (GarbleAnswer(), Truncate(10)):
        injection = proxy.inject(fault, where=asks("GET"))
        with pytest.raises(OutageError, match="not reached in 2 attempts"):
            storage.read("a.png")
        assert injection.hits == 2
        proxy.clear()


def test_a_service_that_stops_answering_is_asked_again(proxy: Proxy, bucket: str) -> None:
    storage = storage_of(proxy, bucket, read_timeout_seconds=0.5)
    storage.write("a.png", DATA)
    proxy.inject(Hang(), where=asks("GET"), times=1)
    assert storage.read("a.png") == DATA


def test_listings_survive_faults_between_their_pages(proxy: Proxy, storage: S3Storage) -> None:
    keys = [f"manifest/block-{number:07d}.jsonl" for number in range(1001)]
    with ThreadPoolExecutor(16) as writers:
        list(writers.map(lambda key: storage.write(key, b"."), keys))
    listing = storage.list("manifest/")
    first = next(listing).key
    faults = [
        proxy.inject(fault, where=asks("GET"), times=1)
        for fault in (Truncate(40), Answer(503), GarbleAnswer())
    ]
    assert [first, *(found.key for found in listing)] == keys
    assert [fault.hits for fault in faults][:2] == [1, 1]


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId"])
def test_keys_that_expire_midway_are_waited_for(proxy: Proxy, storage: S3Storage, code: str) -> None:
    storage.write("a", b"1")
    expired = proxy.inject(Answer(400 if code == "ExpiredToken" else 403, code))
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(storage.create, "b", b"2")
        wait_until(lambda: expired.hits >= 2, what="two refusals")
        assert not writing.done()
        expired.lift()
        assert writing.result() is Creation.CREATED


def test_keys_that_stay_expired_end_the_attempt_as_an_outage(proxy: Proxy, bucket: str) -> None:
    storage = storage_of(proxy, bucket, renewal_seconds=0.2)
    storage.write("a", b"1")
    proxy.inject(Answer(400, "ExpiredToken"))
    with pytest.raises(OutageError, match="have expired"):
        storage.write("b", b"2")


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (Answer(400, "ExpiredToken"), OutageError, "have expired"),
        (Answer(403, "InvalidAccessKeyId"), OutputRefusedError, "may not be used"),
        (Answer(403, "RequestTimeTooSkewed"), OutageError, "the clock of this machine"),
        (Answer(507, "InsufficientStorage"), OutageError, "the store has no room"),
        (Answer(400, "AuthorizationHeaderMalformed"), OutputRefusedError, r"see output\.s3\.region"),
    ],
    ids=str,
)
def test_what_no_waiting_mends_is_said_after_one_request(
    proxy: Proxy, storage: S3Storage, answer: Answer, error: type[ContractError], said: str
) -> None:
    refused = proxy.inject(answer)
    with pytest.raises(error, match=said):
        storage.read("a")
    assert refused.hits == 1


def test_a_large_object_is_created_in_parts_once(proxy: Proxy, storage: S3Storage) -> None:
    reset = proxy.inject(Reset(), where=asks("PUT", "partNumber=2"), times=1)
    garbled = proxy.inject(GarbleUpload(), where=asks("PUT", "partNumber=1&|partNumber=1$"), times=1)

    assert storage.create("video.mp4", LARGE) is Creation.CREATED
    assert storage.create("video.mp4", LARGE[::-1]) is Creation.EXISTS

    assert storage.read("video.mp4") == LARGE
    assert (reset.hits, garbled.hits) == (1, 1)
    assert storage.remove_unfinished() == 0


def test_a_large_object_whose_completion_was_answered_in_vain_is_there(
    proxy: Proxy, storage: S3Storage
) -> None:
    lost = proxy.inject(LoseAnswer(), where=asks("POST", "uploadId="), times=1)
    storage.create("video.mp4", LARGE)
    assert storage.read("video.mp4") == LARGE
    assert lost.hits == 1


def test_a_large_object_that_cannot_be_finished_is_taken_back(proxy: Proxy, storage: S3Storage) -> None:
    proxy.inject(Answer(403, "AccessDenied"), where=asks("PUT", "partNumber=3"))
    with pytest.raises(OutputRefusedError, match="AccessDenied"):
        storage.create("video.mp4", LARGE)
    proxy.clear()
    assert storage.stat("video.mp4") is None
    assert storage.remove_unfinished() == 0


def test_uploads_that_killed_writers_left_are_removed_through_faults(
    proxy: Proxy, storage: S3Storage, s3_server: S3Server, bucket: str
) -> None:
    for number in range(3):
        s3_server.client().create_multipart_upload(Bucket=bucket, Key=f"posters/{number}.mp4")
    s3_server.client().create_multipart_upload(Bucket=bucket, Key="others/1.mp4")
    faults = [proxy.inject(Answer(503), where=asks(method), times=1) for method in ("GET", "DELETE")]
    assert storage.remove_unfinished() == 3
    assert storage.remove_unfinished() == 0
    assert [fault.hits for fault in faults] == [1, 1]


@pytest.mark.parametrize(
    ("addressing", "endpoint", "address"),
    [
        (Addressing.AUTO, "http://store.example:9000", "http://store.example:9000/renders/"),
        (Addressing.PATH, "http://store.example:9000", "http://store.example:9000/renders/"),
        (Addressing.VIRTUAL, "http://store.example:9000", "http://renders.store.example:9000/"),
        (Addressing.AUTO, "", "https://renders.s3.amazonaws.com/"),
    ],
)
def test_buckets_are_addressed_as_asked(
    monkeypatch: pytest.MonkeyPatch, addressing: Addressing, endpoint: str, address: str
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "key")
    client = S3Options(endpoint=endpoint, region="us-east-1", addressing=addressing).client()
    url = client.generate_presigned_url("get_object", Params={"Bucket": "renders", "Key": "a.png"})
    assert url.startswith(f"{address}a.png?")
