"""Signs of life of a real pipeline, whichever scheduler it has, and what they teach about the next ones."""

from __future__ import annotations

import json
import logging
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from asyncdiff_api.formats.items import WorkItem
from asyncdiff_api.formats.worklist import Position, WorklistLine
from asyncdiff_runtime.batch.generator import Generator
from asyncdiff_runtime.batch.heartbeat import Heartbeat, Pulse, Stage, pulse_file
from asyncdiff_runtime.batch.logs import FIELDS, JsonLines
from asyncdiff_runtime.batch.metering import Meter, Metered, watch_evaluations
from diffusers import DDIMScheduler, DiffusionPipeline, EulerDiscreteScheduler, HeunDiscreteScheduler
from support.painting import Painter

ITEM = WorkItem("0" * 32, Position(0, 1, None), WorklistLine(prompt="a fox"), 0, {})


class Said(dict[str, Any]):
    """What a rank has said last, by name; `phases` has them all."""

    def __init__(self) -> None:
        super().__init__()
        self.phases: list[str] = []

    def __call__(self, **changes: Any) -> None:
        self.update(changes)
        self.phases.extend([changes["phase"]] if "phase" in changes else [])


def meter_of(tmp_path: Path) -> tuple[Meter, Said]:
    said = Said()
    return Meter(Heartbeat(pulse_file(tmp_path, 0)), said, lambda: None), said


def pulse(folder: Path) -> Pulse:
    found = Pulse.read(pulse_file(folder, 0))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("scheduler", "steps", "evaluations"),
    [(EulerDiscreteScheduler, 5, 5), (HeunDiscreteScheduler, 3, 5), (DDIMScheduler, 4, 4)],
)
def test_every_evaluation_is_a_sign_of_life_with_its_number(
    models: Path, tmp_path: Path, scheduler: Any, steps: int, evaluations: int
) -> None:
    pipe = DiffusionPipeline.from_pretrained(models / "sdxl")
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    meter, _ = meter_of(tmp_path)
    watch_evaluations(pipe, meter)
    numbers: list[tuple[int, int]] = []
    pipe.unet.register_forward_hook(
        lambda *_: numbers.append((pulse(tmp_path).evaluation, pulse(tmp_path).evaluations))
    )
    for _ in range(2):  # of a second generation as of the first
        numbers.clear()
        meter.begin([ITEM])
        with meter.heartbeat.generation("kind"):
            pipe("a fox", num_inference_steps=steps, height=64, width=64, output_type="latent")
        assert numbers == [(number + 1, evaluations) for number in range(evaluations)]


def test_what_is_usual_is_learned_from_the_second_of_a_kind_on(tmp_path: Path) -> None:
    heartbeat, stages = Heartbeat(pulse_file(tmp_path, 0)), []
    for kind in ("square", "square", "wide", "square"):
        with heartbeat.generation(kind):
            heartbeat.evaluation(1, 2)
            stages.append(pulse(tmp_path).stage)
        assert pulse(tmp_path).stage is Stage.APART
    assert stages == [Stage.NEW, Stage.NEW, Stage.NEW, Stage.KNOWN]
    assert pulse(tmp_path).longest_generation >= pulse(tmp_path).longest_gap > 0
    assert pulse(tmp_path).generation == 4


def test_a_generation_that_fails_teaches_nothing(tmp_path: Path) -> None:
    heartbeat = Heartbeat(pulse_file(tmp_path, 0))
    for _ in range(3):
        with pytest.raises(torch.OutOfMemoryError), heartbeat.generation("square"):
            raise torch.OutOfMemoryError
    with heartbeat.generation("square"):
        assert pulse(tmp_path).stage is Stage.NEW


def test_time_is_told_apart_by_what_it_was_spent_on(tmp_path: Path) -> None:
    meter, said = meter_of(tmp_path)
    meter.loaded(compiles=True)
    generator: Generator = Metered(Painter(), meter)
    generator.generate([ITEM])
    assert said.phases == ["Compiling", "Generating", "Waiting"]
    generator.generate([ITEM])
    assert said.phases[3:] == ["Generating", "Waiting"]
    spent = said["gpu_seconds"]
    assert spent.load > 0
    assert spent.compile > 0
    assert spent.generate > 0
    assert (said["made"], said["running"], len(said["recent_seconds"])) == (2, 0, 2)
    assert sum(said["item_seconds"].counts) == 2


def test_a_logged_event_is_one_line_of_json_with_the_fields_of_its_process() -> None:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines({"job": "posters", "rank": 0, "trace": ""}))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.info("two\nlines", extra={FIELDS: {"port": 80}})
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logger.exception("failed")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["message"], first["job"], first["rank"], first["port"]) == ("two\nlines", "posters", 0, 80)
    assert "trace" not in first
    assert "ZeroDivisionError" in second["traceback"]
