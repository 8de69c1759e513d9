"""What a user may ask for: the strategies, as plain data."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from .errors import LayoutError


@dataclass(frozen=True, kw_only=True)
class Exact:
    """The sequential result: each evaluation is split by guidance branch and row, none is foretold."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """The sequential result for a batch: the rows of each denoiser call are spread over all ranks."""


@dataclass(frozen=True, kw_only=True)
class Lookahead:
    """Evaluates x of this evaluation exactly and, at the same time, foretold inputs of the next ones.

    A foretold evaluation is used only if its input turns out right within `tolerance`; no sample ever takes
    more evaluations one after the other than it does sequentially.
    """

    degree: int = 2
    """Evaluations of one round, run side by side."""

    tolerance: float = 0.03
    """Largest |x − x̂| / (σ·|noise|) at which a foretold evaluation is used: 0 accepts none but perfect ones,
    infinity accepts all without waiting for the comparison."""

    warmup: int = 3
    """Evaluations at the start that are exact, at least 1."""

    exact_tail: int = 2
    """Evaluations at the end that are exact."""

    data_deviation: float = 1.0
    """Standard deviation of clean latents, in latent units; scales the correction of a foretold prediction."""

    def __post_init__(self) -> None:
        rules = (
            (
                self.degree >= 1,
                f"degree is {self.degree}; it counts evaluations of a round and is at least 1.",
            ),
            (
                self.tolerance >= 0,
                f"tolerance is {self.tolerance}; it is a relative distance and at least 0.",
            ),
            (
                self.warmup >= 1,
                f"warmup is {self.warmup}; the first evaluation is always exact, so at least 1.",
            ),
            (
                self.exact_tail >= 0,
                f"exact_tail is {self.exact_tail}; it counts evaluations and is at least 0.",
            ),
            (self.data_deviation > 0, f"data_deviation is {self.data_deviation}; it must be positive."),
        )
        for holds, message in rules:
            if not holds:
                raise LayoutError(message)


class StageWeights(StrEnum):
    """Which of the denoiser's weights a rank holds."""

    REPLICATED = "replicated"
    """All of them."""
    SHARDED = "sharded"
    """Those that its stage reads. The others are never read, or let go before the first evaluation."""


@dataclass(frozen=True, kw_only=True)
class AsyncStages:
    """The denoiser's graph cut into stages that work at the same time, each on what the others gave an evaluation ago.

    Source: Z. Chen et al.: AsyncDiff, NeurIPS 2024.
    """

    stages: int
    """Ranks that share an evaluation. One with a stride refreshes its deep part at every `stride`-th evaluation."""

    stride: int = 1
    """Evaluations from one refresh of every stage but the shell, which makes the prediction, to the next."""

    warmup: int = 1
    """Evaluations at the start that are exact, at least 1."""

    exact_tail: int = 0
    """Evaluations at the end that are exact."""

    cut: "tuple[str, ...] | Literal['auto']" = "auto"
    """Paths of the modules at which stages begin, as `up_blocks.1`, in the order in which they run; "auto" chooses the
    places at which the slowest stage is quickest."""

    weights: StageWeights | Literal["replicated", "sharded"] = StageWeights.REPLICATED
    """Which of the denoiser's weights a rank holds. Where they are sharded, `cut="auto"` gives no stage more than an
    even share and a tenth of all, if there is such a cut."""

    time_shift: bool = False
    """Gives the denoiser the timestep of the evaluation before, which suits what it reads of it."""

    def __post_init__(self) -> None:
        if self.weights not in tuple(StageWeights):
            raise LayoutError(f"weights is {self.weights!r}; there are {' and '.join(StageWeights)}.")
        named = 0 if self.cut == "auto" else len(self.cut)
        wanted = 2 if self.stages == 1 else self.stages
        rules = (
            (self.stages >= 1, f"stages is {self.stages}; it counts ranks and is at least 1."),
            (self.stride >= 1, f"stride is {self.stride}; it counts evaluations and is at least 1."),
            (
                self.warmup >= 1,
                f"warmup is {self.warmup}; the first evaluation is always exact, so at least 1.",
            ),
            (
                self.exact_tail >= 0,
                f"exact_tail is {self.exact_tail}; it counts evaluations and is at least 0.",
            ),
            (
                self.cut == "auto" or named == wanted,
                f"cut names {named} modules; stages={self.stages} begin at {wanted}.",
            ),
            (
                self.cut != "auto" or self.stages > 1 or self.stride == 1,
                "stages=1 with a stride keeps a deep part of the denoiser: name where it begins and ends with cut=.",
            ),
        )
        for holds, message in rules:
            if not holds:
                raise LayoutError(message)

    @property
    def sharded(self) -> bool:
        """Whether a rank holds its stage's weights alone."""
        return self.weights == StageWeights.SHARDED

    def exact(self, evaluation: int, evaluations: int) -> bool:
        """Whether an evaluation, counted from 0, reads nothing old."""
        alone = self.stages == 1 and self.stride == 1
        return alone or evaluation < self.warmup or evaluation >= evaluations - self.exact_tail


Strategy = Exact | Data | Lookahead | AsyncStages
