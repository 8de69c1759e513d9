"""A prefix of an S3 bucket as a storage."""

from __future__ import annotations

import base64
import hashlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from asyncdiff_api.formats.errors import ConditionalWritesUnsupportedError
from asyncdiff_api.output import S3, Addressing, ConditionalWrites
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from asyncdiff_runtime.storage.credentials import session
from asyncdiff_runtime.storage.interface import Creation, Stat
from asyncdiff_runtime.storage.s3_errors import (
    being_renewed,
    code_of,
    in_our_words,
    passing,
    status_of,
)
from asyncdiff_runtime.storage.s3_parts import MIN_PART_BYTES, Ask, Source, upload_in_parts

T = TypeVar("T")

_RENEWAL_PAUSE_SECONDS: Final = 2.0
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 15.0


@dataclass(frozen=True, kw_only=True)
class S3Options:
    """How a service is reached, but for keys: those are a mounted Secret's, else of boto3's chain."""

    endpoint: str = ""
    region: str = ""
    profile: str = ""
    """Profile of the configuration files of AWS; empty for the environment's."""
    addressing: Addressing = Addressing.AUTO
    conditional_writes: ConditionalWrites = ConditionalWrites.REQUIRED
    attempts: int = 20
    """Attempts of one request, with growing pauses between them: more than two minutes in all."""
    first_attempts: int = 8
    """The same until one has succeeded: twenty seconds, for who has mistyped an address should not wait long."""
    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 30.0
    renewal_seconds: float = 150.0
    """How long keys that have worked and are refused now may take to be renewed: the kubelet needs a minute or two."""
    single_bytes: int = 4 * MIN_PART_BYTES
    """Size up to which an object is written by one request."""

    @classmethod
    def of(cls, section: S3) -> S3Options:
        """Gives the options that `spec.output.s3` names."""
        return cls(
            endpoint=section.endpoint,
            region=section.region,
            addressing=section.addressing,
            conditional_writes=section.conditional_writes,
        )

    def client(self) -> Any:
        """Gives a boto3 client, which threads may share."""
        auto = "path" if self.endpoint else "auto"
        style = {Addressing.PATH: "path", Addressing.VIRTUAL: "virtual"}.get(self.addressing, auto)
        config = Config(
            s3={"addressing_style": style},
            # Its retries share a quota, which many threads use up within seconds of an outage: requests are
            # repeated by `S3Storage`. What it keeps is that all of them slow down when the service says so.
            retries={"mode": "adaptive", "total_max_attempts": 1},
            connect_timeout=self.connect_timeout_seconds,
            read_timeout=self.read_timeout_seconds,
            max_pool_connections=32,
            tcp_keepalive=True,
        )
        return session(self.profile).client(
            "s3", endpoint_url=self.endpoint or None, region_name=self.region or None, config=config
        )


class S3Storage:
    """Objects of a bucket under a prefix that is empty or ends with a slash."""

    def __init__(self, bucket: str, prefix: str, options: S3Options) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._options = options
        self._proven = False
        with self._spoken():
            self._client = options.client()

    @property
    def uri(self) -> str:
        """The prefix's address."""
        return f"s3://{self._bucket}/{self._prefix}"

    def read(self, key: str, span: range | None = None, if_match: str = "") -> bytes:
        """As `Storage.read`."""
        request = self._place(key)
        if span is not None:
            request["Range"] = f"bytes={span.start}-{span.stop - 1}"
        if if_match:
            request["IfMatch"] = if_match

        def whole(client: Any) -> bytes:
            body: bytes = client.get_object(**request)["Body"].read()
            return body

        with self._spoken(key):
            return self._ask(whole)

    def write(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        """As `Storage.write`."""
        with self._spoken(key):
            self._put(key, Source.of_bytes(data), {"ContentType": content_type}, self._ask)

    def create(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> Creation:
        """As `Storage.create`; with `conditionalWrites: BestEffort` it looks, then writes.

        Raises:
            ConditionalWritesUnsupportedError: The service does not know If-None-Match.
        """
        if self._options.conditional_writes is ConditionalWrites.BEST_EFFORT:
            if self.stat(key) is not None:
                return Creation.EXISTS
            self.write(key, data, content_type)
            return Creation.CREATED
        settings = {"ContentType": content_type, "IfNoneMatch": "*"}
        with self._spoken(key):
            try:
                self._put(key, Source.of_bytes(data), settings, self._ask_through_conflicts)
            except ClientError as error:
                if status_of(error) == 412:
                    return Creation.EXISTS
                if status_of(error) == 501:
                    raise ConditionalWritesUnsupportedError(
                        f"{self.uri} does not know conditional writes (If-None-Match); use a store that does, "
                        "or set output.s3.conditionalWrites: BestEffort and run one pod a shard"
                    ) from error
                raise
        return Creation.CREATED

    def write_file(self, key: str, path: Path, content_type: str = "application/octet-stream") -> None:
        """As `Storage.write_file`; large files go in several parts at once."""
        with self._spoken(key):
            self._put(key, Source.of_file(path), {"ContentType": content_type}, self._ask)

    def list(self, prefix: str, after: str = "") -> Iterator[Stat]:
        """As `Storage.list`."""
        request = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        if after:
            request["StartAfter"] = self._prefix + after
        while True:
            with self._spoken():
                page = self._ask(lambda client: client.list_objects_v2(**request))
            for found in page.get("Contents", ()):
                key = found["Key"].removeprefix(self._prefix)
                yield Stat(key, int(found["Size"]), found["ETag"])
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, key: str) -> None:
        """As `Storage.delete`."""
        with self._spoken(key):
            self._ask(lambda client: client.delete_object(**self._place(key)))

    def stat(self, key: str) -> Stat | None:
        """As `Storage.stat`."""
        with self._spoken(key):
            try:
                found = self._ask(lambda client: client.head_object(**self._place(key)))
            except ClientError as error:
                # A HEAD has no body, so a missing bucket looks like a missing object: the listing tells.
                if status_of(error) != 404:
                    raise
                listing = {"Bucket": self._bucket, "Prefix": self._prefix + key, "MaxKeys": 1}
                self._ask(lambda client: client.list_objects_v2(**listing))
                return None
            return Stat(key, int(found["ContentLength"]), found["ETag"])

    def remove_unfinished(self) -> int:
        """As `Storage.remove_unfinished`: aborts multipart uploads under the prefix."""
        request = {"Bucket": self._bucket, "Prefix": self._prefix}
        count = 0
        while True:
            with self._spoken():
                page = self._ask(lambda client: client.list_multipart_uploads(**request))
                for upload in page.get("Uploads", ()):
                    self._take_back(upload)
                    count += 1
            if not page.get("IsTruncated"):
                return count
            request["KeyMarker"] = page["NextKeyMarker"]
            request["UploadIdMarker"] = page["NextUploadIdMarker"]

    def _take_back(self, upload: Mapping[str, Any]) -> None:
        place = {"Bucket": self._bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
        self._ask(lambda client: client.abort_multipart_upload(**place))

    def _place(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    def _put(self, key: str, source: Source, settings: dict[str, Any], ask: Ask) -> None:
        """Writes an object, in parts where it is large."""
        if source.size > self._options.single_bytes:
            try:
                upload_in_parts(ask, self._place(key), source, settings)
            except ClientError as error:
                # A completion whose answer was lost is repeated, and then there is no such upload any more.
                found = self.stat(key) if code_of(error) == "NoSuchUpload" else None
                if found is None or found.size != source.size:
                    raise
            return
        data = source.read(range(source.size))
        # The digest that manifests record, which the store compares with what has arrived; sent as a plain
        # header, which stores that do not know it leave alone. botocore's own goes behind a chunked body.
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        request = {**self._place(key), **settings, "Body": data, "ChecksumSHA256": digest}
        ask(lambda client: client.put_object(**request))

    def _ask(self, request: Callable[[Any], T]) -> T:
        return self._again(request, passing)

    def _ask_through_conflicts(self, request: Callable[[Any], T]) -> T:
        """Asks as `_ask`, also again where another writer's request is under way (409)."""
        return self._again(request, lambda error: passing(error) or status_of(error) == 409)

    def _again(self, request: Callable[[Any], T], worth_it: Callable[[Exception], bool]) -> T:
        """Repeats a request on errors that pass, and while keys are being renewed."""
        attempt, began = 1, time.monotonic()
        while True:
            try:
                answer = request(self._client)
            except (BotoCoreError, ClientError, ResponseParserError) as error:
                if self._proven and being_renewed(error):
                    if time.monotonic() - began > self._options.renewal_seconds:
                        raise
                    self._client = self._options.client()  # which reads files of keys anew
                    pause = min(_RENEWAL_PAUSE_SECONDS, self._options.renewal_seconds / 10)
                elif attempt < self._attempts and worth_it(error):
                    pause = min(_FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), _LONGEST_PAUSE_SECONDS)
                    attempt += 1
                else:
                    raise
                time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 -- spreads retries, no secret
            else:
                self._proven = True
                return answer

    @property
    def _attempts(self) -> int:
        options = self._options
        return options.attempts if self._proven else min(options.attempts, options.first_attempts)

    @contextmanager
    def _spoken(self, key: str = "") -> Iterator[None]:
        """Says botocore's errors as the contract's."""
        try:
            yield
        except (BotoCoreError, ClientError, ResponseParserError, ValueError) as error:
            place = f"s3://{self._bucket}/{self._prefix}{key}"
            endpoint = self._options.endpoint or "AWS"
            raise in_our_words(error, place, self._bucket, endpoint, self._attempts) from error
