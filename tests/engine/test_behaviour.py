"""What people do with a pipeline between and during generations, under the engine."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from asyncdiff_runtime.engine import (
    Data,
    Exact,
    LayoutError,
    Lookahead,
    LookaheadRefused,
    Parallel,
    PipelineRefused,
    parallelize,
)
from support.pipelines import FLOW, SCHEDULERS, SECOND_ORDER, STOCHASTIC, tiny
from support.toy import curved, toy
from torch import Tensor

LOOKAHEAD = Lookahead(degree=2, tolerance=0.5, warmup=2, exact_tail=1)
SD, SDXL, SD3 = tiny("sd15"), tiny("sdxl"), tiny("sd3")


def figures(parallel: Parallel) -> tuple[int, int, int]:
    """Evaluations, accepted and rejected of the latest generation."""
    report = parallel.report
    assert report is not None
    return report.evaluations, report.accepted, report.rejected


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name not in FLOW])
def test_each_scheduler_is_exact_or_looks_ahead(name: str) -> None:
    pipe = SD.build()
    pipe.scheduler = SCHEDULERS[name](pipe.scheduler.config)
    plain = SD.result(pipe, steps=8)
    with parallelize(pipe, Exact()):
        assert torch.equal(SD.result(pipe, steps=8), plain)
    with parallelize(pipe, Lookahead(degree=2, tolerance=0.0)):
        assert torch.equal(SD.result(pipe, steps=8), plain)
    with parallelize(pipe, Lookahead(degree=2, tolerance=0.2, warmup=2)) as parallel:
        result = SD.result(pipe, steps=8)
    evaluations, accepted, _ = figures(parallel)
    assert evaluations >= 8
    assert torch.isfinite(result).all()
    report = parallel.report
    assert report is not None
    assert bool(report.notes) == (name in STOCHASTIC)
    if name in SECOND_ORDER:
        assert evaluations == 15
        assert accepted > 0


@pytest.mark.parametrize("name", sorted(FLOW))
def test_each_flow_scheduler_is_exact_or_looks_ahead(name: str) -> None:
    pipe = SD3.build()
    pipe.scheduler = SCHEDULERS[name](pipe.scheduler.config)
    plain = SD3.result(pipe, steps=8)
    with parallelize(pipe, Exact()):
        assert torch.equal(SD3.result(pipe, steps=8), plain)
    with parallelize(pipe, LOOKAHEAD) as parallel:
        assert torch.isfinite(SD3.result(pipe, steps=8)).all()
    assert figures(parallel)[1] > 0 or name not in ("flow-euler", "flow-heun")


def test_an_unknown_scheduler_is_refused_for_lookahead_only() -> None:
    class OwnScheduler(type(toy(curved).scheduler)):  # type: ignore[misc]  # -- a class made here
        pass

    class Unrelated:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    pipe = toy(curved)
    plain = pipe()
    pipe.scheduler = OwnScheduler.from_config(pipe.scheduler.config)
    with parallelize(pipe, LOOKAHEAD) as parallel:
        pipe()
    assert figures(parallel)[1] > 0, "a subclass of a known scheduler is known"
    pipe.scheduler = Unrelated(pipe.scheduler)
    with (
        parallelize(pipe, LOOKAHEAD),
        pytest.raises(LookaheadRefused, match=r"Unrelated are not known. Use Exact"),
    ):
        pipe()
    with parallelize(pipe, Exact()):
        assert torch.equal(pipe(), plain)


@pytest.mark.parametrize("guidance", [1.0, 3.0, 7.5])
@pytest.mark.parametrize("batch", [1, 3])
def test_guidance_on_and_off(guidance: float, batch: int) -> None:
    pipe = SDXL.build()
    plain = SDXL.result(pipe, guidance=guidance, batch=batch)
    with parallelize(pipe, Exact(), guidance_split=True if guidance > 1 else "auto"):
        split = SDXL.result(pipe, guidance=guidance, batch=batch)
    assert torch.allclose(split, plain, rtol=1e-3, atol=1e-3)


def test_guidance_rescale_is_contained_in_the_inputs() -> None:
    pipe = SD.build()
    with parallelize(pipe, LOOKAHEAD) as parallel:
        SD.result(pipe, steps=8, guidance_rescale=0.7)
    assert figures(parallel)[1] > 0


def test_nothing_leaks_from_one_generation_into_the_next() -> None:
    pipe = SDXL.build()
    calls: list[dict[str, Any]] = [
        {"seed": 0},
        {"seed": 1, "batch": 3},
        {"seed": 2, "steps": 9},
        {"seed": 3, "guidance": 1.0},
        {"seed": 4, "height": 32, "width": 64},
        {"seed": 0},
    ]
    fresh = []
    for call in calls:
        with parallelize(pipe, LOOKAHEAD):
            fresh.append(SDXL.result(pipe, **call))
    with parallelize(pipe, LOOKAHEAD):
        for call, expected in zip(calls, fresh, strict=True):
            assert torch.equal(SDXL.result(pipe, **call), expected)


def _replaces_embeddings(at: int) -> Callable[..., dict[str, Any]]:
    def callback(_pipe: Any, step: int, _timestep: Tensor, state: dict[str, Any]) -> dict[str, Any]:
        return {"prompt_embeds": state["prompt_embeds"].flip(1)} if step == at else {}

    return callback


def test_a_callback_that_replaces_the_prompt_is_obeyed_at_once() -> None:
    pipe = SD.build()
    extra: dict[str, Any] = {
        "steps": 10,
        "callback_on_step_end": _replaces_embeddings(4),
        "callback_on_step_end_tensor_inputs": ["prompt_embeds"],
    }
    plain = SD.result(pipe, **extra)
    assert not torch.equal(plain, SD.result(pipe, steps=10))
    with parallelize(pipe, Lookahead(degree=2, tolerance=0.0, warmup=1)):
        assert torch.equal(SD.result(pipe, **extra), plain)
    with parallelize(pipe, LOOKAHEAD) as parallel:
        SD.result(pipe, **extra)
    evaluations, accepted, rejected = figures(parallel)
    assert accepted + rejected < evaluations // 2, (
        "what was made ahead for the old prompt is dropped, not compared"
    )


def test_guidance_dropped_midway_by_a_callback() -> None:
    pipe = SD.build()

    def callback(pipe: Any, step: int, _timestep: Tensor, state: dict[str, Any]) -> dict[str, Any]:
        if step != 3:
            return {}
        pipe._guidance_scale = 0.0
        return {"prompt_embeds": state["prompt_embeds"].chunk(2)[-1]}

    extra: dict[str, Any] = {
        "steps": 9,
        "callback_on_step_end": callback,
        "callback_on_step_end_tensor_inputs": ["prompt_embeds"],
    }
    plain = SD.result(pipe, **extra)
    with parallelize(pipe, Exact()):
        assert torch.equal(SD.result(pipe, **extra), plain)
    with parallelize(pipe, Lookahead(degree=2, tolerance=0.0, warmup=1)):
        assert torch.equal(SD.result(pipe, **extra), plain)


def test_an_interrupted_generation_and_a_good_one_after_it() -> None:
    pipe = SD.build()
    plain = SD.result(pipe, seed=1)

    def interrupt(pipe: Any, step: int, _timestep: Tensor, _state: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = step >= 2
        return {}

    with parallelize(pipe, Lookahead(degree=2, tolerance=0.0, warmup=1)) as parallel:
        SD.result(pipe, callback_on_step_end=interrupt)
        assert figures(parallel)[0] == 3
        assert torch.equal(SD.result(pipe, seed=1), plain)


def test_an_exception_midway_and_a_good_generation_after_it() -> None:
    pipe = SD.build()
    plain = SD.result(pipe, seed=1)

    def fail(_pipe: Any, step: int, _timestep: Tensor, _state: dict[str, Any]) -> dict[str, Any]:
        if step == 3:
            raise KeyboardInterrupt
        return {}

    with parallelize(pipe, Lookahead(degree=2, tolerance=0.0, warmup=1)):
        with pytest.raises(KeyboardInterrupt):
            SD.result(pipe, callback_on_step_end=fail)
        assert torch.equal(SD.result(pipe, seed=1), plain)


def test_the_scheduler_may_be_replaced_between_generations() -> None:
    pipe = SD.build()
    with parallelize(pipe, Lookahead(degree=2, tolerance=0.0, warmup=1)):
        for name in ("Euler", "DDIM", "Heun") if "Euler" in SCHEDULERS else list(SCHEDULERS)[:3]:
            pipe.scheduler = SCHEDULERS[name](pipe.scheduler.config)
            ahead = SD.result(pipe)
            other = SD.build()
            other.scheduler = SCHEDULERS[name](other.scheduler.config)
            assert torch.equal(ahead, SD.result(other))


def test_a_lora_scale_may_change_between_generations() -> None:
    from peft import LoraConfig

    pipe = SD.build()
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False), "style")

    def scaled(scale: float) -> Tensor:
        return SD.result(pipe, cross_attention_kwargs={"scale": scale})

    plain = [scaled(0.0), scaled(1.0)]
    assert not torch.equal(*plain)
    with parallelize(pipe, Exact()):
        assert torch.equal(scaled(0.0), plain[0])
        assert torch.equal(scaled(1.0), plain[1])


def test_a_deep_copy_is_plain_and_can_be_parallelized_itself() -> None:
    pipe = SD.build()
    plain = SD.result(pipe)
    with parallelize(pipe, LOOKAHEAD) as parallel:
        SD.result(pipe)
        clone = copy.deepcopy(pipe)
        with torch.no_grad():
            clone.unet.conv_out.weight.mul_(2)
        before = parallel.report
        assert not torch.equal(SD.result(clone), plain)
        assert parallel.report == before, "the copy is not the engine's"
        with parallelize(clone, LOOKAHEAD) as other:
            SD.result(clone)
        assert figures(other)[1] > 0
        SD.result(pipe)
    assert torch.equal(SD.result(pipe), plain)


def test_restore_leaves_no_trace() -> None:
    pipe = SD.build()
    before = set(vars(pipe.unet))
    parallel = parallelize(pipe, LOOKAHEAD)
    parallel.restore()
    parallel.restore()
    assert set(vars(pipe.unet)) == before


def test_what_the_engine_cannot_work_beneath_is_refused_with_the_remedy() -> None:
    pipe = SD.build()
    with parallelize(pipe, Exact()), pytest.raises(PipelineRefused, match=r"restore\(\)"):
        parallelize(pipe, Exact())
    with pytest.raises(PipelineRefused, match=r"its modules are .*unet"):
        parallelize(pipe, Exact(), denoiser="transformer")
    pipe.unet.compile()
    with pytest.raises(PipelineRefused, match="compile='auto'"):
        parallelize(pipe, Exact())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"degree": 0}, "at least 1"),
        ({"tolerance": -1.0}, "at least 0"),
        ({"warmup": 0}, "first evaluation is always exact"),
        ({"exact_tail": -1}, "counts evaluations"),
        ({"data_deviation": 0.0}, "positive"),
    ],
)
def test_a_strategy_out_of_bounds_says_what_is_wanted(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(LayoutError, match=words):
        Lookahead(**arguments)


def test_data_without_a_split_is_refused_on_several_ranks_only() -> None:
    with parallelize(toy(curved), Data(), guidance_split=False) as parallel:
        assert parallel.layout.slots == 1
