"""The inputs of a whole job: how they are reached, and those that all items share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asyncdiff_api.formats.errors import InputRefusedError
from asyncdiff_api.formats.worklist import WorklistLine, inputs_of
from asyncdiff_api.generate import Generate
from asyncdiff_api.job import AsyncDiffJob

from asyncdiff_runtime.batch.inputs.addresses import Addresses
from asyncdiff_runtime.batch.inputs.https import HttpsReader


def addresses_of(job: AsyncDiffJob) -> Addresses:
    """Gives the job's way to its inputs, as the environment allows it."""
    return Addresses(job.spec.output, HttpsReader.of_environment())


def check_common_inputs(job: AsyncDiffJob) -> None:
    """Reads and decodes the inputs that all items share, so that a wrong one is known before any GPU is used.

    Raises:
        InputRefusedError: One of them cannot be had or decoded.
        OutageError: S3 was not reached.
    """
    common = inputs_of(WorklistLine(), job.spec.generate)
    if not common:
        return
    from asyncdiff_runtime.batch.inputs.decoding import decode_mask, decode_picture, decode_video

    addresses = addresses_of(job)
    digests = addresses.digests(common.items())
    for name, address in common.items():
        try:
            data = addresses.read(name, address, digests[address])
            if name == "video":
                decode_video(data, address, job.spec.generate.frames)
            elif name == "mask":
                decode_mask(data, address)
            else:
                decode_picture(data, address)
        except InputRefusedError as error:
            raise InputRefusedError(f"spec.generate.inputs.{name}: {error}") from error


def digests_of(
    addresses: Addresses, generate: Generate, lines: Sequence[WorklistLine]
) -> list[Mapping[str, str]]:
    """Gives the digest of each input of each line, by the input's name.

    Raises:
        OutageError: S3 was not reached.
    """
    inputs = [inputs_of(line, generate) for line in lines]
    known = addresses.digests(one for mine in inputs for one in mine.items())
    return [{name: known[address] for name, address in mine.items()} for mine in inputs]
