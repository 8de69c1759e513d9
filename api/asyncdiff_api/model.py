"""`spec.model`: which weights, from where, in which precision."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, JsonValue

from asyncdiff_api.fields import (
    CLASS_NAME,
    DNS_LABEL,
    HUB_REPOSITORY,
    HUB_REVISION,
    OBJECT_NAME,
    S3_ADDRESS,
    Entries,
    Items,
    Label,
    Part,
    Range,
    Section,
    Text,
)
from asyncdiff_api.sources import ModelVolume


class Dtype(StrEnum):
    """The floating-point type of the weights."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


class AdapterKind(StrEnum):
    """What an adapter is to the denoiser."""

    LORA = "LoRA"
    CONTROL_NET = "ControlNet"
    T2I_ADAPTER = "T2IAdapter"
    MOTION_ADAPTER = "MotionAdapter"
    IP_ADAPTER = "IPAdapter"


FILE_NAME = Text(
    256, 1, "^[A-Za-z0-9_][A-Za-z0-9_./-]*$", "a path inside the repository, without a leading '/'"
)
QUANTIZER = Text(
    64, 1, "^[a-z][a-z0-9_-]*$", "the name of a diffusers quantization back end, such as bitsandbytes_4bit"
)
COMPONENT = Text(
    64, 1, "^[a-z][a-z0-9_]*$", "the name of a part of the pipeline, such as transformer or text_encoder_2"
)
SOURCE_NOTE = "Exactly one of repository, s3 and volume is set."


class Adapter(Section):
    """One adapter beside the model's own weights."""

    kind: Annotated[
        AdapterKind,
        Label(
            "LoRA, ControlNet, T2IAdapter, MotionAdapter or IPAdapter. ControlNet and T2IAdapter read "
            "inputs.control, IPAdapter reads inputs.reference.",
            identity=True,
            mutable=False,
        ),
    ]
    repository: Annotated[
        str | None,
        HUB_REPOSITORY,
        Label(f"Hub repository. {SOURCE_NOTE}", identity=True, mutable=False),
    ] = None
    revision: Annotated[
        str,
        HUB_REVISION.or_empty(),
        Label(
            "Commit, tag or branch of repository. Default: its main branch. A moving name is resolved once "
            "and pinned for the whole job.",
            identity=True,
            mutable=False,
        ),
    ] = ""
    s3: Annotated[
        str | None,
        S3_ADDRESS,
        Label(f"Folder in S3, such as s3://bucket/loras/fox/. {SOURCE_NOTE}", identity=True, mutable=False),
    ] = None
    volume: Annotated[ModelVolume | None, Part(f"Folder of a volume. {SOURCE_NOTE}")] = None
    file: Annotated[
        str,
        FILE_NAME.or_empty(),
        Label(
            "Weights file inside the source. Default: the one that diffusers looks for.",
            identity=True,
            mutable=False,
        ),
    ] = ""
    weight: Annotated[
        float,
        Range(-10.0, 10.0),
        Label(
            "Strength: LoRA scale, conditioning scale of a ControlNet or T2IAdapter, IPAdapter scale. 1 "
            "is as "
            "trained.",
            identity=True,
            mutable=False,
        ),
    ] = 1.0


class Quantization(Section):
    """Weights in fewer bits, by one of diffusers' back ends."""

    backend: Annotated[
        str,
        QUANTIZER,
        Label(
            "Name of the diffusers back end, such as bitsandbytes_4bit, torchao or quanto.",
            identity=True,
            mutable=False,
        ),
    ]
    components: Annotated[
        tuple[Annotated[str, COMPONENT], ...],
        Items(8),
        Label("Parts of the pipeline to quantize. Default: the denoiser.", identity=True, mutable=False),
    ] = ()
    options: Annotated[
        dict[str, JsonValue],
        Entries(32),
        Label("Passed to the back end's configuration as they are.", identity=True, mutable=False),
    ] = Field(default_factory=dict)


class Model(Section):
    """Which weights, from where, in which precision."""

    repository: Annotated[
        str | None,
        HUB_REPOSITORY,
        Label(
            "Hub repository in diffusers' layout. Exactly one of repository, s3, volume and bundled is set.",
            identity=True,
            mutable=False,
        ),
    ] = None
    revision: Annotated[
        str,
        HUB_REVISION.or_empty(),
        Label(
            "Commit, tag or branch of repository. Default: its main branch. A moving name is resolved once, "
            "pinned for the whole job, and reported in status.resolved.modelCommit.",
            identity=True,
            mutable=False,
        ),
    ] = ""
    s3: Annotated[
        str | None,
        S3_ADDRESS,
        Label(
            "Folder in S3 in diffusers' layout, such as s3://bucket/models/sdxl/. Read with the endpoint, "
            "region and credentials of output.s3, else with those of the pod's environment.",
            identity=True,
            mutable=False,
        ),
    ] = None
    volume: Annotated[ModelVolume | None, Part("Folder of a volume in diffusers' layout.")] = None
    bundled: Annotated[
        str | None,
        DNS_LABEL,
        Label(
            "A small model shipped with the runtime, such as shapes-unet: needs no hub, no bucket and no "
            "GPU.",
            identity=True,
            mutable=False,
        ),
    ] = None
    dtype: Annotated[
        Dtype,
        Label("Floating-point type of the weights and of the arithmetic.", identity=True, mutable=False),
    ] = Dtype.BFLOAT16
    pipeline: Annotated[
        str,
        CLASS_NAME.or_empty(),
        Label(
            "Pipeline class of diffusers, such as StableDiffusionXLImg2ImgPipeline. Default: the one that "
            "model_index.json names.",
            identity=True,
            mutable=False,
        ),
    ] = ""
    variant: Annotated[
        str,
        Text(32, 1, "^[A-Za-z0-9_-]+$", "the variant of the weight files, such as fp16").or_empty(),
        Label(
            "Variant of the weight files, such as fp16. Default: files without a variant.",
            identity=True,
            mutable=False,
        ),
    ] = ""
    vae: Annotated[
        str,
        HUB_REPOSITORY.or_empty(),
        Label("Hub repository of another VAE. Default: the model's own.", identity=True, mutable=False),
    ] = ""
    vae_revision: Annotated[
        str,
        HUB_REVISION.or_empty(),
        Label("Commit, tag or branch of vae. Default: its main branch.", identity=True, mutable=False),
    ] = ""
    adapters: Annotated[
        tuple[Adapter, ...],
        Items(16),
        Part("LoRA, ControlNet and other adapters, applied in this order. Default: none."),
    ] = ()
    quantization: Annotated[
        Quantization | None, Part("Weights in fewer bits. Default: none, weights in dtype.")
    ] = None
    allow_pickle: Annotated[
        bool,
        Label(
            "Whether weight files that are not safetensors may be loaded. A pickle runs code of whoever "
            "wrote "
            "it, with the pod's rights.",
            identity=False,
            mutable=False,
        ),
    ] = False
    token_secret: Annotated[
        str,
        OBJECT_NAME.or_empty(),
        Label(
            "Secret in the job's namespace whose key `token` is the hub's access token. The kubelet mounts "
            "it; the operator never reads it.",
            identity=False,
            mutable=False,
        ),
    ] = ""
