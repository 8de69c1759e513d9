"""Rules between the fields of `spec.parallelism`: the arithmetic of ranks, stages and guidance groups."""

from typing import Final

from asyncdiff_api.expressions import SELF, Number, Truth, choose
from asyncdiff_api.parallelism import GuidanceSplit, Parallelism, Quality, StageWeights, Strategy
from asyncdiff_api.rule import Reason, Rule

_GPUS: Final = SELF.number("gpusPerPod")
_STRATEGY: Final = SELF.string("strategy")
_GROUPS: Final = choose(SELF.string("guidanceSplit").equals(GuidanceSplit.ALWAYS), 2, 1)


def _only_with(strategy: Strategy, name: str) -> Rule:
    return Rule(
        Parallelism,
        name,
        SELF.has(name).implies(_STRATEGY.is_one_of(Strategy.AUTO, strategy)),
        (
            f"{name} is read with strategy {strategy} or Auto, and strategy is ",
            _STRATEGY,
            f": remove {name}, or set strategy: {strategy}",
        ),
        Reason.FORBIDDEN,
    )


def _fits(when: Truth, part: Number, name: str) -> Rule:
    """Parts of one sample, each on a rank of its own."""
    return Rule(
        Parallelism,
        name,
        when.implies(part <= _GPUS),
        (
            f"{name} is ",
            part,
            " and gpusPerPod is ",
            _GPUS,
            f"; each needs a rank of its own: lower {name}, or set gpusPerPod to ",
            part,
        ),
    )


def _divides(when: Truth, part: Number, name: str) -> Rule:
    """Ranks of one sample: parts × guidance groups, which must divide the ranks of a pod."""
    together = part * _GROUPS
    return Rule(
        Parallelism,
        "gpusPerPod",
        when.implies((_GPUS % together).equals(0)),
        (
            "gpusPerPod is ",
            _GPUS,
            f", and {name} ",
            part,
            " × guidance groups ",
            _GROUPS,
            " = ",
            together,
            " ranks work on one sample: set gpusPerPod to a multiple of ",
            together,
            f", or change {name}",
        ),
    )


_STAGES: Final = SELF.number("asyncStages.stages")
_DEGREE: Final = choose(SELF.has("lookahead"), SELF.number("lookahead.degree"), 2)
_CUT: Final = SELF.collection("asyncStages.cut").size()

PARALLELISM_RULES: Final = (
    _only_with(Strategy.LOOKAHEAD, "lookahead"),
    _only_with(Strategy.ASYNC_STAGES, "asyncStages"),
    _only_with(Strategy.PATCHES, "patches"),
    _fits(SELF.has("asyncStages.stages"), _STAGES, "asyncStages.stages"),
    _fits(SELF.has("lookahead"), SELF.number("lookahead.degree"), "lookahead.degree"),
    _divides(
        _STRATEGY.equals(Strategy.ASYNC_STAGES) & SELF.has("asyncStages.stages"),
        _STAGES,
        "asyncStages.stages",
    ),
    _divides(_STRATEGY.equals(Strategy.LOOKAHEAD), _DEGREE, "lookahead.degree"),
    Rule(
        Parallelism,
        "gpusPerPod",
        (_GPUS % _GROUPS).equals(0),
        (
            "gpusPerPod is ",
            _GPUS,
            ", and guidanceSplit: Always makes 2 groups of equal size: set gpusPerPod to ",
            _GPUS + 1,
            ", or guidanceSplit: Auto",
        ),
    ),
    Rule(
        Parallelism,
        "gpusPerPod",
        _STRATEGY.is_one_of(Strategy.PATCHES, Strategy.CONTEXT).implies(_GPUS >= _GROUPS * 2),
        (
            "strategy ",
            _STRATEGY,
            " shares one sample among 2 or more ranks of each of ",
            _GROUPS,
            " guidance groups, and gpusPerPod is ",
            _GPUS,
            ": set gpusPerPod to ",
            _GROUPS * 2,
            " or more, or strategy: Data",
        ),
    ),
    Rule(
        Parallelism,
        "asyncStages.cut",
        SELF.has("asyncStages").implies(
            _CUT.equals(0)
            | (SELF.has("asyncStages.stages") & _CUT.equals(choose(_STAGES.equals(1), 2, _STAGES)))
        ),
        (
            "asyncStages.cut names ",
            _CUT,
            (
                " modules; the graph is a circle, so n stages begin at n modules (1 stage with stride > 1 "
                "at 2): set asyncStages.stages to match, or remove cut"
            ),
        ),
    ),
    Rule(
        Parallelism,
        "asyncStages.weights",
        SELF.has("asyncStages.stages").implies(
            SELF.string("asyncStages.weights").equals(StageWeights.REPLICATED) | (_STAGES >= 2)
        ),
        "weights: Sharded divides the denoiser among stages, and stages is 1: raise it, or remove weights",
    ),
    Rule(
        Parallelism,
        "quality",
        SELF.string("quality").equals(Quality.EXACT) | _STRATEGY.equals(Strategy.AUTO),
        (
            "quality says what strategy Auto may choose, and strategy is ",
            _STRATEGY,
            ": remove quality, or set strategy: Auto",
        ),
        Reason.FORBIDDEN,
    ),
)
