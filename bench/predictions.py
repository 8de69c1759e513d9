"""What `asyncdiff plan` predicts for an H200, beside what was measured there; needs no GPU.

    python bench/predictions.py --json bench/results/predictions-H200.json

The efficiencies of `engine/graph/roofline.py` were fitted to these measurements: the deviations say how well a
model of three numbers describes five runs, and nothing about other machines. FLOPs are printed beside those
that are known of each model.
"""

import argparse
import json
import platform
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diffusers
import torch
from asyncdiff_api.model import Dtype, Model
from asyncdiff_runtime.batch.models.parts import Parts
from asyncdiff_runtime.batch.models.sources import FolderSource
from asyncdiff_runtime.batch.planning.following import follow
from asyncdiff_runtime.batch.planning.skeleton import skeleton
from asyncdiff_runtime.engine.graph.cost import Cost, costs, total
from asyncdiff_runtime.engine.graph.kernels import kernels
from asyncdiff_runtime.engine.graph.machines import machine
from asyncdiff_runtime.engine.graph.roofline import COMPILED, predicted

REPOSITORIES = Path(__file__).parents[1] / "tests" / "support" / "repositories"


@dataclass(frozen=True)
class Subject:
    """A model, and what is known of it.

    Attributes:
        repository: folder of its configuration.
        side: pixels of its pictures.
        known_teraflops: of an evaluation with guidance, by others' count; None where there is none.
        measured: rows of an evaluation, and its seconds, for each measurement; compiled.
        changes: fields of its parts' configurations that differ.
    """

    repository: str
    side: int
    known_teraflops: float | None = None
    measured: tuple[tuple[int, float], ...] = ()
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)


_SD21: dict[str, dict[str, Any]] = {
    "unet": {
        "attention_head_dim": [5, 10, 20, 20],
        "cross_attention_dim": 1024,
        "sample_size": 96,
        "use_linear_projection": True,
    },
    "text_encoder": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 23,
    },
}
SUBJECTS = {
    "SD 1.5": Subject("sd15", 512, 1.61),
    "SD 2.1": Subject("sd15", 768, 4.30, changes=_SD21),
    "SDXL": Subject("sdxl-base", 1024, 13.52, ((2, 1.6732 / 50), (2, 1.589 / 50), (1, 0.5732 / 28))),
    "SD3 medium": Subject("sd3-medium", 1024, measured=((2, 1.117 / 28),)),
    "FLUX.1 dev": Subject("flux-dev", 1024, measured=((1, 3.642 / 28),)),
}


def planned(subject: Subject) -> tuple[int, Cost, list[Cost]]:
    """Rows, whole cost and kernels of an evaluation."""
    with TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(REPOSITORIES / subject.repository, Path(folder) / "model"))
        for part, changes in subject.changes.items():
            config = copy / part / "config.json"
            config.write_text(json.dumps(json.loads(config.read_text()) | changes))
        source = FolderSource(subject.repository, copy, "")
        bones = skeleton(Model(bundled="none", dtype=Dtype.BFLOAT16), Parts(source))
        course = follow(
            bones,
            {"prompt": ["a fox"], "height": subject.side, "width": subject.side, "num_inference_steps": 2},
        )
    (branch,) = course.branches
    found = costs(branch.captured)
    return course.rows, total(found.values()), [one.cost for one in kernels(branch.captured, found)]


def main() -> None:
    options = _options()
    rows = []
    for name, subject in SUBJECTS.items():
        whole_rows, whole, parts = planned(subject)
        row: dict[str, Any] = {
            "model": name,
            "side": subject.side,
            "rows": whole_rows,
            "teraflops": whole.flops / 1e12,
            "knownTeraflops": subject.known_teraflops,
            "kernels": len(parts),
            "measurements": [],
        }
        for count, seconds in subject.measured:
            costs_of_rows = [cost.of_rows(count, whole_rows) for cost in parts]
            span = predicted(costs_of_rows, machine("H200"), torch.bfloat16, COMPILED)
            row["measurements"].append(
                {
                    "rows": count,
                    "measuredMilliseconds": seconds * 1000,
                    "predictedMilliseconds": span.expected * 1000,
                    "deviation": span.expected / seconds - 1,
                }
            )
        rows.append(row)
        _print(row)
    if options.json:
        record = {
            "program": "bench/predictions.py",
            "gpu": "H200",
            "efficiency": asdict(COMPILED),
            "versions": {
                "torch": torch.__version__,
                "diffusers": diffusers.__version__,
                "python": platform.python_version(),
            },
            "rows": rows,
        }
        Path(options.json).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def _print(row: dict[str, Any]) -> None:
    known = f"(known: {row['knownTeraflops']})" if row["knownTeraflops"] else ""
    print(f"{row['model']:12} {row['side']}²  {row['teraflops']:6.2f} TFLOP {known}", flush=True)
    for one in row["measurements"]:
        print(
            f"    {one['rows']} rows: measured {one['measuredMilliseconds']:6.1f} ms, "
            f"predicted {one['predictedMilliseconds']:6.1f} ms, {one['deviation']:+.1%}",
            flush=True,
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
