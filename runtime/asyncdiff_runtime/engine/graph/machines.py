"""GPUs by name, as their makers describe them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import torch

_TERA: Final = 10**12
_GIGA: Final = 10**9


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One GPU. Peaks are of dense arithmetic, without the sparsity that datasheets like to count in.

    Attributes:
        name: as people say it.
        flops: peak of each type of arithmetic, a second; a type that is missing is not supported by its tensor cores.
        memory_bytes: its memory.
        bandwidth: of the memory, bytes a second.
        link: bytes a second that it can send to another GPU of the same host.
        source: the document that says so.
    """

    name: str
    flops: Mapping[torch.dtype, float] = field(repr=False)
    memory_bytes: int
    bandwidth: float
    link: float
    source: str


def _machine(
    name: str, teraflops: tuple[float, float, float, float], gigabytes: tuple[int, float, float], source: str
) -> Machine:
    """A machine from a datasheet's units.

    Args:
        name: its name.
        teraflops: bfloat16, float16, float8 and plain float32; 0 where it has none.
        gigabytes: memory; memory a second; sent to a peer a second.
        source: where they are from.
    """
    types = (torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float32)
    peaks = {dtype: value * _TERA for dtype, value in zip(types, teraflops, strict=True) if value}
    memory, bandwidth, link = gigabytes
    return Machine(
        name=name,
        flops=MappingProxyType(peaks),
        memory_bytes=memory * _GIGA,
        bandwidth=bandwidth * _GIGA,
        link=link * _GIGA,
        source=source,
    )


MACHINES: Final = (
    _machine("B200", (2250, 2250, 4500, 75), (180, 7700, 900), "NVIDIA HGX B200 datasheet"),
    _machine("H200", (989, 989, 1979, 67), (141, 4800, 450), "NVIDIA H200 Tensor Core GPU datasheet, SXM"),
    _machine("H100 SXM", (989, 989, 1979, 67), (80, 3350, 450), "NVIDIA H100 Tensor Core GPU datasheet, SXM"),
    _machine("H100 PCIe", (756, 756, 1513, 51), (80, 2000, 64), "NVIDIA H100 PCIe product brief"),
    _machine("A100 80GB", (312, 312, 0, 19.5), (80, 2039, 300), "NVIDIA A100 datasheet, 80GB SXM"),
    _machine("A100 40GB", (312, 312, 0, 19.5), (40, 1555, 300), "NVIDIA A100 datasheet, 40GB SXM"),
    _machine("L40S", (362, 362, 733, 91.6), (48, 864, 32), "NVIDIA L40S datasheet"),
    _machine("L4", (121, 121, 242, 30.3), (24, 300, 32), "NVIDIA L4 datasheet"),
    _machine("A10", (125, 125, 0, 31.2), (24, 600, 32), "NVIDIA A10 datasheet"),
    _machine("T4", (0, 65, 0, 8.1), (16, 320, 16), "NVIDIA T4 datasheet"),
    _machine(
        "RTX 5090", (209.5, 209.5, 419, 104.8), (32, 1792, 64), "NVIDIA RTX Blackwell architecture paper"
    ),
    _machine("RTX 4090", (165.2, 165.2, 330.3, 82.6), (24, 1008, 32), "NVIDIA Ada architecture paper"),
    _machine("RTX 3090", (71, 71, 0, 35.6), (24, 936, 32), "NVIDIA Ampere GA102 architecture paper"),
    _machine("MI300X", (1307, 1307, 2615, 163), (192, 5300, 64), "AMD Instinct MI300X data sheet"),
)
"""Consumer cards are counted with float32 accumulation, as torch computes. Memory is in units of 10⁹ bytes."""


def machine(name: str) -> Machine:
    """The machine of that name; case, spaces and hyphens are no matter, and the first that begins so is meant.

    Raises:
        KeyError: there is none; says which there are.
    """
    wanted = _plain(name)
    exact = [one for one in MACHINES if _plain(one.name) == wanted]
    begins = [one for one in MACHINES if wanted and _plain(one.name).startswith(wanted)]
    if not exact and not begins:
        raise KeyError(f"no GPU named {name!r} is known; there are {', '.join(one.name for one in MACHINES)}")
    return (exact or begins)[0]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
