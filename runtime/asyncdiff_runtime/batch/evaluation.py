"""How a rank evaluates its denoiser: by its modules, by compiled ones, or by its captured graph."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.parallelism import Compile, Device, Parallelism

from asyncdiff_runtime.batch.generator import Generator, Made, Unmade, shape_of_item
from asyncdiff_runtime.batch.models.sources import cache_folder
from asyncdiff_runtime.engine import Capture, Lowering, Parallel, Refused, speed_up
from asyncdiff_runtime.engine import Compile as EngineCompile

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What is asked of the engine."""

    compile: EngineCompile = EngineCompile.OFF
    """What `torch.compile` does to each module."""
    capture: Lowering | None = None
    """How the denoiser's graph is run in place of its modules; None runs the modules."""

    @property
    def compiles(self) -> bool:
        """Whether the first evaluations of each new kind of item compile something."""
        return self.compile is not EngineCompile.OFF or self.capture not in (None, Lowering.EAGER)

    def arguments(self, cache: Path) -> dict[str, Any]:
        """Gives what to call `parallelize` or `speed_up` with.

        Args:
            cache: Folder of compiled parts; what is in it is run.
        """
        if self.capture is None:
            return {"compile": self.compile}
        return {"capture": Capture(lowering=self.capture, cache=cache)}


BY_MODULES: Final = Evaluation()
COMPILED: Final = Evaluation(compile=EngineCompile.AUTO)
AUTOTUNED: Final = Evaluation(compile=EngineCompile.MAX_AUTOTUNE)
CAPTURED: Final = Evaluation(capture=Lowering.INDUCTOR)


class _Chosen(NamedTuple):
    together: Evaluation
    """Where all ranks make one sample."""
    alone: Evaluation
    """Where each makes its own."""


_CHOICES: Final[Mapping[Compile, _Chosen]] = {
    Compile.AUTO: _Chosen(together=COMPILED, alone=BY_MODULES),
    Compile.NEVER: _Chosen(together=BY_MODULES, alone=BY_MODULES),
    Compile.CAPTURED: _Chosen(together=CAPTURED, alone=CAPTURED),
    Compile.MAX_AUTOTUNE: _Chosen(together=AUTOTUNED, alone=BY_MODULES),
}


def evaluation_of(parallelism: Parallelism, *, together: bool) -> Evaluation:
    """Decides how a job's ranks evaluate; on CPUs they compile only what the job asks for by name.

    Args:
        parallelism: What the job asks for.
        together: All ranks make one sample.
    """
    if parallelism.device is Device.CPU and parallelism.compile is not Compile.CAPTURED:
        return BY_MODULES
    chosen = _CHOICES[parallelism.compile]
    return chosen.together if together else chosen.alone


def compiled_folder() -> Path:
    """Gives the folder of compiled parts, which all processes of this user share; in a pod, on its cache volume."""
    return cache_folder() / "compiled"


def by_itself(generator: Generator, pipe: Any, evaluation: Evaluation) -> Generator:
    """Gives a generator for a rank that makes items alone, as `evaluation` says.

    What the engine cannot work beneath is evaluated by its modules, with a warning: the pictures are the same.

    Args:
        generator: Makes items with the pipeline.
        pipe: The pipeline.
        evaluation: How its denoiser is evaluated.
    """
    if evaluation == BY_MODULES:
        return generator
    try:
        parallel = speed_up(pipe, **evaluation.arguments(compiled_folder()))
    except Refused as error:
        _say(error)
        return generator
    return Filled(OrByModules(generator, parallel))


class OrByModules:
    """A generator that gives the pipeline its modules back where the engine refuses it."""

    def __init__(self, generator: Generator, parallel: Parallel) -> None:
        """Wraps a generator.

        Args:
            generator: Makes items with the pipeline.
            parallel: The pipeline under the engine.
        """
        self._generator = generator
        self._parallel = parallel

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        """As `Generator.generate`."""
        try:
            return self._generator.generate(items)
        except Refused as error:
            _say(error)
            self._parallel.restore()
        return self._generator.generate(items)


class Filled:
    """A generator that fills up small batches by copies of their last item.

    What is compiled is compiled for one size of batch, and doing so again for a last one costs more than its pictures.
    """

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._sizes: dict[bytes, int] = {}

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        """As `Generator.generate`; no batch is larger than one of its shape that was made before, or than `items`."""
        shape = shape_of_item(items[0])
        # Taken out while it is tried: a size that does not fit is not tried again.
        size = max(len(items), self._sizes.pop(shape, 0))
        copies = [items[-1]] * (size - len(items))
        results = self._generator.generate([*items, *copies])[: len(items)]
        self._sizes[shape] = size
        if not copies:
            return results
        share = size / len(items)
        return [
            replace(one, seconds=one.seconds * share) if isinstance(one, Made) else one for one in results
        ]


def _say(error: Refused) -> None:
    logger.warning(
        "the denoiser is evaluated by its modules, as if spec.parallelism.compile were Never: %s", error
    )
