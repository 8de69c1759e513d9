"""What a user may ask for: the strategies, as plain data."""

from dataclasses import dataclass

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


Strategy = Exact | Data | Lookahead
