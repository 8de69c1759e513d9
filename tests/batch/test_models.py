"""Models are found, pinned and fetched from hub, bucket and folder, or refused by what lies there instead."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from asyncdiff_api.formats.errors import ModelUnavailableError, OutageError
from asyncdiff_runtime.batch.assignment import Places
from asyncdiff_runtime.batch.models import BUNDLED_FOLDER, Plan, Received, load_pipeline, plan_model
from asyncdiff_runtime.batch.models.bucket import BucketSource
from asyncdiff_runtime.batch.models.hub import Hub, HubSource
from asyncdiff_runtime.batch.models.parts import Opening
from asyncdiff_runtime.storage.s3 import S3Options, S3Storage
from support.hub import COMMIT, TOKEN, FakeHub
from support.models import in_volume, model_job, planned
from support.processes import wait_until

if TYPE_CHECKING:
    from support.s3 import S3Server


@pytest.fixture
def served(models: Path) -> Iterator[FakeHub]:
    """A hub with the repository `owner/sdxl`."""
    with FakeHub.start({"owner/sdxl": models / "sdxl"}) as hub:
        yield hub


@pytest.fixture
def hub(served: FakeHub, tmp_path: Path) -> Hub:
    """How that hub is asked, with a cache of this test's own."""
    return Hub(cache=tmp_path / "hub", endpoint=served.endpoint, attempts=3, first_pause_seconds=0.0)


def of_hub(hub: Hub, tmp_path: Path, **model: Any) -> Plan:
    return planned(model_job({"repository": "owner/sdxl", **model}), tmp_path, tmp_path, hub)


def test_a_moving_name_is_resolved_once_and_pinned(served: FakeHub, hub: Hub) -> None:
    first = HubSource("owner/sdxl", "main", hub)
    assert first.commit() == COMMIT
    served.requests.clear()
    again = HubSource("owner/sdxl", "main", hub, pinned=COMMIT)
    assert again.commit() == COMMIT
    assert again.files() == first.files()
    assert served.requests == []


def test_a_model_is_planned_from_small_files_and_loaded_from_safetensors(
    served: FakeHub, hub: Hub, tmp_path: Path
) -> None:
    plan = of_hub(hub, tmp_path)
    assert not any("safetensors" in request for request in served.requests)
    pipe = load_pipeline(plan, "cpu")
    assert type(pipe).__name__ == "StableDiffusionXLPipeline"
    assert any("unet/diffusion_pytorch_model.safetensors" in request for request in served.requests)


def test_what_was_fetched_once_is_loaded_without_the_hub(served: FakeHub, hub: Hub, tmp_path: Path) -> None:
    of_hub(hub, tmp_path, revision=COMMIT).fetch()
    served.failures = 10**6
    offline = Hub(cache=hub.cache, offline=True)
    for way in (hub, offline):
        assert (of_hub(way, tmp_path, revision=COMMIT).fetch() / "model_index.json").exists()


def test_offline_says_what_is_not_there_and_how_to_have_it(tmp_path: Path) -> None:
    with pytest.raises(
        ModelUnavailableError, match="HF_HUB_OFFLINE is set; fetch it with `hf download owner/sdxl"
    ):
        of_hub(Hub(cache=tmp_path, offline=True), tmp_path)


def test_a_token_opens_what_is_gated_or_private(served: FakeHub, hub: Hub, tmp_path: Path) -> None:
    served.gated.add("owner/sdxl")
    with pytest.raises(ModelUnavailableError, match="is gated: accept its terms"):
        of_hub(hub, tmp_path)
    served.private.add("owner/sdxl")
    with pytest.raises(ModelUnavailableError, match="is not on the hub, or is private"):
        of_hub(hub, tmp_path)
    with pytest.raises(ModelUnavailableError, match="the hub refuses the token"):
        of_hub(Hub(cache=hub.cache, endpoint=hub.endpoint, token="hf_bad"), tmp_path)
    assert of_hub(Hub(cache=hub.cache, endpoint=hub.endpoint, token=TOKEN), tmp_path).files


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"repository": "owner/nothing"}, "hub:owner/nothing is not on the hub"),
        ({"revision": "v9"}, "has no revision v9; correct spec.model.revision"),
        ({"variant": "fp16"}, "no weights of the variant fp16"),
        ({"pipeline": "NoSuchPipeline"}, "spec.model.pipeline names NoSuchPipeline"),
        ({"vae": "owner/nothing"}, "hub:owner/nothing is not on the hub.*correct spec.model.vae.repository"),
    ],
)
def test_what_the_hub_does_not_have_is_named_with_its_field(
    hub: Hub, tmp_path: Path, model: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelUnavailableError, match=said):
        of_hub(hub, tmp_path, **model)


def test_a_hub_that_is_out_of_order_is_asked_again_and_then_given_up_for_now(
    served: FakeHub, hub: Hub, tmp_path: Path
) -> None:
    served.failures = 2
    assert HubSource("owner/sdxl", "main", hub).commit() == COMMIT
    served.failures = 10**6
    with pytest.raises(OutageError, match="could not be fetched"):
        HubSource("owner/sdxl", "v1", hub).commit()
    unreachable = Hub(cache=tmp_path, endpoint="http://127.0.0.1:9", attempts=2, first_pause_seconds=0.0)
    with pytest.raises(OutageError, match="could not be fetched"):
        HubSource("owner/sdxl", "main", unreachable).commit()


def spoiled(models: Path, folder: Path, spoil: Callable[[Path], object]) -> Path:
    """A volume with a copy of the model to which something was done."""
    shutil.copytree(models / "sdxl", folder / "sdxl")
    spoil(folder / "sdxl")
    return folder


def change_index(**changes: object) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        index = folder / "model_index.json"
        index.write_text(json.dumps({**json.loads(index.read_text()), **changes}))

    return spoil


def rename_weights(part: str, name: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        found = next((folder / part).glob("*.safetensors"))
        found.rename(found.with_name(name))

    return spoil


def only(name: str, content: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / name).write_text(content)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (only("sd_xl_base_1.0.safetensors", ""), r"a single file \(sd_xl_base_1.0.safetensors\); convert it"),
        (only("pytorch_lora_weights.safetensors", ""), "is a LoRA; name the model it was made for"),
        (only("config.json", '{"_class_name": "ControlNetModel"}'), "is a ControlNetModel; name the model"),
        (only("config.json", '{"_class_name": "AutoencoderKL"}'), "this one as spec.model.vae"),
        (only("config.json", '{"architectures": ["LlamaForCausalLM"]}'), "LlamaForCausalLM and no pipeline"),
        (only("README.md", ""), "README.md, which is no model"),
        (change_index(_class_name=["pipeline", "Mine"]), "code of its own; no code of a model is ever run"),
        (change_index(unet=["my_unet", "MyUNet"]), r"code of its own \(trust_remote_code\)"),
        (change_index(unet=["diffusers", "UNet9DModel"]), "UNet9DModel, which diffusers .* does not have"),
        (change_index(_class_name="NoPipeline"), "model_index.json of volume:models/sdxl names NoPipeline"),
        (rename_weights("unet", "diffusion_pytorch_model.bin"), "weights as pickles alone"),
        (rename_weights("unet", "diffusion_pytorch_model.fp16.safetensors"), "of the variants fp16 alone"),
        (rename_weights("unet", "notes.txt"), "unet has no weights"),
        (lambda folder: shutil.rmtree(folder / "vae"), "holds no folder vae"),
    ],
)
def test_what_is_no_model_is_said_to_be_what_it_is(
    models: Path, tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    volume = spoiled(models, tmp_path / "volume", spoil)
    with pytest.raises(ModelUnavailableError, match=said):
        planned(model_job(in_volume("sdxl")), volume, tmp_path)


def test_a_cut_off_weights_file_is_the_models_fault(models: Path, tmp_path: Path) -> None:
    def cut(folder: Path) -> None:
        weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])

    plan = planned(model_job(in_volume("sdxl")), spoiled(models, tmp_path / "volume", cut), tmp_path)
    with pytest.raises(ModelUnavailableError, match="volume:models/sdxl could not be loaded"):
        load_pipeline(plan, "cpu")


def test_a_part_without_the_variant_is_loaded_plain(models: Path, tmp_path: Path) -> None:
    spoil = rename_weights("unet", "diffusion_pytorch_model.fp16.safetensors")
    volume = spoiled(models, tmp_path / "volume", spoil)
    plan = planned(model_job({**in_volume("sdxl"), "variant": "fp16"}), volume, tmp_path)
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in plan.files
    assert "vae/diffusion_pytorch_model.safetensors" in plan.files
    assert load_pipeline(plan, "cpu").unet is not None


def test_the_bundled_models_can_be_loaded(tmp_path: Path) -> None:
    for folder in BUNDLED_FOLDER.iterdir():
        if (folder / "model_index.json").exists():
            plan = planned(model_job({"bundled": folder.name}), tmp_path, tmp_path)
            pipe = load_pipeline(plan, "cpu")
            assert getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)


# -- buckets


@pytest.fixture
def bucket_model(models: Path, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a bucket in which the model lies under `sdxl/`."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    client = s3_server.client()
    for path in (models / "sdxl").rglob("*"):
        if path.is_file():
            client.upload_file(str(path), bucket, f"sdxl/{path.relative_to(models / 'sdxl').as_posix()}")
    return bucket


def bucket_source(
    server: S3Server, bucket: str, cache: Path, prefix: str = "sdxl/", pinned: str = ""
) -> BucketSource:
    storage = S3Storage(bucket, prefix, S3Options(endpoint=server.endpoint, attempts=3))
    return BucketSource(f"s3://{bucket}/{prefix}", storage, cache, pinned)


def test_a_model_in_a_bucket_is_loaded_with_the_outputs_endpoint(
    s3_server: S3Server, bucket_model: str, tmp_path: Path
) -> None:
    changes = {"spec.output.s3.endpoint": s3_server.endpoint}
    job = model_job({"s3": f"s3://{bucket_model}/sdxl/"}, changes)
    opening = Opening(job, Places(), Hub(cache=tmp_path), tmp_path)
    parts = opening.parts(None)
    assert (
        type(load_pipeline(plan_model(job.spec.model, parts), "cpu")).__name__ == "StableDiffusionXLPipeline"
    )
    assert parts.identity(job.spec.model).commit.startswith("sha256:")


def test_its_commit_follows_the_files_and_a_pinned_one_is_held_to(
    s3_server: S3Server, bucket_model: str, tmp_path: Path
) -> None:
    before = bucket_source(s3_server, bucket_model, tmp_path).commit()
    assert bucket_source(s3_server, bucket_model, tmp_path / "elsewhere").commit() == before
    s3_server.client().put_object(Bucket=bucket_model, Key="sdxl/unet/config.json", Body=b"{}")
    changed = bucket_source(s3_server, bucket_model, tmp_path, pinned=before)
    assert changed.commit() != before
    with pytest.raises(
        ModelUnavailableError, match=r"holds other files .* than those that the job began with"
    ):
        changed.fetch(["model_index.json"])


@pytest.mark.parametrize(
    ("other", "prefix", "said"),
    [("", "nothing/", "holds nothing"), ("no-such-bucket-here", "sdxl/", "the bucket .* does not exist")],
)
def test_an_empty_address_is_refused(
    s3_server: S3Server, bucket_model: str, tmp_path: Path, other: str, prefix: str, said: str
) -> None:
    with pytest.raises(ModelUnavailableError, match=said):
        bucket_source(s3_server, other or bucket_model, tmp_path, prefix).files()


class Counted:
    """A storage that counts the bytes read, and may stop after a number of reads."""

    def __init__(self, inner: S3Storage, stop_after: int | None = None) -> None:
        self.inner, self.bytes, self.left, self.lock = inner, 0, stop_after, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def read(self, key: str, span: range | None = None, if_match: str = "") -> bytes:
        with self.lock:
            if self.left == 0:
                raise OutageError("the bucket went away")
            self.left = None if self.left is None else self.left - 1
        data = self.inner.read(key, span, if_match)
        with self.lock:
            self.bytes += len(data)
        return data


LARGE = 80 * 2**20 + 17


@pytest.fixture
def large(s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A storage with one file of six spans."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    content = bytes(range(256)) * (LARGE // 256) + bytes(LARGE % 256)
    s3_server.client().put_object(Bucket=bucket, Key="large/weights.safetensors", Body=content)
    return S3Storage(bucket, "large/", S3Options(endpoint=s3_server.endpoint, attempts=3)), content


def test_a_download_goes_on_behind_what_it_has(large: Any, tmp_path: Path) -> None:
    storage, content = large
    first = Counted(storage, stop_after=3)
    with pytest.raises(OutageError):
        BucketSource("s3://b/large/", first, tmp_path).fetch(["weights.safetensors"])
    begun = BucketSource("s3://b/large/", storage, tmp_path)
    assert begun.received(["weights.safetensors"]) == Received(first.bytes, LARGE, whole=False)
    second = Counted(storage)
    folder = BucketSource("s3://b/large/", second, tmp_path).fetch(["weights.safetensors"])
    assert (folder / "weights.safetensors").read_bytes() == content
    assert first.bytes + second.bytes == LARGE
    assert begun.received(["weights.safetensors"]) == Received(LARGE, LARGE)
    assert [path.name for path in folder.iterdir() if not path.name.endswith(".lock")] == [
        "weights.safetensors"
    ]


def test_ranks_that_fetch_at_once_read_each_byte_once(large: Any, tmp_path: Path) -> None:
    storage, content = large
    counted = Counted(storage)
    with ThreadPoolExecutor(4) as pool:
        sources = [BucketSource("s3://b/large/", counted, tmp_path) for _ in range(4)]
        folders = list(pool.map(lambda source: source.fetch(["weights.safetensors"]), sources))
    assert all((folder / "weights.safetensors").read_bytes() == content for folder in folders)
    assert counted.bytes == LARGE


FETCH = """
import sys
from pathlib import Path
from asyncdiff_runtime.batch.models.bucket import BucketSource
from asyncdiff_runtime.storage.s3 import S3Options, S3Storage
endpoint, bucket, cache = sys.argv[1:]
storage = S3Storage(bucket, "large/", S3Options(endpoint=endpoint))
BucketSource("s3://b/large/", storage, Path(cache)).fetch(["weights.safetensors"])
"""


def test_a_killed_download_leaves_nothing_that_a_later_one_trusts(
    large: Any, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    storage, content = large

    def begun() -> bool:
        return any(tmp_path.rglob("*.partial"))

    argv = [sys.executable, "-c", FETCH, s3_server.endpoint, bucket, str(tmp_path)]
    for _ in range(3):
        with subprocess.Popen(argv) as process:
            ended = process.poll
            wait_until(lambda: begun() or ended() is not None, what="a partial file")  # noqa: B023 -- called here
            process.send_signal(signal.SIGKILL)
    source = BucketSource("s3://b/large/", storage, tmp_path)
    assert (source.fetch(["weights.safetensors"]) / "weights.safetensors").read_bytes() == content
