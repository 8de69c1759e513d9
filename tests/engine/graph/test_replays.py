"""Recorded parts: what is copied to where they read, how many are kept, and what happens when none can be made."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from asyncdiff_runtime.engine.graph.buffers import Buffers
from asyncdiff_runtime.engine.graph.cuda_graphs import Recording, Replays, cuda_recorder
from asyncdiff_runtime.engine.graph.lowering import eager
from asyncdiff_runtime.engine.graph.parts import Part
from support.parts import part_of
from torch import Tensor

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="records CUDA graphs: needs a GPU")


@dataclass
class Tape:
    """A recorder for the CPU: work is done again on the same tensors, into the same outputs."""

    recorded: int = 0
    released: int = 0
    refusal: Exception | None = None
    outputs: list[tuple[Tensor, ...]] = field(default_factory=list)

    def __call__(self, work: Callable[[], tuple[Tensor, ...]]) -> Recording:
        if self.refusal is not None:
            raise self.refusal
        self.recorded += 1
        outputs = tuple(torch.full_like(output, float("nan")) for output in work())
        self.outputs.append(outputs)

        def replay() -> None:
            for output, made in zip(outputs, work(), strict=True):
                output.copy_(made)

        return Recording(replay, outputs, self.release)

    def release(self) -> None:
        self.released += 1


def scaled(weight: Tensor, x: Tensor, shift: Tensor) -> tuple[Tensor, ...]:
    return weight * x + shift, x - shift


@pytest.fixture
def tape() -> Tape:
    return Tape()


def examples(*, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight, x, shift = (torch.randn(2, 3, generator=generator) for _ in range(3))
    return weight, x, shift


def replayed(tape: Tape, capacity: int = 2) -> tuple[Part, Replays]:
    return part_of(scaled, examples()), Replays(eager, tape, capacity)


def same(given: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(given, wanted, strict=True))


def test_a_replay_gives_what_the_part_gives_for_every_new_value(tape: Tape) -> None:
    part, replays = replayed(tape)
    call = replays.lowered(part, examples(), {part.reads[0]})
    weight = examples()[0]

    for seed in range(4):
        _, x, shift = examples(seed=seed)
        assert same(call(weight, x, shift), scaled(weight, x, shift))
    assert tape.recorded == 1


def test_what_a_replay_gave_stays_as_it_is(tape: Tape) -> None:
    part, replays = replayed(tape)
    call = replays.lowered(part, examples(), {part.reads[0]})
    weight, x, shift = examples()

    first = call(weight, x, shift)
    call(weight, x + 1, shift)

    assert same(first, scaled(weight, x, shift))


def test_fixed_values_are_read_where_they_lie(tape: Tape) -> None:
    part, replays = replayed(tape)
    call = replays.lowered(part, examples(), {part.reads[0]})
    weight, x, shift = examples()
    call(weight, x, shift)

    weight.mul_(2)

    assert same(call(weight, x, shift), scaled(weight, x, shift))


def test_another_shape_has_its_recording_and_the_one_used_longest_ago_goes(tape: Tape) -> None:
    part, replays = replayed(tape)
    calls = [replays.lowered(part, examples(), ()) for _ in range(3)]
    values = examples()

    for call in (*calls[:2], *calls[:2]):
        call(*values)
    assert (tape.recorded, tape.released) == (2, 0)

    calls[2](*values)
    assert (tape.recorded, tape.released) == (3, 1)
    assert same(calls[0](*values), scaled(*values))
    assert (tape.recorded, tape.released) == (4, 2)


def test_a_part_that_nobody_holds_gives_its_recording_back() -> None:
    released = []
    recording = Recording(lambda: None, (), lambda: released.append(1))
    part, replays = part_of(scaled, examples()), Replays(eager, lambda _: recording)
    call = replays.lowered(part, examples(), ())
    call(*examples())
    assert not released

    del call
    gc.collect()
    assert released


def test_what_cannot_be_recorded_is_launched_plainly_and_said_once(
    tape: Tape, caplog: pytest.LogCaptureFixture
) -> None:
    tape.refusal = RuntimeError("operation not permitted when stream is capturing")
    part, replays = replayed(tape)
    call = replays.lowered(part, examples(), ())
    values = examples()

    with caplog.at_level(logging.WARNING):
        assert same(call(*values), scaled(*values))
        assert same(call(*values), scaled(*values))

    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "operation not permitted when stream is capturing" in record.getMessage()


def test_values_of_several_devices_are_never_recorded(tape: Tape, caplog: pytest.LogCaptureFixture) -> None:
    replays = Replays(lambda _, __: lambda *values: values, tape)
    call = replays.lowered(part_of(scaled, examples()), examples(), ())
    weight, x, shift = examples()

    with caplog.at_level(logging.WARNING):
        assert call(weight, x, shift.to("meta"))[1] is x
    assert tape.recorded == 0
    assert "several devices" in caplog.text


def test_only_values_that_changed_are_copied() -> None:
    _, x, shift = values = examples()
    buffers = Buffers(values, [1, 2])
    assert buffers.values[0] is values[0]
    assert buffers.values[1] is not x

    assert buffers.load(values) == 0
    x.add_(1)
    assert buffers.load(values) == 1
    assert buffers.load((values[0], x.clone(), shift)) == 1
    assert buffers.load((values[0], x.clone(), shift.clone())) == 2


def test_a_value_of_inference_mode_counts_no_writings_and_is_always_copied() -> None:
    with torch.inference_mode():
        value = torch.ones(3)
        buffers = Buffers([value], [0])
        value.add_(1)
        assert buffers.load([value]) == 1
    assert torch.equal(buffers.values[0], torch.full((3,), 2.0))


@pytest.mark.parametrize(
    "value",
    [
        torch.arange(12.0).reshape(3, 4).t(),
        torch.arange(3.0).reshape(1, 3).expand(5, 3),
        torch.arange(6.0).reshape(2, 1, 3, 1).expand(2, 4, 3, 7),
        torch.tensor(7.0),
        torch.empty(0, 3),
        torch.arange(32.0).reshape(2, 4, 2, 2).to(memory_format=torch.channels_last),
    ],
    ids=["transposed", "expanded", "expanded twice", "scalar", "empty", "channels last"],
)
def test_a_buffer_has_the_form_of_its_value(value: Tensor) -> None:
    buffers = Buffers([value], [0])
    assert buffers.values[0].stride() == value.stride()
    assert torch.equal(buffers.values[0], value)

    assert buffers.load([(value + 1).contiguous()]) == 1
    assert torch.equal(buffers.values[0], value + 1)


@NEEDS_CUDA
def test_cuda_graphs_of_two_parts_take_turns_in_one_pool() -> None:
    device = torch.device("cuda")
    given = [tuple(value.to(device) for value in examples(seed=seed)) for seed in range(3)]
    replays = Replays(eager, cuda_recorder(device))
    part = part_of(scaled, given[0])
    calls = [replays.lowered(part, given[0], {part.reads[0]}) for _ in range(2)]
    weight = given[0][0]

    with torch.no_grad():
        for _, x, shift in given * 2:
            for call in calls:
                wanted = scaled(weight, x, shift)
                torch.testing.assert_close(call(weight, x, shift), wanted)


@NEEDS_CUDA
def test_a_part_that_waits_for_the_device_is_launched_plainly(caplog: pytest.LogCaptureFixture) -> None:
    device = torch.device("cuda")
    stream = torch.cuda.current_stream(device)
    values = tuple(value.to(device) for value in examples())
    part = part_of(scaled, values)

    def waiting(part: Part, examples: object) -> Callable[..., tuple[Tensor, ...]]:
        def run(*given: Tensor) -> tuple[Tensor, ...]:
            given[1].sum().item()
            made: tuple[Tensor, ...] = part.module(*given)
            return made

        return run

    call = Replays(waiting, cuda_recorder(device)).lowered(part, values, ())
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(call(*values), scaled(*values))
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
    assert torch.cuda.current_stream(device) == stream
