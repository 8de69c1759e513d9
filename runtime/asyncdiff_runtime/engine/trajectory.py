"""Predicting a denoiser's later inputs, and correcting its answers once the true input is known.

Between two evaluations an ODE sampler moves the latent along a line whose direction is its last prediction.
The input of evaluation i + k is therefore foretold on the line through the last two true inputs, in the
coordinates in which that line is straight (`Evaluations.input_scale`). Guidance, rescaling and thresholding
are contained in the inputs and need not be known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .errors import LookaheadRefused
from .evaluations import Coordinates, Evaluations, Prediction


@dataclass(frozen=True, eq=False)
class _Point:
    """A true input: its noise level and its latent part in straight coordinates, float32."""

    sigma: float
    latent: Tensor


@dataclass(eq=False)
class Trajectory:
    """The true inputs of one denoiser call so far, as far as prediction needs them.

    Args:
        table: the generation's evaluations.
        data_deviation: standard deviation of clean latents, in latent units.
    """

    table: Evaluations
    data_deviation: float = 1.0
    _first: Tensor | None = field(default=None, init=False)
    _constant: Tensor | None = field(default=None, init=False)
    _compared: bool = field(default=False, init=False)
    _previous: _Point | None = field(default=None, init=False)
    _last: _Point | None = field(default=None, init=False)

    @property
    def ready(self) -> bool:
        """Two true inputs at distinct noise levels are known, so that a line can be drawn."""
        return self._previous is not None

    def observe(self, index: int, x: Tensor) -> None:
        """Records the true input `x` of evaluation `index`; another shape than before begins anew."""
        if self._first is None or self._first.shape != x.shape:
            self._first, self._compared = x.clone(), False
            self._constant = self._previous = self._last = None
        elif not self._compared:
            self._constant, self._compared = constant_part(self._first, x), True
        sigma = self.table.sigmas[index]
        if self._last is not None and self._last.sigma != sigma:
            self._previous = self._last
        self._last = _Point(sigma, x.float() * self.table.input_scale(index))

    def predict(self, index: int) -> Tensor:
        """Foretells the input of evaluation `index`, in the shape and dtype of the observed ones."""
        previous, last, first = self._previous, self._last, self._first
        assert previous is not None
        assert last is not None
        assert first is not None
        step = (self.table.sigmas[index] - last.sigma) / (last.sigma - previous.sigma)
        moved = torch.lerp(previous.latent, last.latent, 1.0 + step)
        moved = (moved / self.table.input_scale(index)).to(first.dtype)
        return moved if self._constant is None else torch.where(self._constant, first, moved)

    def offset(self, index: int, x: Tensor, foretold: Tensor) -> Tensor:
        """How far the true input `x` lies from the foretold one, in straight coordinates, float32."""
        return (x.float() - foretold.float()) * self.table.input_scale(index)

    def mismatch(self, index: int, x: Tensor, foretold: Tensor, prediction: Tensor) -> Tensor:
        """The largest |x − x̂| / (σ·|noise|) over the batch: a 0-dim tensor, 0 for a perfect forecast."""
        offset = self.offset(index, x, foretold)
        noise = self._noise(index, foretold, prediction)
        distance = offset.flatten(1).norm(dim=1)
        relative: Tensor = distance / (self.table.sigmas[index] * noise.flatten(1).norm(dim=1)).clamp_min(
            1e-12
        )
        return relative.amax()

    def corrected(self, index: int, x: Tensor, foretold: Tensor, prediction: Tensor) -> Tensor:
        """The prediction made at `foretold`, moved to the true input `x`.

        The data are taken as Gaussian with deviation s around the estimate, whose x₀ then moves by the
        posterior's Jacobian: s²/(σ² + s²) times the offset, or (1−t)s²/((1−t)²s² + t²) for flow models.
        """
        gain = correction_gain(self.table, index, self.data_deviation)
        offset = self._like(prediction, self.offset(index, x, foretold))
        return (prediction.float() + gain * offset).to(prediction.dtype)

    def check(self, prediction: Tensor) -> None:
        """Makes sure that inputs and predictions of this call can be related at all.

        Raises:
            LookaheadRefused: the changing part of the input has another shape than the prediction.
        """
        assert self._first is not None
        self._like(prediction, self._first.float())

    def _noise(self, index: int, x: Tensor, prediction: Tensor) -> Tensor:
        """The noise estimate that belongs to a prediction at input `x`, float32."""
        sigma, output = self.table.sigmas[index], prediction.float()
        if self.table.prediction is Prediction.NOISE:
            return output
        latent = self._like(prediction, x.float())
        if self.table.prediction is Prediction.FLOW:
            return latent + (1.0 - sigma) * output
        scale = self.table.input_scale(index)
        if self.table.prediction is Prediction.VELOCITY:
            return (sigma * latent + output) / scale
        return (latent * scale - output) / max(sigma, 1e-12)

    def _like(self, prediction: Tensor, x: Tensor) -> Tensor:
        """The part of an input-shaped tensor that the prediction speaks of, in the prediction's shape."""
        if x.shape == prediction.shape:
            return x
        if x.ndim != prediction.ndim:
            raise _unrelated(x.shape, prediction.shape)
        differing = [d for d in range(x.ndim) if x.shape[d] != prediction.shape[d]]
        if len(differing) != 1:
            raise _unrelated(x.shape, prediction.shape)
        (dim,) = differing
        if prediction.shape[dim] > x.shape[dim]:
            # A learned variance follows the prediction proper; it is left as it is.
            return torch.cat([x, x.new_zeros(_with(x.shape, dim, prediction.shape[dim] - x.shape[dim]))], dim)
        changing = self._changing(dim, x)
        if len(changing) != prediction.shape[dim]:
            raise _unrelated(x.shape, prediction.shape)
        return x.index_select(dim, changing)

    def _changing(self, dim: int, x: Tensor) -> Tensor:
        if self._constant is None:
            return torch.arange(x.shape[dim], device=x.device)
        others = [d for d in range(x.ndim) if d != dim]
        return (~self._constant.expand(x.shape).amin(others)).nonzero().flatten()


def correction_gain(table: Evaluations, index: int, data_deviation: float) -> float:
    """By what the offset of an input, in straight coordinates, is multiplied to correct its prediction."""
    sigma, variance = table.sigmas[index], data_deviation**2
    if table.coordinates is Coordinates.FLOW:
        signal = 1.0 - sigma
        return (1.0 - signal * variance / (signal**2 * variance + sigma**2)) / max(sigma, 1e-12)
    sample = variance / (sigma**2 + variance)
    noise = (1.0 - sample) / max(sigma, 1e-12)
    match table.prediction:
        case Prediction.NOISE:
            return noise
        case Prediction.SAMPLE:
            return sample
        case _:
            return float((noise - sigma * sample) / (1.0 + sigma**2) ** 0.5)


def constant_part(first: Tensor, second: Tensor) -> Tensor | None:
    """Channels, frames or tokens that are bit-equal in two inputs, as a mask that broadcasts to them.

    Masks, image latents and reference tokens are joined to the latent by many pipelines and must be copied,
    never scaled. Returns None where there are none.
    """
    equal = first == second
    constant: Tensor | None = None
    for dim in range(1, first.ndim):
        others = [d for d in range(first.ndim) if d != dim]
        along = equal.amin(others, keepdim=True)
        constant = along if constant is None else constant | along
    return constant if constant is not None and bool(constant.any()) else None


def _with(shape: Sequence[int], dim: int, size: int) -> tuple[int, ...]:
    return tuple(size if d == dim else length for d, length in enumerate(shape))


def _unrelated(x: Sequence[int], prediction: Sequence[int]) -> LookaheadRefused:
    return LookaheadRefused(
        f"The denoiser takes an input of shape {tuple(x)} and predicts {tuple(prediction)}; which part of the "
        f"input the prediction belongs to cannot be told, so later inputs cannot be corrected. Use Exact()."
    )
