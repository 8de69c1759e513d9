"""Each form of request is captured once, and answered as its modules answer it."""

import gc
import logging
import weakref
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from asyncdiff_runtime.engine import CaptureRefused
from asyncdiff_runtime.engine.graph import states
from asyncdiff_runtime.engine.graph.capture import Captured
from asyncdiff_runtime.engine.graph.fingerprint import Fingerprint, fingerprint
from asyncdiff_runtime.engine.graph.programs import Answer, Programs
from asyncdiff_runtime.engine.report import Tally
from asyncdiff_runtime.engine.request import Visit
from support.requests import Control, Denoiser, Generations, controlled, counted, request, tensor
from torch import Tensor, nn


def interpreted(captured: Captured) -> Answer:
    """Runs a graph's operations one by one, as its modules would."""
    return lambda tensors, _: captured.run(tensors)


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def generations(warnings: list[str]) -> Generations:
    return Generations(Programs(interpreted, warn=warnings.append))


def test_a_form_is_captured_once_for_all_generations(generations: Generations) -> None:
    unet = Denoiser()
    asked = [lambda seed=seed: request(unet, seed) for seed in range(4)]
    assert generations.captures(*asked) == 1
    assert generations.captures(*asked) == 0
    other = tensor(7, 3)
    assert generations.captures(lambda: request(unet, text=other)) == 0, "another prompt"


@pytest.mark.parametrize(
    "changed",
    [
        {"rows": 3},
        {"text": tensor(1, 5)},
        {"text": tensor(1, 3).double()},
        {"text": tensor(1, 6)[::2]},
        {"mode": "plain"},
        {"timestep": torch.tensor([3.0])},
        {"timestep": 3.0},
    ],
    ids=["rows", "length", "dtype", "strides", "word", "timestep's shape", "timestep as a number"],
)
def test_another_form_is_captured_by_itself(generations: Generations, changed: dict[str, Any]) -> None:
    unet = Denoiser().double()
    given = {"sample": tensor(0, changed.get("rows", 2), 4).double(), "text": tensor(1, 3)} | changed
    assert generations.captures(lambda: request(unet, sample=tensor(0, 2, 4).double())) == 1
    assert generations.captures(lambda: request(unet, **given)) == 1
    assert generations.captures(lambda: request(unet, **given)) == 0


def test_a_timestep_given_as_a_number_is_a_value(generations: Generations) -> None:
    unet = Denoiser()
    asked = [lambda t=t: request(unet, timestep=t) for t in (999, 500, 3)]
    assert generations.captures(*asked) == 1


def test_a_conditioning_scale_is_a_value(generations: Generations) -> None:
    unet, control = Denoiser(), Control()
    asked = [lambda scale=scale: controlled(unet, control, scale) for scale in (0.8, 0.8, 0.4, 0.0)]
    assert generations.captures(*asked) == 1
    assert generations.captures(lambda: controlled(unet, control, 0.3)) == 0


def test_a_scale_that_must_be_a_number_is_one(generations: Generations, warnings: list[str]) -> None:
    class Choosing(Control):
        def forward(self, sample: Tensor, timestep: Tensor, conditioning_scale: float = 1.0) -> Any:
            if conditioning_scale == 0.0:
                return (self.layer(sample) * 0,)
            return super().forward(sample, timestep, conditioning_scale)

    unet, control = Denoiser(), Choosing()
    asked = [lambda scale=scale: controlled(unet, control, scale) for scale in (0.8, 0.8, 0.0, 0.8, 0.0)]
    assert generations.captures(*asked) == 2
    assert generations.captures(*asked) == 0
    assert warnings == []


def test_programs_replace_the_modules(generations: Generations) -> None:
    unet = Denoiser()
    with counted(unet.leave) as calls:
        generations.captures(*[lambda seed=seed: request(unet, seed) for seed in range(9)])
        # Each answer is compared with the modules by the test; one more at the first two evaluations and at capture.
        assert len(calls) == 9 + 2 + 1


def test_what_a_module_changes_in_itself_is_its_own_affair(generations: Generations) -> None:
    class Counting(Denoiser):
        asked = 0

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            self.asked += 1
            return super().forward(*args, **kwargs)

    unet = Counting()
    with torch.no_grad():
        for generation in range(1, 4):
            generations.programs.begin(Tally(generation))
            for seed in range(3):
                generations.programs(request(unet, seed))
            assert unet.asked == (2, 3, 3)[generation - 1], "the first two evaluations and the next first"


def test_the_modules_are_looked_at_once_a_generation(generations: Generations) -> None:
    unet = Denoiser()
    for captures in (1, 0):
        assert generations.captures(lambda: request(unet), lambda: request(unet)) == captures
    unet.strength = 2.0
    assert generations.captures(lambda: request(unet)) == 1
    assert "Captured again, since strength changed." in generations.tally.notes
    unet.strength = 1.0
    assert generations.captures(lambda: request(unet)) == 0, "the first state again"
    with torch.no_grad():
        unet.enter.weight.mul_(2)
    assert generations.captures(lambda: request(unet)) == 1


def test_a_generation_begins_before_the_modules_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    def prepare(captured: Captured) -> Answer:
        answer = interpreted(captured)

        def noted(tensors: Sequence[Tensor], visit: Visit | None) -> Any:
            happened.append("answer")
            return answer(tensors, visit)

        return noted

    def looked(module: nn.Module) -> Fingerprint:
        happened.append("look")
        return fingerprint(module)

    monkeypatch.setattr(states, "fingerprint", looked)
    generations, unet = Generations(Programs(prepare)), Denoiser()
    for _ in range(3):
        generations.captures(lambda: request(unet), lambda: request(unet))
    happened.clear()
    generations.captures(lambda: request(unet), lambda: request(unet))
    assert happened == ["answer", "look", "answer"], (
        "one answer for each request, the first one begun at once"
    )

    happened.clear()
    unet.strength = 2.0
    assert [generations.captures(lambda: request(unet)) for _ in range(3)] == [1, 0, 0], (
        "what was begun is dropped"
    )
    unet.strength = 1.0
    assert generations.captures(lambda: request(unet)) == 0, "also for a program that is known"


def test_what_was_begun_may_fail(generations: Generations) -> None:
    unet = Denoiser()
    for _ in range(3):
        generations.captures(lambda: request(unet))
    unet.enter.weight.data = tensor(0, 16, 4)
    unet.enter.bias.data = tensor(0, 16)
    unet.leave.weight.data = tensor(0, 4, 16)
    assert generations.captures(lambda: request(unet)) == 1


def test_programs_of_weights_that_are_gone_are_freed(generations: Generations) -> None:
    unet = Denoiser()
    generations.captures(lambda: request(unet))
    old = weakref.ref(unet.enter.weight)
    unet.enter = nn.Linear(4, 8)
    generations.captures(lambda: request(unet))
    gc.collect()
    assert old() is None


def test_the_programs_used_last_are_kept() -> None:
    generations, unet = Generations(Programs(interpreted, capacity=2)), Denoiser()

    def of(rows: int) -> int:
        return generations.captures(lambda: request(unet, rows=rows))

    assert [of(1), of(2), of(1), of(3), of(1), of(2)] == [1, 1, 0, 1, 0, 1]


def test_arguments_that_never_repeat_end_in_a_warning(warnings: list[str]) -> None:
    generations, unet = Generations(Programs(interpreted, capacity=2, warn=warnings.append)), Denoiser()
    asked = [lambda index=index: request(unet, mode=str(index)) for index in range(6)]
    assert generations.captures(*asked) == 2
    (warning,) = warnings
    assert "in more than 2 ways" in warning


class Deciding(nn.Module):
    """The part that decides."""

    def forward(self, hidden: Tensor) -> Any:
        if hidden.sum() > 0:
            return (hidden,)
        return (-hidden,)


class Branching(Denoiser):
    """Decides by a value of the latent, as no graph can."""

    def __init__(self) -> None:
        super().__init__()
        self.deciding = Deciding()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.deciding(super().forward(*args, **kwargs)[0])


def test_a_denoiser_without_a_graph_is_evaluated_by_its_modules(
    generations: Generations, warnings: list[str]
) -> None:
    unet = Branching()
    assert generations.captures(*[lambda seed=seed: request(unet, seed) for seed in range(3)]) == 0
    assert generations.captures(lambda: request(unet)) == 0
    (warning,) = warnings
    assert "`if hidden.sum() > 0:` (test_programs.py:" in warning
    assert "in denoiser.deciding (Deciding)" in warning
    assert generations.tally.notes == [warning], "every generation's report says so"


def test_strictly_it_is_an_error() -> None:
    generations = Generations(Programs(interpreted, strict=True))
    for _ in range(2):
        with pytest.raises(CaptureRefused, match=r"denoiser\.deciding"):
            generations.captures(lambda: request(Branching()))


def wrong(scale: float) -> Any:
    def prepare(captured: Captured) -> Answer:
        answer = interpreted(captured)
        return lambda tensors, visit: tuple(made * scale for made in answer(tensors, visit))

    return prepare


def test_a_program_that_is_wrong_at_once_is_never_used(warnings: list[str]) -> None:
    generations, unet = Generations(Programs(wrong(1.001), warn=warnings.append)), Denoiser()
    assert generations.captures(lambda: request(unet), lambda: request(unet, 1)) == 0
    assert "lies 1.0e-03 from that of its modules" in warnings[0]
    rounding = Generations(Programs(wrong(1.00001), exact=False, warn=warnings.append))
    rounding.programs.begin(rounding.tally)
    with torch.no_grad():
        rounding.programs(request(unet))
    assert rounding.tally.captures == 1


def test_a_graph_is_held_to_its_modules_more_closely_than_what_is_compiled_of_it(warnings: list[str]) -> None:
    class Drifting(Denoiser):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            (made,) = super().forward(*args, **kwargs)
            return (made * 1.00001 if torch.compiler.is_exporting() else made,)

    generations = Generations(Programs(interpreted, exact=False, warn=warnings.append))
    assert generations.captures(lambda: request(Drifting())) == 0
    assert "rounding explains 0e+00" in warnings[0]


def test_a_program_that_is_wrong_later_is_dropped(generations: Generations, warnings: list[str]) -> None:
    class Remembering(Denoiser):
        first: Tensor | None = None

        def forward(self, sample: Tensor, timestep: Tensor, text: Tensor) -> Any:  # type: ignore[override]  # -- no more is given
            if self.first is None:
                self.first = timestep.clone()
            return super().forward(sample, self.first if torch.compiler.is_exporting() else timestep, text)

    unet = Remembering()
    assert generations.captures(*[lambda seed=seed: request(unet, seed) for seed in range(3)]) == 1
    assert "so that it is not used" in warnings[0]


def test_random_numbers_are_refused_and_drawn_once(generations: Generations, warnings: list[str]) -> None:
    class Noisy(Denoiser):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            (made,) = super().forward(*args, **kwargs)
            return (made + torch.randn_like(made),)

    unet = Noisy()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        plain = [request(unet, seed).run()[0] for seed in range(3)]
        torch.manual_seed(3)
        generations.programs.begin(generations.tally)
        ours = [generations.programs(request(unet, seed))[0] for seed in range(3)]
    assert all(map(torch.equal, ours, plain))
    assert "random numbers" in warnings[0]


def test_with_gradients_the_modules_answer(generations: Generations) -> None:
    unet = Denoiser()
    generations.programs.begin(generations.tally)
    (made,) = generations.programs(request(unet))
    assert made.requires_grad
    assert generations.tally.captures == 0
    assert "Gradients" in generations.tally.notes[0]


def test_captures_are_logged(generations: Generations, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        generations.captures(lambda: request(Denoiser()))
    assert "Captured Denoiser in" in caplog.text
