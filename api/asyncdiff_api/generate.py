"""`spec.generate`: what to make, item by item."""

from typing import Annotated

from pydantic import Field, JsonValue

from asyncdiff_api.fields import (
    CLASS_NAME,
    INPUT_ADDRESS,
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

PROMPT = Text(1024)
OWN_DEFAULT = "Default: the pipeline's own."


class ConfigMapKey(Section):
    """One key of a ConfigMap."""

    name: Annotated[
        str,
        OBJECT_NAME,
        Label("ConfigMap in the job's namespace; mounted by the kubelet.", identity=True, mutable=False),
    ]
    key: Annotated[
        str,
        Text(253, 1, "^[A-Za-z0-9._-]+$", "a key of the ConfigMap, such as worklist.jsonl"),
        Label("Key whose value is the worklist.", identity=True, mutable=False),
    ]


class Worklist(Section):
    """A file of JSON lines, one item or several each. Exactly one of s3 and configMap is set."""

    s3: Annotated[
        str | None,
        S3_ADDRESS,
        Label(
            "Address of the JSONL file, up to 10 million lines. Its ETag is pinned by the first pod. Read "
            "with "
            "the endpoint, region and credentials of output.s3, else with those of the pod's environment.",
            identity=True,
            mutable=False,
        ),
    ] = None
    config_map: Annotated[ConfigMapKey | None, Part("ConfigMap key that holds the JSONL text.")] = None


class Seeds(Section):
    """Seeds for every prompt: items = prompts × seeds."""

    start: Annotated[
        int,
        Range(0, 2**53 - 1),
        Label(
            "First seed. Every item draws its noise from its own seed alone.", identity=True, mutable=False
        ),
    ] = 0
    count: Annotated[
        int,
        Range(1, 1_000_000),
        Label(
            "Seeds per prompt: start, start + 1, ... A worklist line with a seed of its own makes one item.",
            identity=True,
            mutable=False,
        ),
    ] = 1


class Scheduler(Section):
    """The noise scheduler."""

    class_name: Annotated[
        str,
        CLASS_NAME.or_empty(),
        Label(
            "Scheduler class of diffusers, such as EulerDiscreteScheduler. Default: the model's own.",
            identity=True,
            mutable=False,
        ),
    ] = Field("", alias="class")
    config: Annotated[
        dict[str, JsonValue],
        Entries(32),
        Label("Fields of the scheduler's configuration to change.", identity=True, mutable=False),
    ] = Field(default_factory=dict)


class Inputs(Section):
    """Pictures and videos to start from, one for all items; a worklist line may name its own."""

    image: Annotated[
        str | None,
        INPUT_ADDRESS,
        Label(
            "Picture to change (image to image, inpainting, video from image).", identity=True, mutable=False
        ),
    ] = None
    mask: Annotated[
        str | None,
        INPUT_ADDRESS,
        Label("Inpainting mask for image: white is painted anew.", identity=True, mutable=False),
    ] = None
    control: Annotated[
        str | None,
        INPUT_ADDRESS,
        Label("Control picture for ControlNet and T2IAdapter.", identity=True, mutable=False),
    ] = None
    reference: Annotated[
        str | None,
        INPUT_ADDRESS,
        Label("Picture that an IPAdapter takes subject or style from.", identity=True, mutable=False),
    ] = None
    video: Annotated[
        str | None, INPUT_ADDRESS, Label("Video to change (video to video).", identity=True, mutable=False)
    ] = None


class Generate(Section):
    """What to make: prompts or a worklist, seeds, and how each item is sampled."""

    prompts: Annotated[
        tuple[Annotated[str, PROMPT], ...] | None,
        Items(256, minimum=1),
        Label(
            "Up to 256 prompts of up to 1024 characters. Exactly one of prompts and worklist is set.",
            identity=True,
            mutable=False,
        ),
    ] = None
    worklist: Annotated[Worklist | None, Part("A file of JSON lines, in place of prompts.")] = None
    seeds: Annotated[Seeds, Part("Seeds for every prompt: items = prompts × seeds.")] = Seeds()
    negative_prompt: Annotated[
        str, PROMPT, Label("What the pictures should not show.", identity=True, mutable=False)
    ] = ""
    scheduler: Annotated[Scheduler, Part("The noise scheduler. Default: the model's own.")] = Scheduler()
    steps: Annotated[
        int | None, Range(1, 1000), Label(f"Scheduler steps. {OWN_DEFAULT}", identity=True, mutable=False)
    ] = None
    guidance_scale: Annotated[
        float | None,
        Range(0.0, 100.0),
        Label(f"Classifier-free guidance scale. {OWN_DEFAULT}", identity=True, mutable=False),
    ] = None
    height: Annotated[
        int | None,
        Range(8, 16384),
        Label(f"Height in pixels, a multiple of 8. {OWN_DEFAULT}", identity=True, mutable=False),
    ] = None
    width: Annotated[
        int | None,
        Range(8, 16384),
        Label(f"Width in pixels, a multiple of 8. {OWN_DEFAULT}", identity=True, mutable=False),
    ] = None
    frames: Annotated[
        int | None,
        Range(1, 2048),
        Label(
            f"Frames of a video pipeline; needs a video format. {OWN_DEFAULT}", identity=True, mutable=False
        ),
    ] = None
    fps: Annotated[
        int | None,
        Range(1, 240),
        Label("Frames per second of the file written. Default: 8.", identity=True, mutable=False),
    ] = None
    inputs: Annotated[Inputs, Part("Pictures and videos to start from. Default: none.")] = Inputs()
    options: Annotated[
        dict[str, JsonValue],
        Entries(64),
        Label(
            "Passed to the pipeline's call as they are. Unknown names are refused before the model is "
            "loaded.",
            identity=True,
            mutable=False,
        ),
    ] = Field(default_factory=dict)
