"""Where in the modules something happened, for the person who reads why there is no graph."""

import linecache
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

import torch
from torch import nn
from torch.fx import Node

_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(__file__).parent)
_TRACED = re.compile(r'File "(?P<file>[^"]+)", line (?P<number>\d+), in ')

Line = tuple[str, int]
"""A file and a line in it."""

Paths = Mapping[int, str]


def place_of(error: BaseException, root: nn.Module) -> str:
    """The module in which an exception was raised, by its path beneath `root`, and the line of the model's code in it.

    As "`if x.sum() > 0:` (block.py:12) in denoiser.mid_block (Block)"; empty if the modules were not reached.
    """
    paths = paths_of(root)
    places = (_place(list(traceback.walk_tb(reached.__traceback__)), paths) for reached in _causes(error))
    return next(filter(None, places), "")


def place_here(paths: Paths) -> str:
    """The same of the caller, among modules of these paths."""
    return _place(list(traceback.walk_stack(sys._getframe()))[::-1], paths)  # noqa: SLF001 -- its public name


def place_in(node: Node, root: nn.Module) -> str:
    """The same of an operation in the graph of `root`."""
    lines = [(found["file"], int(found["number"])) for found in _TRACED.finditer(node.stack_trace or "")]
    entered = [path for path, _ in node.meta.get("nn_module_stack", {}).values() if path]
    outermost = next((name for name, _ in reversed(list(root.named_children()))), "")
    path = entered[-1] if entered else outermost
    return _told(lines, _named(path, root.get_submodule(path)))


def paths_of(root: nn.Module) -> Paths:
    """The path of each module beneath `root`, by its `id`."""
    return {id(module): path for path, module in root.named_modules() if path}


def _place(frames: Sequence[tuple[FrameType, int]], paths: Paths) -> str:
    """Of frames, the outermost first."""
    entered = (frame.f_locals.get("self") for frame, _ in reversed(frames))
    module = next((found for found in entered if isinstance(found, nn.Module) and id(found) in paths), None)
    if module is None:
        return ""
    lines = [(frame.f_code.co_filename, number) for frame, number in frames]
    return _told(lines, _named(paths[id(module)], module))


def _told(lines: Sequence[Line], module: str) -> str:
    line = next((text for line in reversed(lines) if (text := _text(line))), "")
    return f"{line} in {module}".strip()


def _named(path: str, module: nn.Module) -> str:
    return f"{path} ({type(module).__name__})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and those that it was raised from, the first one first."""
    chain: list[BaseException] = []
    known: BaseException | None = error
    while known is not None and known not in chain:
        chain.append(known)
        known = known.__cause__ or known.__context__
    yield from reversed(chain)


def _text(line: Line) -> str:
    """The line, if it is the model's own."""
    file, number = line
    code = linecache.getline(file, number).strip()
    if file.startswith((_TORCH, _OURS)) or not code:
        return ""
    return f"`{code}` ({Path(file).name}:{number})"
