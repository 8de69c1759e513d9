"""From an address, or a job's output, to a storage."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.formats.layout import normal_prefix
from asyncdiff_api.output import Output

from asyncdiff_runtime.storage.folder import FolderStorage
from asyncdiff_runtime.storage.interface import Storage

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def open_storage(address: str, s3: Output | None = None, *, reached: bool = False) -> Storage:
    """Opens a folder or a bucket's prefix; nothing is asked of it yet.

    Args:
        address: A path, or `s3://bucket/prefix`.
        s3: Job's output that says how S3 is reached; None leaves it to the environment.
        reached: Whether the run has reached it before: one that is away is then waited for from the first request on.

    Raises:
        InvalidJobError: The prefix is not one that S3 and file systems read alike.
        OutputRefusedError: There is no usable set of credentials or settings.
    """
    if not address.startswith("s3://"):
        return FolderStorage(Path(address.removeprefix("file://")))
    # boto3 takes a third of a second to import, which a local job need not wait for.
    from asyncdiff_runtime.storage.s3 import S3Options, S3Storage

    bucket, prefix = _bucket_and_prefix(address)
    options = S3Options.of(s3.s3) if s3 is not None and s3.s3 is not None else S3Options()
    return S3Storage(
        bucket, prefix, replace(options, first_attempts=options.attempts) if reached else options
    )


def open_address(address: str, *, endpoint: str = "", region: str = "", profile: str = "") -> Storage:
    """Opens what somebody wants to look at; gives up sooner than a job would.

    Args:
        address: As `open_storage`.
        endpoint: Address of the S3 service; empty leaves it to the environment, as do the next two.
        region: Its region.
        profile: Profile of the AWS configuration files.

    Raises:
        InvalidJobError: As `open_storage`.
        OutputRefusedError: As `open_storage`.
    """
    if not address.startswith("s3://"):
        return open_storage(address)
    from asyncdiff_runtime.storage.s3 import S3Options, S3Storage

    bucket, prefix = _bucket_and_prefix(address)
    options = S3Options(endpoint=endpoint, region=region, profile=profile, attempts=3)
    return S3Storage(bucket, prefix, options)


def open_output(output: Output, volume: Path | None = None, *, reached: bool = False) -> Storage:
    """Opens a job's output.

    Args:
        output: The job's output.
        volume: Where its volume is mounted; None where there is none.
        reached: As `open_storage`.

    Raises:
        InvalidJobError: The output is a volume and none is mounted; otherwise as `open_storage`.
        OutputRefusedError: As `open_storage`.
    """
    if output.s3 is not None:
        address = f"s3://{output.s3.bucket}/{normal_prefix(output.s3.prefix)}"
        return open_storage(address, output, reached=reached)
    assert output.volume is not None, "the API demands one of s3 and volume"
    if volume is None:
        raise InvalidJobError(
            f"the output is the volume {output.volume.claim_name}, which is mounted in a cluster only; "
            "choose a folder with --output DIR"
        )
    return FolderStorage(volume / output.volume.path)


def _bucket_and_prefix(address: str) -> tuple[str, str]:
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise InvalidJobError(f"{address} names no bucket; write it as s3://BUCKET/PREFIX/")
    return bucket, normal_prefix(prefix)
