"""A job's strategy is the engine's, pinned in the record, or refused where the engine has none of the kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asyncdiff_api import validation
from asyncdiff_api.formats.errors import InvalidJobError
from asyncdiff_api.parallelism import Parallelism
from asyncdiff_runtime.batch.schedule import schedule_of
from asyncdiff_runtime.batch.strategies import arguments_of_engine
from asyncdiff_runtime.engine import AsyncStages, Lookahead, Lowering
from support.jobs import job

CACHE = Path("cache")


def parallelism(**fields: Any) -> Parallelism:
    return validation.load(job({"spec.parallelism": {"strategy": "AsyncStages", **fields}})).spec.parallelism


def test_stages_are_as_many_as_ranks_unless_the_job_says_otherwise() -> None:
    def stages(**fields: Any) -> object:
        return schedule_of(parallelism(**fields))["stages"]

    assert stages(gpusPerPod=4) == 4
    assert stages(gpusPerPod=4, guidanceSplit="Always") == 2
    assert stages(gpusPerPod=4, asyncStages={"stages": 2}) == 2


def test_a_jobs_stages_are_the_engines() -> None:
    given = arguments_of_engine(
        parallelism(
            gpusPerPod=2,
            asyncStages={
                "stride": 2,
                "warmupSteps": 3,
                "exactTailSteps": 1,
                "timeShift": True,
                "weights": "Sharded",
                "cut": ["down_blocks.1", "up_blocks.1"],
                "stages": 2,
            },
        ),
        CACHE,
    )
    assert given["strategy"] == AsyncStages(
        stages=2,
        stride=2,
        warmup=3,
        exact_tail=1,
        time_shift=True,
        cut=("down_blocks.1", "up_blocks.1"),
        weights="sharded",
    )
    assert given["guidance_split"] == "auto"


@pytest.mark.parametrize(
    ("fields", "lowering"),
    [
        ({"device": "CUDA"}, Lowering.INDUCTOR),
        ({"device": "CUDA", "compile": "Never"}, Lowering.EAGER),
        ({"device": "CUDA", "compile": "MaxAutotune"}, Lowering.MAX_AUTOTUNE),
        ({"device": "CPU"}, Lowering.EAGER),
        ({"device": "CPU", "compile": "MaxAutotune"}, Lowering.EAGER),
    ],
)
def test_stages_run_on_the_captured_graph_however_they_are_compiled(
    fields: dict[str, Any], lowering: Lowering
) -> None:
    given = arguments_of_engine(parallelism(gpusPerPod=2, **fields), CACHE)
    assert given["capture"].lowering is lowering
    assert "compile" not in given


def test_lookahead_is_the_engines_too() -> None:
    given = arguments_of_engine(
        parallelism(strategy="Lookahead", gpusPerPod=3, lookahead={"degree": 3}),
        CACHE,
    )
    assert given["strategy"] == Lookahead(degree=3)


@pytest.mark.parametrize("strategy", ["Lookahead", "AsyncStages"])
@pytest.mark.parametrize(("asked", "split"), [("Auto", "auto"), ("Always", True), ("Never", False)])
def test_whether_guidance_is_split_is_the_engines_too(strategy: str, asked: str, split: object) -> None:
    given = arguments_of_engine(parallelism(strategy=strategy, gpusPerPod=4, guidanceSplit=asked), CACHE)
    assert given["guidance_split"] == split


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"asyncStages": {"prediction": "Extrapolate"}}, "asyncStages.prediction is Extrapolate"),
        ({"onCaptureFailure": "Data"}, "onCaptureFailure is Data"),
    ],
)
def test_what_this_version_does_not_do_in_stages_is_refused_before_ranks_start(
    fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidJobError, match=says):
        schedule_of(parallelism(gpusPerPod=2, **fields))


def test_one_stage_with_a_stride_has_to_say_where_its_deep_part_is() -> None:
    stride = {"stages": 1, "stride": 2}
    with pytest.raises(InvalidJobError, match="name in cut the module that it begins with"):
        schedule_of(parallelism(asyncStages=stride))
    cut = ["down_blocks.1", "up_blocks.1"]
    assert schedule_of(parallelism(asyncStages={**stride, "cut": cut}))["cut"] == cut
