"""A prefix of an S3 bucket as a storage."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from asyncdiff_api.formats.errors import ConditionalWritesUnsupportedError, OutageError, OutputRefusedError
from asyncdiff_api.output import S3, Addressing, ConditionalWrites
from boto3.exceptions import S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 -- botocore's own name
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)

from asyncdiff_runtime.storage.credentials import session
from asyncdiff_runtime.storage.interface import Creation, ObjectChangedError, ObjectMissingError, Stat

_CREDENTIALS_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_NO_ROOM: Final = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "EntityTooLarge"})
_CUT_SHORT: Final = (IncompleteReadError, HTTPClientError, ConnectionError)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class S3Options:
    """How a service is reached, but for keys: those are a mounted Secret's, else of boto3's chain."""

    endpoint: str = ""
    region: str = ""
    profile: str = ""
    """Profile of the configuration files of AWS; empty for the environment's."""
    addressing: Addressing = Addressing.AUTO
    conditional_writes: ConditionalWrites = ConditionalWrites.REQUIRED
    attempts: int = 8
    """Attempts of one request, with growing pauses between them: half a minute in all on average."""
    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 60.0

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
            retries={"mode": "adaptive", "total_max_attempts": self.attempts},
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

        def whole() -> bytes:
            body: bytes = self._client.get_object(**request)["Body"].read()
            return body

        with self._spoken(key):
            return self._again(whole, lambda error: isinstance(error, _CUT_SHORT))

    def write(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        """As `Storage.write`."""
        with self._spoken(key):
            self._client.put_object(**self._place(key), Body=data, ContentType=content_type)

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
        request = {**self._place(key), "Body": data, "ContentType": content_type, "IfNoneMatch": "*"}
        with self._spoken(key):
            try:
                self._again(lambda: self._client.put_object(**request), lambda error: _status(error) == 409)
            except ClientError as error:
                if _status(error) == 412:
                    return Creation.EXISTS
                if _status(error) == 501:
                    raise ConditionalWritesUnsupportedError(
                        f"{self.uri} does not know conditional writes (If-None-Match); use a store that does, "
                        "or set output.s3.conditionalWrites: BestEffort and run one pod a shard"
                    ) from error
                raise
        return Creation.CREATED

    def write_file(self, key: str, path: Path, content_type: str = "application/octet-stream") -> None:
        """As `Storage.write_file`; large files go in several parts at once."""
        with self._spoken(key):
            self._client.upload_file(
                str(path), self._bucket, self._prefix + key, ExtraArgs={"ContentType": content_type}
            )

    def list(self, prefix: str, after: str = "") -> Iterator[Stat]:
        """As `Storage.list`."""
        request = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        if after:
            request["StartAfter"] = self._prefix + after
        with self._spoken():
            for page in self._client.get_paginator("list_objects_v2").paginate(**request):
                for found in page.get("Contents", ()):
                    key = found["Key"].removeprefix(self._prefix)
                    yield Stat(key, int(found["Size"]), found["ETag"])

    def delete(self, key: str) -> None:
        """As `Storage.delete`."""
        with self._spoken(key):
            self._client.delete_object(**self._place(key))

    def stat(self, key: str) -> Stat | None:
        """As `Storage.stat`."""
        with self._spoken(key):
            try:
                found = self._client.head_object(**self._place(key))
            except ClientError as error:
                # A HEAD has no body, so a missing bucket looks like a missing object: the listing tells.
                if _status(error) != 404:
                    raise
                self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix + key, MaxKeys=1)
                return None
            return Stat(key, int(found["ContentLength"]), found["ETag"])

    def remove_unfinished(self) -> int:
        """As `Storage.remove_unfinished`: aborts multipart uploads under the prefix."""
        count = 0
        with self._spoken():
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for upload in page.get("Uploads", ()):
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    count += 1
        return count

    def _place(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    def _again(self, request: Callable[[], T], worth_it: Callable[[Exception], bool]) -> T:
        """Repeats a request on errors that botocore passes on at once: 409, and bodies cut short."""
        for attempt in range(1, self._options.attempts):
            try:
                return request()
            except (BotoCoreError, ClientError) as error:
                if not worth_it(error):
                    raise
            time.sleep(random.uniform(0, min(0.05 * 2**attempt, 5)))  # noqa: S311 -- spreads retries, no secret
        return request()

    @contextmanager
    def _spoken(self, key: str = "") -> Iterator[None]:
        """Says botocore's errors as the contract's."""
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise OutputRefusedError(
                f"{self.uri} needs credentials and none were found ({error}); set output.s3.credentialsSecret, "
                "a service account with workload identity, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        except ClientError as error:
            raise self._error(error, key) from error
        except S3UploadFailedError as error:
            raise OutageError(f"{self.uri}{key} could not be uploaded: {error}") from error
        except _CUT_SHORT as error:
            raise OutageError(
                f"{self.uri}{key} was not reached in {self._options.attempts} attempts ({error}); see that the "
                "service runs and the network lets the pod through: what is recorded stays"
            ) from error
        except (BotoCoreError, ValueError) as error:
            raise OutputRefusedError(f"{self.uri} cannot be used: {error}") from error

    def _error(self, error: ClientError, key: str) -> Exception:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status, where = _status(error), f"{self.uri}{key}"
        if code == "NoSuchBucket":
            return OutputRefusedError(
                f"the bucket {self._bucket} does not exist at {self._options.endpoint or 'AWS'}; create it, or "
                "correct output.s3.bucket"
            )
        if code in _CREDENTIALS_EXPIRED:
            return OutageError(f"the credentials for {where} have expired ({code}); renew them and resume")
        if code in _NO_ROOM or status == 507:
            return OutageError(
                f"{where} could not be written: the store has no room ({code}); make some, resume"
            )
        if code in {"NoSuchKey", "404"}:
            return ObjectMissingError(f"there is no {where}")
        if status == 412:
            return ObjectChangedError(f"{where} was changed since it was first read")
        if status in {401, 403}:
            return OutputRefusedError(
                f"{where} may not be used ({code}: {_message(error)}); give these credentials the right to "
                "list, read, write and delete there"
            )
        if status in {301, 307, 400}:
            return OutputRefusedError(
                f"{where} was refused ({code}: {_message(error)}); see output.s3.region, endpoint and addressing"
            )
        return OutageError(
            f"{where} failed in {self._options.attempts} attempts (HTTP {status} {code}: {_message(error)})"
        )


def _status(error: Exception) -> int:
    response = error.response if isinstance(error, ClientError) else {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", "no message"))
