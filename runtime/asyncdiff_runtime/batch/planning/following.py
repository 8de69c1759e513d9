"""A pipeline's own call, followed without values: what it asks of its modules, in which forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asyncdiff_api.formats.errors import ContractError, InvalidJobError

from asyncdiff_runtime.batch.planning.skeleton import Skeleton, cast
from asyncdiff_runtime.engine.graph.tally import Tally

if TYPE_CHECKING:
    from torch import nn

    from asyncdiff_runtime.engine.graph.capture import Captured
    from asyncdiff_runtime.engine.request import Companion, Request


@dataclass(frozen=True, eq=False)
class Branch:
    """One call of the denoiser, with the companions that are asked with it.

    Attributes:
        request: what is asked.
        captured: its graph.
        prediction_bytes: bytes of what it gives.
    """

    request: Request
    captured: Captured
    prediction_bytes: int


@dataclass(eq=False)
class Course:
    """What a pipeline asks of its modules from prompt to pixels.

    Attributes:
        branches: the denoiser's calls of the first evaluation, in order.
        before: what modules cost that are called before the loop, by name in the pipeline.
        after: what modules cost that are called after it.
        evaluations: evaluations of the loop.
    """

    branches: list[Branch] = field(default_factory=list)
    before: dict[str, Tally] = field(default_factory=dict)
    after: dict[str, Tally] = field(default_factory=dict)
    evaluations: int = 0

    @property
    def rows(self) -> int:
        """Rows of the batch, over all branches."""
        return sum(branch.request.rows for branch in self.branches)


class _Done(BaseException):
    """Ends the pipeline's call; no handler of errors may catch it."""


def follow(bones: Skeleton, arguments: Mapping[str, Any]) -> Course:
    """Calls a pipeline with its real arguments, and its modules with tensors that have no values.

    The pipeline's own code and its scheduler run as they are, on real tensors, so that tokens, masks, packed latents,
    timesteps and guidance reach the modules in the forms in which they always do; what modules give is zeros.

    Raises:
        InvalidJobError: The pipeline cannot be followed, or its denoiser cannot be captured; says where.
    """
    from asyncdiff_runtime.engine import EngineError
    from asyncdiff_runtime.engine.denoisers import Denoisers

    pipe, course = bones.pipe, Course()
    try:
        denoisers = Denoisers.of(pipe)
        with _without_values(bones, denoisers, course):
            pipe(**arguments)
    except _Done:
        pass
    except ContractError:
        raise
    except EngineError as error:
        raise InvalidJobError(str(error)) from error
    except Exception as error:
        raise InvalidJobError(
            f"{type(pipe).__name__} cannot be followed without weights ({type(error).__name__}: {error}); "
            "asyncdiff run --dry-run checks the job itself"
        ) from error
    if not course.branches:
        raise InvalidJobError(
            f"{type(pipe).__name__} called none of {', '.join(denoisers.denoisers)} before its scheduler's first "
            "step, so that its evaluations cannot be told apart"
        )
    return course


@contextmanager
def _without_values(bones: Skeleton, denoisers: Any, course: Course) -> Iterator[None]:
    """Answers calls of modules by forms alone, for the time of the context."""
    asking = _Asking(bones, course)
    replaced: list[tuple[Any, str]] = []

    def replace(owner: Any, name: str, function: Callable[..., Any]) -> None:
        owner.__dict__[name] = function
        replaced.append((owner, name))

    for name, module in bones.modules.items():
        replace(module, "to", asking.moved(module))
        if name in denoisers.companions:
            replace(module, "forward", asking.companion(name, module))
        elif name in denoisers.denoisers:
            replace(module, "forward", asking.denoiser(module))
        else:
            for method in ("forward", "encode", "decode"):
                if hasattr(module, method):
                    replace(module, method, asking.other(name, getattr(module, method)))
    replace(bones.pipe.scheduler, "step", asking.step(bones.pipe))
    try:
        yield
    finally:
        for owner, name in replaced:
            del owner.__dict__[name]


class _Asking:
    """Answers the calls of a pipeline's modules with zeros, and notes them."""

    def __init__(self, bones: Skeleton, course: Course) -> None:
        self._mode = bones.mode
        self._course = course
        self._pending: list[Companion] = []
        self._known: dict[Any, tuple[Captured, Any]] = {}

    def other(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """A text encoder's or an autoencoder's method."""

        def asked(*args: Any, **kwargs: Any) -> Any:
            course = self._course
            if course.after and name not in course.after:
                raise _Done  # a checker of finished pictures, which looks at values
            given, tally = without_values(self._mode, method, *args, **kwargs)
            noted = course.after if course.evaluations else course.before
            noted[name] = noted[name].then(tally) if name in noted else tally
            return zeros_like(given)

        return asked

    def companion(self, name: str, module: nn.Module) -> Callable[..., Any]:
        """A ControlNet's forward: evaluated for its form, and joined to the denoiser's call."""
        from torch.utils import _pytree as pytree

        from asyncdiff_runtime.engine.call import Call, Parameters
        from asyncdiff_runtime.engine.request import Companion

        plain = module.forward
        parameters = Parameters.of(plain)

        def asked(*args: Any, **kwargs: Any) -> Any:
            given = zeros_like(without_values(self._mode, plain, *args, **kwargs)[0])
            call = Call.of(module, plain, parameters.named(args, kwargs))
            self._pending.append(Companion(name, call, pytree.tree_flatten(given)))
            return given

        return asked

    def denoiser(self, module: nn.Module) -> Callable[..., Any]:
        """A denoiser's forward: captured, once for calls of one form."""
        from asyncdiff_runtime.engine.call import Call, Parameters
        from asyncdiff_runtime.engine.graph.capture import capture
        from asyncdiff_runtime.engine.request import Request

        plain = module.forward
        parameters = Parameters.of(plain)

        def asked(*args: Any, **kwargs: Any) -> Any:
            call = Call.of(module, plain, parameters.named(args, kwargs))
            request = Request.of(call, self._pending)
            key = (request.signature(), *(id(one.module) for one in request.calls))
            if key not in self._known:
                with self._mode:
                    captured = capture(request)
                self._known[key] = captured, output_of(captured)
            captured, output = self._known[key]
            if not self._course.evaluations:
                self._course.branches.append(Branch(request, captured, _bytes(output)))
            return zeros_like(output)

        return asked

    def step(self, pipe: Any) -> Callable[..., Any]:
        """The scheduler's step, which ends an evaluation."""
        from asyncdiff_runtime.engine.timesteps import Timesteps

        plain = pipe.scheduler.step

        def asked(*args: Any, **kwargs: Any) -> Any:
            self._course.evaluations = Timesteps.of(pipe, pipe.scheduler).end
            self._pending.clear()
            return plain(*args, **kwargs)

        return asked

    def moved(self, module: nn.Module) -> Callable[..., Any]:
        """A module's `to`, by which some pipelines decode in float32."""
        import torch

        def asked(*args: Any, **kwargs: Any) -> Any:
            named = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.dtype)]
            with self._mode:
                return cast(module, named[0]) if named else module

        return asked


def without_values(mode: Any, method: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Tally]:
    """What a module's method gives for arguments in the form of those, and what it costs; no values are made."""
    import torch
    from torch.utils import _pytree as pytree

    def fake(leaf: Any) -> Any:
        return mode.from_tensor(leaf) if isinstance(leaf, torch.Tensor) else leaf

    args, kwargs = pytree.tree_map(fake, (args, kwargs))
    with torch.no_grad(), mode, Tally() as tally:
        return method(*args, **kwargs), tally


def zeros_like(value: Any) -> Any:
    """The same value with zeros for its tensors; distributions of latents are known by their attributes."""
    import torch
    from torch.utils import _pytree as pytree

    def real(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return torch.zeros(leaf.shape, dtype=leaf.dtype)
        if hasattr(leaf, "parameters") and hasattr(leaf, "sample"):
            return type(leaf)(torch.zeros(leaf.parameters.shape, dtype=leaf.parameters.dtype))
        return leaf

    return pytree.tree_map(real, value)


def output_of(captured: Captured) -> Any:
    """The denoiser's output, in form."""
    from torch.utils import _pytree as pytree

    (output,) = (node for node in captured.graph.graph.nodes if node.op == "output")
    return pytree.tree_unflatten([source.meta["val"] for source in output.args[0]], captured.tree)


def _bytes(value: Any) -> int:
    from torch.utils import _pytree as pytree

    return sum(
        leaf.numel() * leaf.element_size() for leaf in pytree.tree_leaves(value) if hasattr(leaf, "numel")
    )
