"""Jobs that break one rule between fields each, and the change that its message advises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.jobs import Document, job

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class BadJob:
    """A job that the API refuses.

    Attributes:
        name: What is wrong, for the name of the test.
        changes: How it differs from the plainest job; None takes a field away.
        blames: The field that the refusal names.
        says: Words of the message.
        remedy: What to change, besides, as the message advises; the job is valid then.
    """

    name: str
    changes: Mapping[str, Any]
    blames: str
    says: tuple[str, ...]
    remedy: Mapping[str, Any]

    def document(self) -> Document:
        """The job that breaks the rule."""
        return job(self.changes)

    def remedied(self) -> Document:
        """The job after the remedy."""
        return job({**self.changes, **self.remedy})


LORA = {"kind": "LoRA", "repository": "latent-consistency/lcm-lora-sdxl"}
VARIABLE = {"name": "HF_HOME", "value": "/cache"}

MODEL = (
    BadJob(
        "two model sources",
        {"spec.model.bundled": "shapes-unet"},
        "spec.model.repository",
        ("exactly one of repository, s3, volume and bundled", "2 are set"),
        {"spec.model.repository": None},
    ),
    BadJob(
        "no model source",
        {"spec.model": {}},
        "spec.model.repository",
        ("exactly one", "0 are set"),
        {"spec.model": {"volume": {"claimName": "models", "path": "sdxl"}}},
    ),
    BadJob(
        "a revision of no repository",
        {"spec.model": {"bundled": "shapes-unet", "revision": "main"}},
        "spec.model.revision",
        ("no repository is set", "remove revision"),
        {"spec.model": {"bundled": "shapes-unet"}},
    ),
    BadJob(
        "a revision of no VAE",
        {"spec.model.vaeRevision": "main"},
        "spec.model.vaeRevision",
        ("no vae is set",),
        {"spec.model.vae": "madebyollin/sdxl-vae-fp16-fix"},
    ),
    BadJob(
        "a hub token for a model that is not from the hub",
        {"spec.model": {"s3": "s3://models/sdxl/"}, "spec.model.tokenSecret": "hub-token"},
        "spec.model.tokenSecret",
        ("nothing comes from there",),
        {"spec.model.adapters": [LORA]},
    ),
    BadJob(
        "an adapter with two sources",
        {"spec.model.adapters": [LORA, {**LORA, "s3": "s3://models/fox/"}]},
        "spec.model.adapters[1].repository",
        ("exactly one of repository, s3 and volume", "2 are set"),
        {"spec.model.adapters": [LORA]},
    ),
    BadJob(
        "a revision of an adapter in a bucket",
        {"spec.model.adapters": [{"kind": "LoRA", "s3": "s3://models/fox/", "revision": "v1"}]},
        "spec.model.adapters[0].revision",
        ("no repository is set",),
        {"spec.model.adapters": [{"kind": "LoRA", "s3": "s3://models/fox/"}]},
    ),
    BadJob(
        "a model outside its volume",
        {"spec.model": {"volume": {"claimName": "models", "path": "a/../../b"}}},
        "spec.model.volume.path",
        ("'..'", "a/../../b"),
        {"spec.model.volume.path": "b"},
    ),
)

GENERATE = (
    BadJob(
        "prompts and a worklist",
        {"spec.generate.worklist": {"s3": "s3://renders/list.jsonl"}},
        "spec.generate.prompts",
        ("exactly one of prompts and worklist", "2 are set"),
        {"spec.generate.prompts": None},
    ),
    BadJob(
        "a worklist from nowhere",
        {"spec.generate": {"worklist": {}}},
        "spec.generate.worklist.s3",
        ("exactly one of s3 and configMap", "0 are set"),
        {"spec.generate.worklist.configMap": {"name": "list", "key": "list.jsonl"}},
    ),
    BadJob(
        "a height that is not a multiple of 8",
        {"spec.generate.height": 1023},
        "spec.generate.height",
        ("1023 = 8 × 127 + 7", "1016 or 1024"),
        {"spec.generate.height": 1024},
    ),
    BadJob(
        "a width that is not a multiple of 8",
        {"spec.generate.width": 100},
        "spec.generate.width",
        ("100 = 8 × 12 + 4", "96 or 104"),
        {"spec.generate.width": 96},
    ),
    BadJob(
        "more items than a job may have",
        {"spec.generate.prompts": ["a"] * 11, "spec.generate.seeds": {"count": 1_000_000}},
        "spec.generate.seeds.count",
        ("11 prompts × 1000000 seeds = 11000000 items", "at most 10000000"),
        {"spec.generate.seeds.count": 900_000},
    ),
    BadJob(
        "a mask for no picture",
        {"spec.generate.inputs": {"mask": "s3://inputs/mask.png"}},
        "spec.generate.inputs.mask",
        ("set inputs.image",),
        {"spec.generate.inputs.image": "s3://inputs/fox.png"},
    ),
    BadJob(
        "frames of a picture",
        {"spec.generate.frames": 25},
        "spec.generate.frames",
        ("output.format PNG is none of MP4, WebM, Frames",),
        {"spec.output.format": "MP4"},
    ),
    BadJob(
        "frames per second of pictures",
        {"spec.generate.fps": 8, "spec.output.format": "Frames"},
        "spec.generate.fps",
        ("output.format Frames is none of MP4, WebM",),
        {"spec.output.format": "WebM"},
    ),
    BadJob(
        "a ControlNet without a control picture",
        {"spec.model.adapters": [LORA, {"kind": "ControlNet", "repository": "xinsir/controlnet-canny"}]},
        "spec.generate.inputs.control",
        ("no control picture",),
        {"spec.generate.inputs.control": "https://example.com/edges.png"},
    ),
)

STAGES = {"spec.parallelism.strategy": "AsyncStages"}

PARALLELISM = (
    *(
        BadJob(
            f"settings of {name} with another strategy",
            {"spec.parallelism": {"strategy": "Data", name: {}}},
            f"spec.parallelism.{name}",
            (f"read with strategy {strategy} or Auto", "strategy is Data", f"remove {name}"),
            {"spec.parallelism": {"strategy": "Data"}},
        )
        for name, strategy in (
            ("lookahead", "Lookahead"),
            ("asyncStages", "AsyncStages"),
            ("patches", "Patches"),
        )
    ),
    BadJob(
        "more stages than GPUs",
        {"spec.parallelism": {"gpusPerPod": 2, "asyncStages": {"stages": 4}}},
        "spec.parallelism.asyncStages.stages",
        ("asyncStages.stages is 4 and gpusPerPod is 2", "set gpusPerPod to 4"),
        {"spec.parallelism.gpusPerPod": 4},
    ),
    BadJob(
        "more evaluations in flight than GPUs",
        {"spec.parallelism.lookahead": {"degree": 3}},
        "spec.parallelism.lookahead.degree",
        ("lookahead.degree is 3 and gpusPerPod is 1", "set gpusPerPod to 3"),
        {"spec.parallelism.gpusPerPod": 3},
    ),
    BadJob(
        "GPUs that stages × guidance groups do not divide",
        {
            **STAGES,
            "spec.parallelism.gpusPerPod": 6,
            "spec.parallelism.guidanceSplit": "Always",
            "spec.parallelism.asyncStages": {"stages": 2},
        },
        "spec.parallelism.gpusPerPod",
        ("gpusPerPod is 6", "2 × guidance groups 2 = 4", "a multiple of 4"),
        {"spec.parallelism.gpusPerPod": 8},
    ),
    BadJob(
        "GPUs that the look-ahead's degree does not divide",
        {"spec.parallelism": {"strategy": "Lookahead"}},
        "spec.parallelism.gpusPerPod",
        ("gpusPerPod is 1", "lookahead.degree 2 × guidance groups 1 = 2"),
        {"spec.parallelism.gpusPerPod": 2},
    ),
    BadJob(
        "guidance split over an odd number of GPUs",
        {"spec.parallelism": {"gpusPerPod": 3, "guidanceSplit": "Always"}},
        "spec.parallelism.gpusPerPod",
        ("gpusPerPod is 3", "2 groups", "set gpusPerPod to 4"),
        {"spec.parallelism.gpusPerPod": 4},
    ),
    BadJob(
        "patches on one GPU",
        {"spec.parallelism": {"strategy": "Patches"}},
        "spec.parallelism.gpusPerPod",
        ("strategy Patches", "gpusPerPod is 1", "set gpusPerPod to 2 or more"),
        {"spec.parallelism.gpusPerPod": 2},
    ),
    BadJob(
        "a cut into another number of stages",
        {
            **STAGES,
            "spec.parallelism.gpusPerPod": 2,
            "spec.parallelism.asyncStages": {"stages": 2, "cut": ["a"]},
        },
        "spec.parallelism.asyncStages.cut",
        ("names 1 modules", "set asyncStages.stages to match"),
        {"spec.parallelism.asyncStages.cut": ["down_blocks.1", "mid_block"]},
    ),
    BadJob(
        "sharded weights of one stage",
        {**STAGES, "spec.parallelism.asyncStages": {"stages": 1, "stride": 2, "weights": "Sharded"}},
        "spec.parallelism.asyncStages.weights",
        ("stages is 1", "remove weights"),
        {"spec.parallelism.asyncStages.weights": None},
    ),
    BadJob(
        "a quality for a strategy that was chosen",
        {"spec.parallelism": {"strategy": "Data", "quality": "Fast"}},
        "spec.parallelism.quality",
        ("strategy is Data", "set strategy: Auto"),
        {"spec.parallelism.strategy": "Auto"},
    ),
    BadJob(
        "more shards than items",
        {"spec.parallelism.shards": 9, "spec.generate.seeds": {"count": 8}},
        "spec.parallelism.shards",
        ("shards is 9", "1 prompts × 8 seeds = 8 items"),
        {"spec.parallelism.shards": 8},
    ),
)

OUTPUT = (
    BadJob(
        "two outputs",
        {"spec.output.volume": {"claimName": "renders"}},
        "spec.output.s3",
        ("exactly one of s3 and volume", "2 are set"),
        {"spec.output.s3": None},
    ),
    BadJob(
        "an encoder quality for PNG",
        {"spec.output.encoderQuality": 80},
        "spec.output.encoderQuality",
        ("format PNG does not", "JPEG, WebP, MP4 or WebM"),
        {"spec.output.format": "JPEG"},
    ),
    BadJob(
        "an output outside its volume",
        {"spec.output": {"volume": {"claimName": "renders", "path": ".."}}},
        "spec.output.volume.path",
        ("stay inside the volume",),
        {"spec.output.volume.path": "posters"},
    ),
)

POD = (
    *(
        BadJob(
            f"GPUs in the {name}",
            {"spec.pod.resources": {name: {"nvidia.com/gpu": 4, "memory": "64Gi"}}},
            f"spec.pod.resources.{name}",
            ("parallelism.gpusPerPod", f"remove it from {name}"),
            {"spec.pod.resources": {name: {"memory": "64Gi"}}},
        )
        for name in ("requests", "limits")
    ),
    BadJob(
        "a pod label of the operator's",
        {"spec.pod.labels": {"asyncdiff.dev/job": "posters"}},
        "spec.pod.labels",
        ("asyncdiff.dev/",),
        {"spec.pod.labels": {"example.com/job": "posters"}},
    ),
    BadJob(
        "a pod annotation that Kubernetes refuses",
        {"spec.pod.annotations": {"-": "posters"}},
        "spec.pod.annotations",
        ("that Kubernetes allows",),
        {"spec.pod.annotations": {"example.com/job": "posters"}},
    ),
    BadJob(
        "a variable of the runtime's",
        {"spec.pod.env": [VARIABLE, {"name": "WORLD_SIZE", "value": "2"}]},
        "spec.pod.env[1].name",
        ("WORLD_SIZE is set by the runtime",),
        {"spec.pod.env": [VARIABLE]},
    ),
    BadJob(
        "a variable with two values",
        {"spec.pod.env": [{**VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]},
        "spec.pod.env[0].valueFrom",
        ("HF_HOME has both",),
        {"spec.pod.env": [VARIABLE]},
    ),
    BadJob(
        "a variable from nowhere",
        {"spec.pod.env": [{"name": "TOKEN", "valueFrom": {}}]},
        "spec.pod.env[0].valueFrom.secretKeyRef",
        ("exactly one of secretKeyRef, configMapKeyRef and fieldRef", "0 are set"),
        {"spec.pod.env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}]},
    ),
    BadJob(
        "a toleration of everything, by accident",
        {"spec.pod.tolerations": [{"effect": "NoSchedule"}]},
        "spec.pod.tolerations[0].key",
        ("operator: Exists",),
        {"spec.pod.tolerations": [{"effect": "NoSchedule", "operator": "Exists"}]},
    ),
    BadJob(
        "a toleration that compares nothing",
        {"spec.pod.tolerations": [{"key": "gpu", "operator": "Exists", "value": "a"}]},
        "spec.pod.tolerations[0].value",
        ("remove value",),
        {"spec.pod.tolerations": [{"key": "gpu", "value": "a"}]},
    ),
    BadJob(
        "a delay of no eviction",
        {"spec.pod.tolerations": [{"key": "gpu", "tolerationSeconds": 60}]},
        "spec.pod.tolerations[0].tolerationSeconds",
        ("effect: NoExecute",),
        {"spec.pod.tolerations": [{"key": "gpu", "tolerationSeconds": 60, "effect": "NoExecute"}]},
    ),
)

RUN = (
    BadJob(
        "a suspension in a queue",
        {"spec.run": {"suspend": True, "queueName": "renders"}},
        "spec.run.suspend",
        ("Kueue that suspends", "remove suspend"),
        {"spec.run.suspend": False},
    ),
)

METADATA = (
    BadJob(
        "no name",
        {"metadata.name": None},
        "metadata.name",
        ("a job needs a name",),
        {"metadata.generateName": "posters-"},
    ),
    *(
        BadJob(
            f"a key in the {name} that Kubernetes refuses",
            {f"metadata.{name}": {"-": "a"}},
            f"metadata.{name}",
            ("that Kubernetes allows",),
            {f"metadata.{name}": {"example.com/team": "a"}},
        )
        for name in ("labels", "annotations")
    ),
)

SPEC = (*MODEL, *GENERATE, *PARALLELISM, *OUTPUT, *POD, *RUN)
ALL = (*METADATA, *SPEC)
