"""What the rules between fields ask of a document that was drawn field by field."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]

_VIDEO_FORMATS = ("MP4", "WebM", "Frames")
_LOSSY_FORMATS = ("JPEG", "WebP", "MP4", "WebM")
_SETTINGS = {"Lookahead": "lookahead", "AsyncStages": "asyncStages", "Patches": "patches"}


def settle(spec: Document) -> Document:
    """The spec, changed in place where it broke a rule: what is too much goes, what is missing comes."""
    _settle_model(spec["model"])
    _settle_generate(spec["generate"])
    _settle_parallelism(spec.setdefault("parallelism", {}))
    _settle_output(spec["output"])
    _settle_pod(spec.setdefault("pod", {}))
    _settle_across(spec)
    if spec.get("run", {}).get("queueName"):
        spec["run"].pop("suspend", None)
    return spec


def _keep_one(section: Document, names: tuple[str, ...], default: Any) -> None:
    """Keeps the last of the names that is there, so that all get their turn; the first if none is."""
    there = [name for name in names if name in section]
    for name in there[:-1]:
        del section[name]
    if not there:
        section[names[0]] = default


def _drop_unless(section: Document, name: str, needed: bool) -> None:
    if not needed:
        section.pop(name, None)


def _settle_model(model: Document) -> None:
    _keep_one(model, ("repository", "s3", "volume", "bundled"), "black-forest-labs/FLUX.1-dev")
    adapters = model.get("adapters", [])
    for adapter in adapters:
        _keep_one(adapter, ("repository", "s3", "volume"), "latent-consistency/lcm-lora-sdxl")
        _drop_unless(adapter, "revision", "repository" in adapter)
        _inside(adapter.get("volume"))
    _inside(model.get("volume"))
    _drop_unless(model, "revision", "repository" in model)
    _drop_unless(model, "vaeRevision", bool(model.get("vae")))
    from_hub = "repository" in model or bool(model.get("vae"))
    _drop_unless(model, "tokenSecret", from_hub or any("repository" in adapter for adapter in adapters))


def _inside(volume: Document | None) -> None:
    if volume and ".." in volume.get("path", ""):
        volume["path"] = volume["path"].replace("..", "up")


def _settle_generate(generate: Document) -> None:
    _keep_one(generate, ("prompts", "worklist"), [""])
    if "worklist" in generate:
        _keep_one(generate["worklist"], ("s3", "configMap"), "s3://renders/list.jsonl")
    for side in ("height", "width"):
        if side in generate:
            generate[side] = generate[side] // 8 * 8
    if "prompts" in generate:
        seeds = generate.get("seeds", {})
        if "count" in seeds:
            seeds["count"] = min(seeds["count"], 10_000_000 // len(generate["prompts"]))
        inputs = generate.get("inputs", {})
        _drop_unless(inputs, "mask", "image" in inputs)


def _settle_parallelism(parallelism: Document) -> None:
    strategy = parallelism.get("strategy", "Auto")
    for owner, name in _SETTINGS.items():
        _drop_unless(parallelism, name, strategy in ("Auto", owner))
    _drop_unless(parallelism, "quality", strategy == "Auto")
    stages = parallelism.get("asyncStages", {})
    _settle_stages(stages)
    degree = parallelism["lookahead"].get("degree", 2) if "lookahead" in parallelism else 2
    parts = {"AsyncStages": stages.get("stages", 1), "Lookahead": degree, "Patches": 2, "Context": 2}
    together = parts.get(strategy, 1)
    if together > 8:
        parallelism.pop("guidanceSplit", None)
    ranks = together * (2 if parallelism.get("guidanceSplit") == "Always" else 1)
    least = max(stages.get("stages", 1), degree if "lookahead" in parallelism else 1)
    wanted = max(parallelism.get("gpusPerPod", 1), ranks, least)
    rounded = -(-wanted // ranks) * ranks
    parallelism["gpusPerPod"] = rounded if rounded <= 16 else rounded - ranks


def _settle_stages(stages: Document) -> None:
    count = stages.get("stages")
    if stages.get("cut") and count != len(stages["cut"]) and not (count == 1 and len(stages["cut"]) == 2):
        stages["stages"] = len(stages["cut"])
    if stages.get("stages") == 1:
        stages.pop("weights", None)
        if len(stages.get("cut", [])) == 1:
            del stages["cut"]


def _settle_output(output: Document) -> None:
    _keep_one(output, ("s3", "volume"), {"bucket": "renders", "prefix": "posters/"})
    _inside(output.get("volume"))
    _drop_unless(output, "encoderQuality", output.get("format") in _LOSSY_FORMATS)


def _settle_pod(pod: Document) -> None:
    for toleration in pod.get("tolerations", []):
        if not toleration.get("key"):
            toleration["operator"] = "Exists"
        _drop_unless(toleration, "value", toleration.get("operator") != "Exists")
        _drop_unless(toleration, "tolerationSeconds", toleration.get("effect") == "NoExecute")
    for variable in pod.get("env", []):
        source = variable.get("valueFrom")
        if source is not None:
            variable.pop("value", None)
            _keep_one(source, ("secretKeyRef", "configMapKeyRef", "fieldRef"), {"name": "a", "key": "b"})


def _settle_across(spec: Document) -> None:
    generate, parallelism = spec["generate"], spec["parallelism"]
    chosen = spec["output"].get("format")
    _drop_unless(generate, "frames", chosen in _VIDEO_FORMATS)
    _drop_unless(generate, "fps", chosen in _VIDEO_FORMATS[:2])
    if "prompts" not in generate:
        return
    items = len(generate["prompts"]) * generate.get("seeds", {}).get("count", 1)
    if parallelism.get("shards", 0) > items:
        parallelism["shards"] = items
    kinds = {adapter["kind"] for adapter in spec["model"].get("adapters", [])}
    if kinds & {"ControlNet", "T2IAdapter"}:
        generate.setdefault("inputs", {}).setdefault("control", "s3://inputs/edges.png")
