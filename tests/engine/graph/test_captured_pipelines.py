"""Captured pipelines give the plain pictures, bit for bit, whatever is done to them between generations."""

import copy
import gc
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from asyncdiff_runtime.engine import (
    Capture,
    CaptureRefused,
    Exact,
    LayoutError,
    Lookahead,
    Lowering,
    Parallel,
    parallelize,
)
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig
from support import generations
from support.generations import Plan
from support.pipelines import TinyPipeline, tiny
from support.ranks import Ranks

pytestmark = pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute:UserWarning")

SD = tiny("sd15")
OTHER = ["two boats at dawn, oil on canvas"]

Change = Callable[[Any], object]


@dataclass(frozen=True)
class Twins:
    """A pipeline under the engine and a plain copy of it."""

    row: TinyPipeline
    pipe: Any
    plain: Any
    parallel: Parallel

    def captures(self, change: Change = id, **call: Any) -> int:
        """Does something to both, and counts what a generation then captures; the pictures have to be equal."""
        for pipe in (self.pipe, self.plain):
            change(pipe)
        call = {"steps": 2} | call
        assert torch.equal(self.row.result(self.pipe, **call), self.row.result(self.plain, **call))
        assert self.parallel.report is not None
        return self.parallel.report.captures


@pytest.fixture
def twins(request: pytest.FixtureRequest) -> Iterator[Twins]:
    row: TinyPipeline = getattr(request, "param", SD)
    plain = row.build()
    pipe = copy.deepcopy(plain)
    with parallelize(pipe, Exact(), capture="eager") as parallel:
        yield Twins(row, pipe, plain, parallel)


def adapt(pipe: Any) -> None:
    """Gives the UNet two adapters, the first of them active."""
    for seed, name in enumerate(("style", "subject")):
        torch.manual_seed(seed)
        pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False), name)
    pipe.unet.set_adapters("style")


@torch.no_grad()
def train(pipe: Any) -> None:
    pipe.unet.conv_in.weight.mul_(1.1)


DONE: Mapping[str, tuple[Change, int]] = {
    "adapters": (adapt, 1),
    "another adapter": (lambda pipe: pipe.unet.set_adapters("subject"), 1),
    "the first adapter again": (lambda pipe: pipe.unet.set_adapters("style"), 0),
    "another strength": (lambda pipe: pipe.unet.set_adapters("style", weights=[0.5]), 1),
    "fused": (lambda pipe: pipe.fuse_lora(components=["unet"]), 1),
    "unfused": (lambda pipe: pipe.unfuse_lora(components=["unet"]), 1),
    "FreeU": (lambda pipe: pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4), 1),
    "no FreeU": (lambda pipe: pipe.disable_freeu(), 1),
    "another processor": (lambda pipe: pipe.unet.set_attn_processor(AttnProcessor()), 1),
    "trained": (train, 1),
    "loaded": (lambda pipe: pipe.unet.load_state_dict(pipe.unet.state_dict()), 1),
}


def test_whatever_is_done_to_a_pipeline_shows_and_is_captured_when_it_has_to_be(twins: Twins) -> None:
    assert twins.captures() == 1
    assert twins.captures(prompt=OTHER, seed=1) == 0
    for done, (change, captures) in DONE.items():
        assert (done, twins.captures(change)) == (done, captures)
        assert (done, twins.captures(prompt=OTHER)) == (done, 0)


def test_another_strength_of_an_adapter_is_an_argument_like_others(twins: Twins) -> None:
    twins.captures(adapt)
    assert twins.captures(cross_attention_kwargs={"scale": 0.3}) == 1
    assert twins.captures(cross_attention_kwargs={"scale": 0.3}) == 0


@pytest.mark.parametrize("twins", [tiny("sd-image-to-image")], indirect=True, ids=["image-to-image"])
def test_sizes_are_captured_and_lengths_of_the_loop_are_not(twins: Twins) -> None:
    assert twins.captures(strength=0.5, steps=4) == 1
    assert twins.captures(strength=0.9, steps=5) == 0
    assert twins.captures(guidance=1.0) == 1
    assert twins.captures(batch=2) == 1


@pytest.mark.parametrize("twins", [tiny("flux")], indirect=True, ids=["flux"])
def test_attention_back_ends_and_fused_projections(twins: Twins) -> None:
    assert twins.captures() == 1
    assert twins.captures(lambda pipe: pipe.transformer.set_attention_backend("_native_math")) == 1
    assert twins.captures(lambda pipe: pipe.transformer.fuse_qkv_projections()) == 1
    assert twins.captures() == 0


@pytest.mark.parametrize("twins", [tiny("controlnets")], indirect=True, ids=["controlnets"])
def test_scales_that_fall_to_zero_half_way_are_captured_once(twins: Twins) -> None:
    assert twins.captures(steps=4) == 1
    assert twins.captures(steps=4, controlnet_conditioning_scale=[0.3, 0.9]) == 0


@pytest.mark.parametrize("twins", [tiny("lumina")], indirect=True, ids=["lumina"])
def test_a_denoiser_that_reads_lengths_off_its_mask_is_captured_for_them(twins: Twins) -> None:
    assert twins.captures() == 2, "for the prompt and the negative one"
    assert twins.captures(seed=1) == 0


class Looking(AttnProcessor):
    """Looks at values of the latent, on which it could decide something."""

    def __call__(self, attn: Any, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        assert hidden_states.isfinite().all()
        return super().__call__(attn, hidden_states, *args, **kwargs)


def test_what_cannot_be_captured_is_named_and_evaluated_by_its_modules(twins: Twins) -> None:
    assert twins.captures(lambda pipe: pipe.unet.set_attn_processor(Looking())) == 0
    assert twins.captures(prompt=OTHER) == 0
    report = twins.parallel.report
    assert report is not None
    assert "`assert hidden_states.isfinite().all()` (test_captured_pipelines.py" in report.notes[0]
    assert "it goes by values that depend on the latent" in report.notes[0]
    with (
        parallelize(twins.plain, Exact(), capture=Capture(lowering=Lowering.EAGER, strict=True)),
        pytest.raises(CaptureRefused, match="isfinite"),
    ):
        twins.row.result(twins.plain, steps=2)


@pytest.mark.parametrize(
    "strategy",
    [Exact(), Lookahead(degree=2, tolerance=0.5, warmup=2, exact_tail=1)],
    ids=["exact", "lookahead"],
)
def test_captured_ranks_give_what_plain_ranks_give(
    ranks: Callable[[int], Ranks], strategy: Exact | Lookahead
) -> None:
    calls = ({"seed": 0}, {"seed": 1, "prompt": OTHER})
    plans = [Plan(strategy, calls), Plan(strategy, calls, (("capture", "eager"),))]
    for plain, captured in ranks(2).run(generations.of_tiny, "sd15", plans):
        for ours, theirs in zip(captured, plain, strict=True):
            assert np.array_equal(ours.output, theirs.output), ours.refusal
        assert [answer.report.captures for answer in captured] == [1, 0]


def test_restore_frees_what_was_captured() -> None:
    pipe = SD.build()
    parallel = parallelize(pipe, Exact(), capture="eager")
    SD.result(pipe, steps=2)
    programs = weakref.ref(parallel._session.executor.evaluate)
    parallel.restore()
    gc.collect()
    assert programs() is None


def test_options_that_exclude_each_other_are_refused() -> None:
    pipe = SD.build()
    with pytest.raises(LayoutError, match="choose one of them"):
        parallelize(pipe, Exact(), compile="auto", capture="eager")
    with pytest.raises(LayoutError, match="there are eager"):
        parallelize(pipe, Exact(), capture="fast")
    with pytest.raises(LayoutError, match="keep at least 1"):
        Capture(programs=0)
