"""Whether a model and its batches fit: asked of file headers before weights are read, and tried after."""

from __future__ import annotations

import json
import logging
import os
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from asyncdiff_api.formats.errors import DoesNotFitError
from asyncdiff_api.formats.items import WorkItem

from asyncdiff_runtime.batch.generator import Generator, Made, Unmade

logger = logging.getLogger(__name__)

INDEX: Final = "model_index.json"
MAX_HEADER_BYTES: Final = 100_000_000
"""A longer header is no safetensors file; the format's own bound."""
_WHOLE: Final[Mapping[str, float]] = MappingProxyType({})
_FLOATS: Final = frozenset({"F64", "F32", "F16", "BF16"})
_BYTES: Final = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2}
_RAN_OUT = re.compile(r"DefaultCPUAllocator: (can't allocate|not enough) memory|std::bad_alloc")
_ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+) (bytes|[KMG]iB)")
_UNITS: Final = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@dataclass(frozen=True, kw_only=True)
class Room:
    """Memory of the device that a rank computes on."""

    name: str
    """The device, for people."""
    free_bytes: int
    sharers: int = 1
    """Ranks that load their weights into it."""


class Fitting:
    """A generator that halves its batches once if one does not fit, and then gives up."""

    def __init__(self, generator: Generator, free_cache: Callable[[], None]) -> None:
        """Wraps a generator.

        Args:
            generator: Does the work; for one rank alone, since others would not know of the smaller batch.
            free_cache: Gives back memory that torch holds and does not use.
        """
        self._generator = generator
        self._free_cache = free_cache
        self._largest: int | None = None

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        """As `Generator.generate`.

        Raises:
            DoesNotFitError: A single item does not fit, or half a batch does not either.
        """
        if self._largest is not None:
            return self._in_parts(items, self._largest)
        try:
            return self._generator.generate(items)
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            if len(items) == 1:
                raise does_not_fit(error, items) from error
            self._largest = len(items) // 2
            logger.warning(
                "a batch of %d items does not fit the device; from now on %d", len(items), self._largest
            )
        # Outside of the handler: what it caught holds the tensors of the batch that was too large.
        self._free_cache()
        return self._in_parts(items, self._largest)

    def _in_parts(self, items: Sequence[WorkItem], size: int) -> Sequence[Made | Unmade]:
        results: list[Made | Unmade] = []
        for start in range(0, len(items), size):
            part = items[start : start + size]
            try:
                results.extend(self._generator.generate(part))
            except (RuntimeError, MemoryError) as error:
                if not ran_out_of_memory(error):
                    raise
                raise does_not_fit(error, part) from error
        return results


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device has no memory left: torch has a class for GPUs, and words for CPUs."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _RAN_OUT.search(str(error)) is not None


def does_not_fit(error: Exception, items: Sequence[WorkItem]) -> DoesNotFitError:
    """Says which batch was too large for the device, with the bytes that were wanted and there."""
    asked = _ASKED.search(str(error))
    wanted = f" {float(asked[1]) * _UNITS[asked[2]]:.0f} more bytes were wanted," if asked else ""
    batch = f"a batch of {len(items)} items" if len(items) > 1 else "a single item"
    return DoesNotFitError(
        f"{batch}, the first of {items[0].position}, does not fit the device:{wanted} {_in_use()}; make pictures "
        "smaller, set parallelism.batchSize, choose a smaller dtype, or use GPUs with more memory"
    )


def refuse_what_does_not_fit(
    folder: Path, dtype: str, variant: str, room: Room, shares: Mapping[str, float] = _WHOLE
) -> None:
    """Refuses a model whose weights alone are larger than the memory there is.

    Args:
        folder: The model, in diffusers' layout.
        dtype: Type that floating weights are loaded as, by torch's name.
        variant: Variant of the files that is preferred; empty for none.
        room: Where they are to go.
        shares: By part, how much of it a rank loads; all of those that are not named.

    Raises:
        DoesNotFitError: They do not fit.
    """
    needed = weight_bytes(folder, dtype, variant, shares) * room.sharers
    if needed <= room.free_bytes:
        return
    each = f" ({room.sharers} ranks load them)" if room.sharers > 1 else ""
    raise DoesNotFitError(
        f"the model's weights take {needed} bytes as {dtype}{each}, and {room.name} has {room.free_bytes} bytes free; "
        "use a smaller dtype or quantization, or more memory"
    )


def weight_bytes(folder: Path, dtype: str, variant: str, shares: Mapping[str, float] = _WHOLE) -> int:
    """Gives what a rank's weights take once loaded, in bytes, from the headers of their files alone.

    Only safetensors are counted; other files of weights count as nothing.
    """
    index = json.loads((folder / INDEX).read_text())
    parts = [name for name, kind in index.items() if isinstance(kind, list) and kind[0] is not None]
    size = {"float64": 8, "float32": 4}.get(dtype, 2)
    return round(
        sum(
            shares.get(name, 1.0) * _loaded_bytes(path, size)
            for name in parts
            for path in files_of_part(folder / name, variant)
        )
    )


def files_of_part(folder: Path, variant: str) -> list[Path]:
    """Gives the safetensors files that diffusers reads of a part: those of the variant if it has them."""
    every = sorted(folder.glob("*.safetensors"))
    chosen = [path for path in every if variant and f".{variant}" in path.name]
    plain = [path for path in every if re.fullmatch(r"[^.]+\.safetensors", path.name)]
    return chosen or plain


def room_of_device(device: str, ranks: int) -> Room:
    """Gives the free memory of a rank's device.

    Args:
        device: "cpu", or a GPU such as "cuda:1".
        ranks: Ranks on this machine: they share its memory, and have a GPU each.
    """
    if device == "cpu":
        return Room(name="this machine", free_bytes=free_memory(), sharers=ranks)
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return Room(name=f"{torch.cuda.get_device_name(device)} {device}", free_bytes=free)


def free_memory(root: Path = Path("/")) -> int:
    """Gives the bytes of memory that this process may still use: the machine's, or what its cgroup leaves."""
    values = _fields((root / "proc/meminfo").read_text())
    return min([values["MemAvailable"] * 1024, *_cgroup_rooms(root / "sys/fs/cgroup")])


def _cgroup_rooms(folder: Path) -> Iterable[int]:
    try:
        limit, used = (
            (folder / "memory.max").read_text().strip(),
            int((folder / "memory.current").read_text()),
        )
        cached = _fields((folder / "memory.stat").read_text()).get("inactive_file", 0)
    except (OSError, ValueError):
        return  # no cgroup v2, or its root, which has no limit
    if limit != "max":
        yield max(0, int(limit) - used + cached)


def _fields(text: str) -> dict[str, int]:
    words = (line.replace(":", " ").split() for line in text.splitlines())
    return {word[0]: int(word[1]) for word in words if len(word) > 1}


def _loaded_bytes(path: Path, size: int) -> int:
    tensors = (entry for name, entry in safetensors_header(path).items() if name != "__metadata__")
    return sum(_elements(entry["shape"]) * _size(entry["dtype"], size) for entry in tensors)


def safetensors_header(path: Path) -> Mapping[str, Any]:
    """Gives the header of a safetensors file; empty if it is none, which loading will say better."""
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else MAX_HEADER_BYTES + 1
        if length > MAX_HEADER_BYTES:
            return {}
        try:
            header: Mapping[str, Any] = json.loads(file.read(length))
        except ValueError:
            return {}
    return header


def _elements(shape: Sequence[int]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count


def _size(dtype: str, wanted: int) -> int:
    return wanted if dtype in _FLOATS else _BYTES.get(dtype, 1)


def _in_use() -> str:
    import torch

    if not torch.cuda.is_available():
        return f"{free_memory()} are free on this machine (process {os.getpid()})"
    free, total = torch.cuda.mem_get_info()
    return (
        f"{free} of its {total} bytes are free, and {torch.cuda.max_memory_allocated()} were in use at most"
    )
