"""The hooks through which a pipeline's own loop reaches the engine, as diffusers model hooks."""

from typing import Any

from diffusers.hooks.hooks import BaseState, HookRegistry, ModelHook, StateManager
from torch import nn

from .call import Call, Forward, Parameters
from .listed import listed
from .session import Session

HOOK_NAME = "asyncdiff"


class _ContextName(StateManager):
    """Receives the name that a pipeline gives its denoiser calls (`cache_context`)."""

    def __init__(self) -> None:
        super().__init__(BaseState)  # type: ignore[arg-type]  # -- diffusers means the class
        self.name: str | None = None

    def set_context(self, context: Any) -> None:
        """Diffusers calls this on entering and leaving `cache_context`."""
        self.name = getattr(context, "name", context)

    def reset(self, *_: Any, **__: Any) -> None:
        """Forgets the name."""
        self.name = None


class EngineHook(ModelHook):
    """Passes a module's calls on to the session.

    Args:
        module: the module it is for; a deep copy of the module keeps the hook, and is told by this.
        name: the module's name in the pipeline.
        session: answers the calls.
        companion: the module is called before the denoiser and answers it, as ControlNets do.
        forward: what evaluates the module, beneath the hook.
    """

    _is_stateful = True

    def __init__(
        self, module: nn.Module, name: str, session: Session, *, companion: bool, forward: Forward
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # -- diffusers is untyped
        self.module = module
        self.name = name
        self.session = session
        self.companion = companion
        self.evaluate = forward
        self.context = _ContextName()
        self.parameters = Parameters.of(forward)
        self._copy: nn.Module | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "EngineHook":
        """A copied module keeps pointing here, and is answered by its own plain forward."""
        return self

    def pre_forward(
        self, module: nn.Module, *args: Any, **kwargs: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Notes whether a deep copy of the module is being called."""
        self._copy = module if module is not self.module else None
        return args, kwargs

    def new_forward(self, _module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Answers the call."""
        if self._copy is not None:
            return type(self._copy).forward(self._copy, *args, **kwargs)
        call = Call.of(self.module, self.evaluate, self.parameters.named(args, kwargs))
        if self.companion:
            return self.session.defer(self.name, call)
        answer = self.session.denoise(self.name, self.context.name, call)
        return listed(answer) if call.listed else answer

    def reset_state(self, module: nn.Module) -> nn.Module:
        """Nothing of a generation is kept here."""
        return module


def attach(module: nn.Module, hook: EngineHook) -> None:
    """Puts the hook on its module; one that a deep copy brought along is taken off first."""
    detach(module)
    HookRegistry.check_if_exists_or_initialize(module).register_hook(hook, HOOK_NAME)


def detach(module: nn.Module) -> None:
    """Takes the hook off, and leaves the module as it was."""
    registry = getattr(module, "_diffusers_hook", None)
    if registry is None or registry.get_hook(HOOK_NAME) is None:
        return
    registry.remove_hook(HOOK_NAME, recurse=False)
    if not registry.hooks:
        # diffusers leaves the method in the instance, where it would hide a later patch of the class.
        module.__dict__.pop("forward", None)
        del module._diffusers_hook  # noqa: SLF001 -- diffusers' own attribute, made by its registry


def attached(module: nn.Module) -> bool:
    """Whether this very module carries the hook."""
    registry = getattr(module, "_diffusers_hook", None)
    hook = registry.get_hook(HOOK_NAME) if registry is not None else None
    return isinstance(hook, EngineHook) and hook.module is module
