"""Large objects in several parts, each of which can be sent again by itself."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

MIN_PART_BYTES: Final = 2**24
"""Size of a part, unless there would be more than `MAX_PARTS` of them. S3 allows 5 MiB and up."""
MAX_PARTS: Final = 10_000
"""Of one object, as S3 has it."""
AT_ONCE: Final = 4
"""Parts that are sent, and held in memory, at once."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Ask(Protocol):
    """Makes a request of a client, again where that may help."""

    def __call__(self, request: Callable[[Any], T]) -> T:
        """Gives the answer."""


@dataclass(frozen=True)
class Source:
    """Content that is read piece by piece."""

    size: int
    read: Callable[[range], bytes]

    @classmethod
    def of_bytes(cls, data: bytes) -> Source:
        """Content in memory."""
        return cls(len(data), lambda span: data[span.start : span.stop])

    @classmethod
    def of_file(cls, path: Path) -> Source:
        """Content of a file, which must not change."""

        def read(span: range) -> bytes:
            with path.open("rb") as file:
                file.seek(span.start)
                return file.read(len(span))

        return cls(path.stat().st_size, read)


def upload_in_parts(ask: Ask, place: dict[str, Any], source: Source, settings: dict[str, Any]) -> None:
    """Writes an object in parts; one that cannot be finished is taken back.

    Args:
        ask: Makes requests.
        place: Bucket and key.
        source: The content.
        settings: As of `put_object`; a condition is held to when the parts are put together.

    Raises:
        ClientError: As botocore.
        BotoCoreError: As botocore.
    """
    condition = {name: value for name, value in settings.items() if name == "IfNoneMatch"}
    about = {name: value for name, value in settings.items() if name not in condition}
    begun = ask(lambda client: client.create_multipart_upload(**place, **about, ChecksumAlgorithm="SHA256"))
    upload = {**place, "UploadId": begun["UploadId"]}
    try:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="part") as pool:
            numbered = enumerate(_spans(source.size), start=1)
            parts = list(pool.map(lambda one: _send(ask, upload, source, *one), numbered))
        ask(
            lambda client: client.complete_multipart_upload(
                **upload, **condition, MultipartUpload={"Parts": parts}
            )
        )
    except BaseException:
        _take_back(ask, upload)
        raise


def _send(ask: Ask, upload: dict[str, Any], source: Source, number: int, span: range) -> dict[str, Any]:
    data = source.read(span)
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    request = {**upload, "PartNumber": number, "Body": data, "ChecksumSHA256": digest}
    answer = ask(lambda client: client.upload_part(**request))
    return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": digest}


def _take_back(ask: Ask, upload: dict[str, Any]) -> None:
    try:
        ask(lambda client: client.abort_multipart_upload(**upload))
    except (BotoCoreError, ClientError) as error:  # the finish step removes what is left
        logger.info("the unfinished upload of %s stays for now: %s", upload["Key"], error)


def _spans(size: int) -> list[range]:
    part = max(MIN_PART_BYTES, -(-size // MAX_PARTS))
    return [range(start, min(start + part, size)) for start in range(0, size, part)]
