"""What is put on a model shows in its pictures, by its weight, and what does not fit is refused before loading."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from asyncdiff_api.formats.errors import ContractError, InvalidJobError, ModelUnavailableError
from asyncdiff_runtime.batch.models import load_pipeline
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from support.models import in_volume, model_job, pixels, planned, results

if TYPE_CHECKING:
    from support.s3 import S3Server

FOX = {"prompt": "a fox"}
SD15 = in_volume("sd15")
FROM_LINES = {"spec.generate.prompts": None, "spec.generate.worklist": {"s3": "s3://some-bucket/list.jsonl"}}


class Studio:
    """Makes pictures of models in the volume, and keeps control pictures in a bucket."""

    def __init__(self, volume: Path, cache: Path, server: S3Server) -> None:
        self.volume, self.cache, self.server, self.bucket = volume, cache, server, server.bucket()
        self.store = server.client()

    def put(self, name: str, colour: str, size: tuple[int, int] = (32, 32)) -> str:
        """Puts a picture of one colour into the bucket and gives its address."""
        file = io.BytesIO()
        Image.new("RGB", size, colour).save(file, "PNG")
        self.store.put_object(Bucket=self.bucket, Key=name, Body=file.getvalue())
        return f"s3://{self.bucket}/{name}"

    def make(
        self,
        model: Mapping[str, Any],
        changes: Mapping[str, Any] | None = None,
        lines: Sequence[Mapping[str, Any]] = (FOX,),
    ) -> list[NDArray[np.floating]]:
        job = model_job(model, {"spec.output.s3.endpoint": self.server.endpoint, **(changes or {})})
        plan = planned(job, self.volume, self.cache)
        return [pixels(result) for result in results(job, plan, lines)]


@pytest.fixture(scope="module")
def studio(every_model: Path, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        yield Studio(every_model, tmp_path_factory.mktemp("cache"), s3_server)


@pytest.fixture(scope="module")
def plain(studio: Studio) -> NDArray[np.floating]:
    """The picture without anything put on."""
    return studio.make(SD15)[0]


def lora(name: str, weight: float = 1.0) -> dict[str, Any]:
    return {"kind": "LoRA", **in_volume(name), "weight": weight}


def test_a_lora_changes_the_picture_by_its_weight_and_not_at_all_at_zero(
    studio: Studio, plain: NDArray[np.floating]
) -> None:
    at_zero, at_half, at_one = (
        studio.make({**SD15, "adapters": [lora("lora", weight)]})[0] for weight in (0.0, 0.5, 1.0)
    )
    assert np.array_equal(at_zero, plain)
    differences = [np.abs(picture - plain).mean() for picture in (at_half, at_one)]
    assert 0.01 < differences[0] < differences[1]


def test_fused_loras_add_up_as_loose_ones_do(studio: Studio) -> None:
    two = {**SD15, "adapters": [lora("lora", 0.7), lora("other-lora", -0.4)]}
    pipe = load_pipeline(planned(model_job(two), studio.volume, studio.cache), "cpu")
    fused = pipe.unet.state_dict()

    bare = load_pipeline(planned(model_job(SD15), studio.volume, studio.cache), "cpu").unet.state_dict()
    expected = {name: value.clone() for name, value in bare.items()}
    for folder, weight in (("lora", 0.7), ("other-lora", -0.4)):
        state = load_file(studio.volume / folder / "pytorch_lora_weights.safetensors")
        for name in {key.rpartition(".lora")[0] for key in state}:
            up, down = (state[f"{name}.lora{part}.weight"] for part in ("_B", "_A"))
            expected[f"{name.removeprefix('unet.')}.weight"] += weight * (up @ down)

    assert fused.keys() == bare.keys()
    assert all(torch.allclose(fused[name], expected[name], atol=1e-5) for name in fused)
    assert sum(not torch.equal(fused[name], bare[name]) for name in fused) > 8


def test_a_controlnet_reads_the_control_picture_and_its_weight_says_how_much(
    studio: Studio, plain: NDArray[np.floating]
) -> None:
    red, blue = studio.put("red.png", "red"), studio.put("blue.png", "blue")

    def controlled(picture: str, weight: float, **changes: Any) -> NDArray[np.floating]:
        adapter = {"kind": "ControlNet", **in_volume("controlnet"), "weight": weight}
        control = {"spec.generate.inputs": {"control": picture}, **changes}
        return studio.make({**SD15, "adapters": [adapter]}, control)[0]

    assert np.allclose(controlled(red, 0.0), plain, atol=1e-5)
    assert np.abs(controlled(red, 1.0) - plain).mean() > 0.01
    assert np.abs(controlled(red, 1.0) - controlled(blue, 1.0)).mean() > 0.001


def test_several_controlnets_share_the_picture_and_keep_their_weights(studio: Studio) -> None:
    nets = [{"kind": "ControlNet", **in_volume("controlnet"), "weight": weight} for weight in (0.25, 0.75)]
    control = {"spec.generate.inputs": {"control": studio.put("red.png", "red")}}
    lines: list[dict[str, Any]] = [FOX, {"prompt": "a boat", "seed": 3}]
    several = studio.make({**SD15, "adapters": nets}, control, lines)
    one = studio.make({**SD15, "adapters": [{**nets[0], "weight": 1.0}]}, control, lines)
    assert all(np.allclose(two, alone, atol=1e-4) for two, alone in zip(several, one, strict=True))


def test_a_controlnet_that_a_line_gives_its_own_picture_makes_what_the_line_alone_would(
    studio: Studio,
) -> None:
    net = {**SD15, "adapters": [{"kind": "ControlNet", **in_volume("controlnet")}]}
    lines = [{**FOX, "control": studio.put(f"{colour}.png", colour)} for colour in ("red", "blue")]
    together = studio.make(net, FROM_LINES, lines)
    alone = [studio.make(net, FROM_LINES, [line])[0] for line in lines]
    assert all(np.allclose(one, other, atol=1e-4) for one, other in zip(together, alone, strict=True))


@pytest.mark.filterwarnings(
    "ignore:The decode_latents method is deprecated:FutureWarning"
)  # diffusers calls it
def test_a_t2i_adapter_for_grey_pictures_is_given_one(studio: Studio, plain: NDArray[np.floating]) -> None:
    adapter = {"kind": "T2IAdapter", **in_volume("t2i")}
    control = {"spec.generate.inputs": {"control": studio.put("red.png", "red")}}
    assert np.abs(studio.make({**SD15, "adapters": [adapter]}, control)[0] - plain).mean() > 0.01


def test_a_motion_adapter_makes_the_model_a_video_model(studio: Studio) -> None:
    adapter = {"kind": "MotionAdapter", **in_volume("motion")}
    video = {"spec.generate.frames": 3, "spec.output.format": "MP4"}
    frames = studio.make({**SD15, "adapters": [adapter]}, video)[0]
    assert frames.shape == (3, 32, 32, 3)
    assert np.abs(frames[0] - frames[2]).max() > 0.01


def test_an_ip_adapter_takes_each_lines_own_reference(studio: Studio, plain: NDArray[np.floating]) -> None:
    def referred(weight: float, lines: Sequence[Mapping[str, Any]]) -> list[NDArray[np.floating]]:
        adapter = {"kind": "IPAdapter", **in_volume("ip"), "weight": weight}
        return studio.make({**SD15, "adapters": [adapter]}, FROM_LINES, lines)

    lines = [{**FOX, "reference": studio.put(f"{colour}.png", colour)} for colour in ("red", "blue")]
    red, blue = referred(1.0, lines)
    assert np.abs(red - plain).mean() > 0.001
    assert np.abs(red - blue).mean() > 0.0001
    assert np.allclose(red, referred(1.0, lines[:1])[0], atol=1e-5)
    assert np.allclose(referred(0.0, lines[:1])[0], plain, atol=1e-5)


def test_another_pipeline_class_is_found_for_several_adapters(studio: Studio) -> None:
    job = model_job(
        {
            **SD15,
            "adapters": [
                {"kind": "ControlNet", **in_volume("controlnet")},
                {"kind": "MotionAdapter", **in_volume("motion")},
                lora("lora"),
            ],
        },
        {"spec.generate.inputs": {"control": "s3://some-bucket/a.png"}, "spec.output.format": "MP4"},
    )
    assert planned(job, studio.volume, studio.cache).kind.__name__ == "AnimateDiffControlNetPipeline"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            {**in_volume("sdxl"), "adapters": [{"kind": "MotionAdapter", **in_volume("lora")}]},
            "holds no config.json",
        ),
        (
            {**in_volume("sdxl"), "adapters": [{"kind": "ControlNet", **in_volume("t2i")}]},
            "is a T2IAdapter, and the job names it as ControlNet",
        ),
        ({**in_volume("svd"), "adapters": [lora("lora")]}, "StableVideoDiffusionPipeline takes none"),
        (
            {**in_volume("svd"), "adapters": [{"kind": "T2IAdapter", **in_volume("t2i")}]},
            "has no form of StableVideoDiffusionPipeline that takes one",
        ),
        (
            {**SD15, "adapters": [{**lora("lora"), "file": "fox.safetensors"}]},
            "there is no file fox.safetensors",
        ),
        (
            {**SD15, "adapters": [{"kind": "IPAdapter", **in_volume("sd15")}]},
            "which weights file is the IPAdapter?",
        ),
    ],
)
def test_what_the_model_cannot_take_is_refused_before_loading(
    every_model: Path, tmp_path: Path, model: Mapping[str, Any], said: str
) -> None:
    control = {"spec.generate.inputs": {"control": "s3://some-bucket/a.png"}}
    with pytest.raises(ContractError) as raised:
        planned(model_job(model, control), every_model, tmp_path)
    assert isinstance(raised.value, InvalidJobError | ModelUnavailableError)
    assert said in str(raised.value)


def test_a_lora_of_another_model_is_refused_when_nothing_in_it_belongs(
    every_model: Path, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    shutil.copytree(every_model / "sd15", volume / "sd15")
    (volume / "strange").mkdir()
    weights = {f"transformer.blocks.0.to_q.lora_{part}.weight": torch.ones(4, 4) for part in "AB"}
    save_file(weights, volume / "strange" / "pytorch_lora_weights.safetensors")
    job = model_job({**SD15, "adapters": [lora("strange")]})
    plan = planned(job, volume, tmp_path)
    with pytest.raises(ModelUnavailableError, match="is a LoRA for another model"):
        load_pipeline(plan, "cpu")


def test_another_vae_is_used_and_the_models_own_is_not_even_read(every_model: Path, tmp_path: Path) -> None:
    from asyncdiff_runtime.batch.models.hub import Hub
    from support.hub import FakeHub

    with FakeHub.start({"owner/vae": every_model / "vae", "owner/sd15": every_model / "sd15"}) as served:
        hub = Hub(cache=tmp_path / "hub", endpoint=served.endpoint)
        job = model_job({"repository": "owner/sd15", "vae": "owner/vae"})
        pipe = load_pipeline(planned(job, every_model, tmp_path, hub), "cpu")
        asked = [request for request in served.requests if "owner/sd15" in request and "/vae/" in request]
    expected = load_file(every_model / "vae" / "diffusion_pytorch_model.safetensors")
    assert asked == []
    assert all(torch.equal(pipe.vae.state_dict()[name], value) for name, value in expected.items())


def test_quantization_is_refused_by_name_where_its_package_is_not_installed(
    every_model: Path, tmp_path: Path
) -> None:
    def refused(**quantization: Any) -> str:
        job = model_job({**SD15, "quantization": quantization})
        with pytest.raises(InvalidJobError) as raised:
            planned(job, every_model, tmp_path)
        return str(raised.value)

    assert "which needs the package bitsandbytes, and it is not installed here" in refused(
        backend="bitsandbytes_4bit"
    )
    assert "did you mean torchao?" in refused(backend="torcao")
    assert "reads files that are quantized already" in refused(backend="gguf")


def test_identity_changes_with_an_adapters_files(every_model: Path, tmp_path: Path) -> None:
    from asyncdiff_runtime.batch.assignment import Places
    from asyncdiff_runtime.batch.models.hub import Hub
    from asyncdiff_runtime.batch.models.parts import Opening

    volume = tmp_path / "volume"
    shutil.copytree(every_model / "lora", volume / "lora")
    shutil.copytree(every_model / "sd15" / "scheduler", volume / "sd15")
    job = model_job({**SD15, "adapters": [lora("lora")]})
    opening = Opening(job, Places(volumes={"models": volume}), Hub(cache=tmp_path), tmp_path)
    before = opening.parts(None).identity(job.spec.model)
    (volume / "lora" / "note.json").write_text(json.dumps("another"))
    after = opening.parts(None).identity(job.spec.model)
    assert before.commit == after.commit
    assert before.adapters[0].commit != after.adapters[0].commit
