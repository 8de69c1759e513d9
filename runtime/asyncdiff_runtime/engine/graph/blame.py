"""Where in the modules an exception came from, for the person who reads why there is no graph."""

import linecache
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import torch
from torch import nn

_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(__file__).parent)


def place_of(error: BaseException, root: nn.Module) -> str:
    """The module that was running, by its path beneath `root`, and the line of the model's code in it.

    As "`if x.sum() > 0:` (block.py:12) in denoiser.mid_block (Block)"; empty if the modules were not reached.
    """
    names = {id(module): name for name, module in root.named_modules() if name}
    for reached in _causes(error):
        frames = list(_frames(reached))
        module = next((found for place in reversed(frames) if (found := _module(place, names))), "")
        if module:
            line = next((text for frame, number in reversed(frames) if (text := _line(frame, number))), "")
            return f"{line} in {module}".strip()
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and those that it was raised from, the first one first."""
    chain: list[BaseException] = []
    known: BaseException | None = error
    while known is not None and known not in chain:
        chain.append(known)
        known = known.__cause__ or known.__context__
    yield from reversed(chain)


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    yield from traceback.walk_tb(error.__traceback__)


def _module(place: tuple[FrameType, int], names: dict[int, str]) -> str:
    frame, _ = place
    module = frame.f_locals.get("self")
    name = names.get(id(module)) if isinstance(module, nn.Module) else None
    return f"{name} ({type(module).__name__})" if name else ""


def _line(frame: FrameType, number: int) -> str:
    """The line that a frame is at, if it is the model's own."""
    file = frame.f_code.co_filename
    code = linecache.getline(file, number).strip()
    if file.startswith((_TORCH, _OURS)) or not code:
        return ""
    return f"`{code}` ({Path(file).name}:{number})"
