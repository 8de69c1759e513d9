"""What does not fit is told before weights are read, or after one try with a smaller batch."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from asyncdiff_api.formats.errors import DoesNotFitError, exit_code_of
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.formats.worklist import Position, WorklistLine
from asyncdiff_runtime.batch.generator import Made, Unmade
from asyncdiff_runtime.batch.memory import (
    Fitting,
    Room,
    files_of_part,
    free_memory,
    ran_out_of_memory,
    refuse_what_does_not_fit,
    weight_bytes,
)
from asyncdiff_runtime.batch.models import load_pipeline
from asyncdiff_runtime.batch.rank import in_contract_words
from diffusers import DiffusionPipeline
from support.models import in_volume, model_job, planned
from support.painting import paint
from torch import nn

GIB = 2**30


@dataclass
class Small:
    """A generator on a device that holds so many items."""

    room: int
    tried: list[int] = field(default_factory=list)

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        """As `Generator.generate`."""
        self.tried.append(len(items))
        if len(items) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has …")
        return [paint(item.seed) for item in items]


def items(count: int) -> list[WorkItem]:
    line = WorklistLine(prompt="a fox")
    return [WorkItem(f"{n:032x}", Position(0, 1, None), line, n, {}) for n in range(count)]


def test_a_batch_that_does_not_fit_is_halved_once_and_so_are_all_after_it() -> None:
    small, freed = Small(room=3), []
    fitting = Fitting(small, lambda: freed.append(True))
    made = [*fitting.generate(items(5)), *fitting.generate(items(4))]
    assert small.tried == [5, 2, 2, 1, 2, 2]
    assert freed == [True]
    wanted = [paint(item.seed) for item in (*items(5), *items(4))]
    for result, same in zip(made, wanted, strict=True):
        assert isinstance(result, Made)
        assert (result.pixels == same.pixels).all()


@pytest.mark.parametrize(("room", "count", "tried"), [(1, 8, [8, 4]), (0, 1, [1])])
def test_what_does_not_fit_then_is_given_up_with_the_bytes_it_wanted(
    room: int, count: int, tried: list[int]
) -> None:
    small = Small(room=room)
    with pytest.raises(DoesNotFitError, match=rf"{3 * GIB // 2} more bytes were wanted, \d+ are free"):
        Fitting(small, lambda: None).generate(items(count))
    assert small.tried == tried


@contextmanager
def room_for(room: int) -> Iterator[None]:
    """Leaves this process so many bytes of address space: its allocations beyond that are refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@dataclass
class Hungry:
    """A generator that takes half a gigabyte for each item, and so gets it from the system each time."""

    tried: list[int] = field(default_factory=list)

    def generate(self, items: Sequence[WorkItem]) -> Sequence[Made | Unmade]:
        """As `Generator.generate`."""
        self.tried.append(len(items))
        torch.empty(len(items) * GIB // 2, dtype=torch.uint8)
        return [paint(item.seed) for item in items]


def test_a_process_whose_memory_runs_out_makes_smaller_batches_and_then_ends_with_71() -> None:
    hungry = Hungry()
    fitting = Fitting(hungry, lambda: None)
    with room_for(3 * GIB):
        assert len(fitting.generate(items(8))) == 8
    assert hungry.tried == [8, 4, 4]
    with room_for(GIB), pytest.raises(DoesNotFitError, match=rf"{2 * GIB} more bytes were wanted"):
        fitting.generate(items(4))
    with pytest.raises(RuntimeError) as found:
        torch.empty(2**50, dtype=torch.uint8)
    assert exit_code_of(in_contract_words(found.value)) is ExitCode.DOES_NOT_FIT


class Enormous:
    """A pipeline class whose weights no machine has room for."""

    @classmethod
    def from_pretrained(cls, *_: object, **__: object) -> torch.Tensor:
        """As diffusers' own."""
        return torch.empty(2**50, dtype=torch.uint8)


def test_memory_that_runs_out_is_not_taken_for_a_fault_of_the_files(models: Path, tmp_path: Path) -> None:
    plan = replace(planned(model_job(in_volume("sdxl")), models, tmp_path), kind=Enormous)
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        load_pipeline(plan, "cpu")


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("std::bad_alloc")])
def test_other_errors_are_nobodys_memory(error: Exception) -> None:
    assert not ran_out_of_memory(error)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2)])
def test_weights_are_counted_from_headers_as_they_are_loaded(models: Path, dtype: str, size: int) -> None:
    pipe = DiffusionPipeline.from_pretrained(models / "sdxl", dtype=getattr(torch, dtype))
    parts = [part for part in pipe.components.values() if isinstance(part, nn.Module)]
    loaded = sum(tensor.numel() * tensor.element_size() for part in parts for tensor in part.parameters())
    counted = weight_bytes(models / "sdxl", dtype, "")
    assert loaded <= counted <= loaded + 4096 * len(parts)  # files hold buffers too


def test_a_model_larger_than_the_memory_is_refused_with_both_numbers(models: Path) -> None:
    needed = 2 * weight_bytes(models / "sdxl", "float32", "")
    room = Room(name="this machine", free_bytes=needed - 1, sharers=2)
    with pytest.raises(DoesNotFitError, match=rf"take {needed} bytes.*2 ranks.*has {needed - 1} bytes free"):
        refuse_what_does_not_fit(models / "sdxl", "float32", "", room)
    refuse_what_does_not_fit(models / "sdxl", "float32", "", Room(name="…", free_bytes=needed, sharers=2))


@pytest.mark.parametrize(
    ("variant", "chosen"), [("fp16", ["model.fp16.safetensors"]), ("", ["model.safetensors"])]
)
def test_of_two_variants_one_is_counted(tmp_path: Path, variant: str, chosen: list[str]) -> None:
    for name in ("model.safetensors", "model.fp16.safetensors", "model.bin"):
        (tmp_path / name).touch()
    assert [path.name for path in files_of_part(tmp_path, variant)] == chosen


def test_a_cgroup_leaves_less_than_the_machine(tmp_path: Path) -> None:
    cgroup = tmp_path / "sys/fs/cgroup"
    cgroup.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n")
    assert free_memory(tmp_path) == 8 * GIB
    (cgroup / "memory.max").write_text(f"{4 * GIB}\n")
    (cgroup / "memory.current").write_text(f"{3 * GIB}\n")
    (cgroup / "memory.stat").write_text(f"anon 5\ninactive_file {GIB}\n")
    assert free_memory(tmp_path) == 2 * GIB
    (cgroup / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) == 8 * GIB
