"""Which kernels attention runs on, as a model's own attention back end chooses them.

Diffusers' back ends choose by a setting of torch that holds during the call (`sdpa_kernel`). A graph keeps the call and
not the setting, so the setting is noted while the modules run, and holds while the graph does.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from ..errors import CaptureRefused

Kernels = frozenset[SDPBackend]

Setting = Callable[[], AbstractContextManager[Any]]
"""Makes a setting of torch that holds within a block."""


def allowed_kernels() -> Kernels:
    """Which kernels `scaled_dot_product_attention` may choose from at this moment."""
    backends = torch.backends.cuda
    allowed = {
        SDPBackend.FLASH_ATTENTION: backends.flash_sdp_enabled(),
        SDPBackend.EFFICIENT_ATTENTION: backends.mem_efficient_sdp_enabled(),
        SDPBackend.MATH: backends.math_sdp_enabled(),
        SDPBackend.CUDNN_ATTENTION: backends.cudnn_sdp_enabled(),
    }
    return frozenset(kernel for kernel, may in allowed.items() if may)


class KernelsSeen(TorchFunctionMode):
    """Notes the kernels that each attention may choose from.

    Attributes:
        seen: the choices met.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[Kernels] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Notes what holds at an attention, and does it."""
        if func is torch.nn.functional.scaled_dot_product_attention:
            self.seen.add(allowed_kernels())
        return func(*args, **(kwargs or {}))

    def setting(self) -> Setting:
        """What makes a graph's attention choose as the modules' did.

        Raises:
            CaptureRefused: they chose from other kernels in one place than in another.
        """
        if len(self.seen) > 1:
            raise CaptureRefused(
                "The denoiser's attentions run on other kernels in one place than in another, which its graph would "
                "not. Set one attention back end for all of it."
            )
        chosen = next(iter(self.seen), allowed_kernels())
        return nullcontext if chosen == allowed_kernels() else lambda: sdpa_kernel(list(chosen))
