"""AsyncDiff's recurrence, written out on three layers, against the engine's stages."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from asyncdiff_runtime.engine import AsyncStages, Exact, LayoutError, parallelize
from support import generations
from support.generations import Plan
from support.ranks import Ranks
from support.toy import Layers, ToyPipeline, layered
from torch import Tensor

CUT = ("second", "third")
STEPS = 9


class Recurrence(Layers):
    """Answers as two stages would: the shell has the first and the third layer, the other stage the second.

    Each evaluation that is not exact reads what the other stage had made by the end of the one before.
    """

    def __init__(self, *, stride: int, warmup: int, exact_tail: int, time_shift: bool) -> None:
        super().__init__()
        self.stride, self.warmup, self.exact_tail = stride, warmup, exact_tail
        self.time_shift = time_shift
        self.evaluation = 0
        self.shallow_before = self.deep_before = self.time_before = torch.zeros(())

    def forward(self, sample: Tensor, timestep: Tensor, condition: Tensor, **_: object) -> tuple[Tensor]:
        since = self.evaluation - self.warmup
        exact = since < 0 or self.evaluation >= STEPS - self.exact_tail
        time = timestep if exact or not self.time_shift else self.time_before
        shallow = self.shallow(sample, time)
        if exact:
            self.deep_before = self.deep(shallow, time, condition)
            prediction = self.last(self.deep_before, shallow)
        else:
            prediction = self.last(self.deep_before, shallow)
            if since % self.stride == 0:
                self.deep_before = self.deep(self.shallow_before, time, condition)
        self.shallow_before, self.time_before = shallow, timestep
        self.evaluation += 1
        return (prediction,)


def by_hand(
    *, seed: int = 0, stride: int, warmup: int, exact_tail: int = 0, time_shift: bool = False
) -> Tensor:
    """The latents after a generation by the recurrence."""
    written = Recurrence(stride=stride, warmup=warmup, exact_tail=exact_tail, time_shift=time_shift)
    return ToyPipeline(written, layered().scheduler)(steps=STEPS, seed=seed)  # type: ignore[arg-type]  # -- any serves


@pytest.mark.parametrize("warmup", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_stages_are_the_published_recurrence(stride: int, warmup: int) -> None:
    pipe = layered()
    plain = pipe(steps=STEPS)
    with parallelize(pipe, AsyncStages(stages=2, stride=stride, warmup=warmup, cut=CUT)):
        for seed in range(2):
            staged = pipe(steps=STEPS, seed=seed)
            assert torch.equal(staged, by_hand(seed=seed, stride=stride, warmup=warmup))
    assert not torch.equal(plain, by_hand(stride=stride, warmup=warmup))


def test_a_tail_is_exact_and_a_shifted_time_is_the_one_before() -> None:
    pipe = layered()
    for shifted in (False, True):
        strategy = AsyncStages(stages=2, warmup=2, exact_tail=3, cut=CUT, time_shift=shifted)
        with parallelize(pipe, strategy):
            assert torch.equal(
                pipe(steps=STEPS), by_hand(stride=1, warmup=2, exact_tail=3, time_shift=shifted)
            )


@pytest.mark.parametrize(
    "strategy",
    [AsyncStages(stages=2, warmup=STEPS), AsyncStages(stages=3, exact_tail=STEPS), AsyncStages(stages=1)],
    ids=["warm-up", "tail", "one stage"],
)
def test_where_nothing_is_old_the_result_is_the_sequential_one(strategy: AsyncStages) -> None:
    pipe = layered()
    plain = pipe(steps=STEPS)
    with parallelize(pipe, strategy):
        assert torch.equal(pipe(steps=STEPS), plain)


def test_one_stage_may_keep_its_deep_part() -> None:
    pipe = layered()
    with parallelize(pipe, AsyncStages(stages=1, stride=3, cut=CUT)):
        kept = pipe(steps=STEPS)
    fresh = layered()(steps=STEPS)
    assert not torch.equal(kept, fresh)
    assert torch.allclose(kept, fresh, rtol=0.2, atol=2.0)


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_give_the_recurrence_too(ranks: Callable[[int], Ranks], world: int) -> None:
    strategy = AsyncStages(stages=2, stride=2, warmup=2, cut=CUT)
    calls = tuple({"steps": STEPS, "seed": seed} for seed in range(2))
    split = by_rows(strategy) if world == 4 else None
    for answers in ranks(world).run(generations.of_layers, Plan(strategy, calls)):
        for seed, answer in enumerate(answers):
            assert not answer.refusal
            wanted = split[seed] if split else by_hand(seed=seed, stride=2, warmup=2).numpy()
            assert np.array_equal(answer.output, wanted)


def by_rows(strategy: AsyncStages) -> list[generations.Array]:
    """What one process gives that evaluates rows apart, as two teams do."""
    pipe = layered()
    with parallelize(pipe, strategy, guidance_split=True):
        return [pipe(steps=STEPS, seed=seed).numpy() for seed in range(2)]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"stages": 0}, "stages is 0"),
        ({"stages": 2, "stride": 0}, "stride is 0"),
        ({"stages": 2, "warmup": 0}, "warmup is 0; the first evaluation is always exact"),
        ({"stages": 3, "cut": CUT}, "cut names 2 modules; stages=3 begin at 3"),
        ({"stages": 1, "stride": 2}, "name where it begins and ends"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, int], sentence: str) -> None:
    with pytest.raises(LayoutError, match=sentence):
        AsyncStages(**fields)  # type: ignore[arg-type]  # -- as a user would


def test_a_denoiser_without_that_module_is_refused_with_the_nearest_names() -> None:
    pipe = layered()
    with (
        parallelize(pipe, AsyncStages(stages=2, cut=("secund", "third"))),
        pytest.raises(LayoutError, match=r"names 'secund', .* the nearest are second"),
    ):
        pipe()
    with parallelize(pipe, Exact()):
        pipe()
