"""The cuts that AsyncDiff's authors published, by model and number of stages: paths of modules that begin a stage.

Those of SDXL are circles: the shell has what comes before the first and behind the last of these modules. All others
are chains, which begin where the denoiser does.

Source: Z. Chen et al.: AsyncDiff, NeurIPS 2024, and the configurations in its repository, czg1225/AsyncDiff.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

Cuts = Mapping[int, tuple[str, ...]]


def _cuts(*cuts: tuple[str, ...]) -> Cuts:
    return MappingProxyType({len(cut): cut for cut in cuts})


PUBLISHED: Final[Mapping[str, Cuts]] = MappingProxyType(
    {
        "SD 1.5": _cuts(
            ("conv_in", "up_blocks.1.attentions.1"),
            ("conv_in", "mid_block", "up_blocks.2.attentions.2"),
            ("conv_in", "down_blocks.2", "up_blocks.1.attentions.1", "up_blocks.3"),
        ),
        "SD 2.1": _cuts(
            ("conv_in", "up_blocks.1.attentions.2"),
            ("conv_in", "mid_block", "up_blocks.3"),
            ("conv_in", "down_blocks.2", "up_blocks.2", "up_blocks.3.attentions.0"),
        ),
        "SDXL": _cuts(
            ("down_blocks.2", "up_blocks.0.resnets.2"),
            ("down_blocks.2", "up_blocks.0.attentions.0", "up_blocks.1"),
            ("down_blocks.1.attentions.0", "mid_block", "up_blocks.0.resnets.1", "up_blocks.1"),
        ),
        "SD3": _cuts(
            ("pos_embed", "transformer_blocks.12"),
            ("pos_embed", "transformer_blocks.8", "transformer_blocks.16"),
            ("pos_embed", "transformer_blocks.6", "transformer_blocks.12", "transformer_blocks.18"),
        ),
        "SVD": _cuts(
            ("conv_in", "up_blocks.2"),
            ("conv_in", "down_blocks.3", "up_blocks.3"),
            ("conv_in", "down_blocks.1.resnets.1", "up_blocks.2", "up_blocks.3.resnets.1"),
        ),
        "AnimateDiff": _cuts(
            ("conv_in", "up_blocks.2"),
            ("conv_in", "mid_block", "up_blocks.3"),
        ),
    }
)
