"""`spec.parallelism`: how many GPUs, and how they share the work."""

from enum import StrEnum
from typing import Annotated

from asyncdiff_api.fields import Items, Label, Part, Range, Section, Text


class Device(StrEnum):
    """What the ranks compute on."""

    CUDA = "CUDA"
    CPU = "CPU"


class BatchSize(StrEnum):
    """A batch size that is not a number."""

    AUTO = "Auto"


class Compile(StrEnum):
    """How the denoiser is compiled. `Never`, not `Off`: YAML reads a bare Off as false."""

    AUTO = "Auto"
    NEVER = "Never"
    CAPTURED = "Captured"
    MAX_AUTOTUNE = "MaxAutotune"


class Strategy(StrEnum):
    """How the ranks of a pod share the denoising."""

    AUTO = "Auto"
    DATA = "Data"
    LOOKAHEAD = "Lookahead"
    ASYNC_STAGES = "AsyncStages"
    PATCHES = "Patches"
    CONTEXT = "Context"


class GuidanceSplit(StrEnum):
    """Whether the two branches of guidance run on two groups of ranks."""

    AUTO = "Auto"
    ALWAYS = "Always"
    NEVER = "Never"


class Prediction(StrEnum):
    """What a stage reads for a value that is not there yet."""

    HOLD = "Hold"
    EXTRAPOLATE = "Extrapolate"


class StageWeights(StrEnum):
    """Which weights a rank holds."""

    REPLICATED = "Replicated"
    SHARDED = "Sharded"


class PatchMode(StrEnum):
    """What a patch reads of its neighbours."""

    STALE = "Stale"
    FRESH = "Fresh"


class Quality(StrEnum):
    """How far Auto may depart from the sequential picture."""

    EXACT = "Exact"
    CLOSE = "Close"
    FAST = "Fast"


class OnCaptureFailure(StrEnum):
    """What becomes of a job whose denoiser cannot be captured as a graph."""

    FAIL = "Fail"
    DATA = "Data"


class Lookahead(Section):
    """Several evaluations of one sample at once, on predicted latents that are checked when they arrive."""

    degree: Annotated[
        int,
        Range(2, 16),
        Label("Evaluations in flight, each on a group of ranks of its own.", identity=True, mutable=False),
    ] = 2
    tolerance: Annotated[
        float,
        Range(0.0, 1.0),
        Label(
            "Largest accepted error of a predicted latent, relative to the noise. 0 accepts none: exact.",
            identity=True,
            mutable=False,
        ),
    ] = 0.03
    warmup_steps: Annotated[
        int,
        Range(1, 1000),
        Label("Exact evaluations at the start; the first always is.", identity=True, mutable=False),
    ] = 3
    exact_tail_steps: Annotated[
        int, Range(0, 1000), Label("Exact evaluations at the end.", identity=True, mutable=False)
    ] = 2


class AsyncStages(Section):
    """The denoiser cut into stages that run at once on values of earlier evaluations (AsyncDiff)."""

    stages: Annotated[
        int | None,
        Range(1, 16),
        Label(
            "Parts of the denoiser, one rank each. 1 with stride > 1 is one GPU that refreshes its deep part "
            "every stride-th evaluation. Default: gpusPerPod ÷ guidance groups.",
            identity=True,
            mutable=False,
        ),
    ] = None
    stride: Annotated[
        int,
        Range(1, 16),
        Label(
            "Evaluations between two refreshes of every stage but the shell.", identity=True, mutable=False
        ),
    ] = 1
    warmup_steps: Annotated[
        int,
        Range(1, 1000),
        Label("Exact evaluations at the start; the first always is.", identity=True, mutable=False),
    ] = 1
    exact_tail_steps: Annotated[
        int, Range(0, 1000), Label("Exact evaluations at the end.", identity=True, mutable=False)
    ] = 0
    prediction: Annotated[
        Prediction,
        Label(
            "What a stage reads for a value of an earlier evaluation: Hold takes it as it was, Extrapolate "
            "continues it (first order, damped to one half).",
            identity=True,
            mutable=False,
        ),
    ] = Prediction.HOLD
    time_shift: Annotated[
        bool,
        Label("Give the denoiser the previous, noisier timestep.", identity=True, mutable=False),
    ] = False
    cut: Annotated[
        tuple[
            Annotated[
                str,
                Text(
                    256,
                    1,
                    "^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z0-9_]+)*$",
                    "the path of a module, such as up_blocks.1",
                ),
            ],
            ...,
        ],
        Items(16),
        Label(
            "Paths of the modules at which a new stage begins, such as up_blocks.1. Default: balanced by "
            "measured time.",
            identity=True,
            mutable=False,
        ),
    ] = ()
    weights: Annotated[
        StageWeights,
        Label(
            "Replicated: every rank holds the whole denoiser. Sharded: its own stage only.",
            identity=True,
            mutable=False,
        ),
    ] = StageWeights.REPLICATED


class Patches(Section):
    """The picture cut into horizontal patches, one rank each."""

    mode: Annotated[
        PatchMode,
        Label(
            "Stale: neighbours' values of the evaluation before (DistriFusion). Fresh: exact.",
            identity=True,
            mutable=False,
        ),
    ] = PatchMode.STALE
    neighbour_fraction: Annotated[
        float,
        Range(0.0, 1.0),
        Label(
            "Share of the neighbouring patches' rows that attention sees; 1 is every row of every patch. "
            "Less "
            "sends less (PCPP).",
            identity=True,
            mutable=False,
        ),
    ] = 1.0
    warmup_steps: Annotated[
        int,
        Range(1, 1000),
        Label("Exact evaluations at the start; the first always is.", identity=True, mutable=False),
    ] = 4


class Parallelism(Section):
    """How many GPUs, and how they share the work."""

    gpus_per_pod: Annotated[
        int,
        Range(1, 16),
        Label(
            "Ranks per pod, one GPU each. With device CPU: processes per pod; no GPU is asked for.",
            identity=False,
            mutable=False,
        ),
    ] = 1
    pods: Annotated[
        int,
        Range(1, 10_000),
        Label(
            "Pods that run at once; what `kubectl scale` sets. More than shards is clamped. Fixed with "
            "queueName.",
            identity=False,
            mutable=True,
        ),
    ] = 1
    device: Annotated[
        Device, Label("What the ranks compute on: CUDA or CPU.", identity=False, mutable=False)
    ] = Device.CUDA
    shards: Annotated[
        int | None,
        Range(1, 10_000),
        Label(
            "Parts that the worklist is cut into; one pod works off one at a time. Default: 4 × pods, at "
            "most "
            "one per item.",
            identity=False,
            mutable=False,
        ),
    ] = None
    batch_size: Annotated[
        Annotated[int, Range(1, 1024)] | BatchSize,
        Label(
            "Items that a rank denoises together, or Auto: what fits and is fastest.",
            identity=False,
            mutable=False,
        ),
    ] = BatchSize.AUTO
    compile: Annotated[
        Compile,
        Label(
            "How the denoiser is compiled. Captured: its graph, freed of what does not change, and kept "
            "compiled in the cache for later pods. Auto and MaxAutotune: its modules, by torch.compile, where "
            "the ranks make one sample together on GPUs.",
            identity=False,
            mutable=False,
        ),
    ] = Compile.AUTO
    attention_backend: Annotated[
        str,
        Text(
            64, 1, "^_?[a-z][a-z0-9_]*$", "the name of a diffusers attention back end, such as native"
        ).or_empty(),
        Label(
            "Name of the diffusers attention kernel, such as flash or _native_cudnn. Default: diffusers' "
            "choice.",
            identity=True,
            mutable=False,
        ),
    ] = ""
    strategy: Annotated[
        Strategy,
        Label(
            "How the ranks of a pod share the denoising: Data gives each its own items, the others work "
            "on one "
            "sample together, Auto chooses by predicted time, memory and number of items.",
            identity=True,
            mutable=False,
        ),
    ] = Strategy.AUTO
    guidance_split: Annotated[
        GuidanceSplit,
        Label(
            "Whether the two branches of guidance run on two groups of ranks; multiplies with any strategy. "
            "Auto: where it is faster.",
            identity=True,
            mutable=False,
        ),
    ] = GuidanceSplit.AUTO
    lookahead: Annotated[
        Lookahead | None,
        Part("Settings of strategy Lookahead; Auto keeps to them too. Default: those below."),
    ] = None
    async_stages: Annotated[
        AsyncStages | None,
        Part("Settings of strategy AsyncStages; Auto keeps to them too. Default: those below."),
    ] = None
    patches: Annotated[
        Patches | None, Part("Settings of strategy Patches; Auto keeps to them too. Default: those below.")
    ] = None
    quality: Annotated[
        Quality,
        Label(
            "What strategy Auto may choose: Exact the sequential picture, Close a hardly visible difference, "
            "Fast also FP8. An explicit strategy is taken as it is.",
            identity=True,
            mutable=False,
        ),
    ] = Quality.EXACT
    on_capture_failure: Annotated[
        OnCaptureFailure,
        Label(
            "When the strategy needs the denoiser's graph and it cannot be captured: Fail the job, or fall "
            "back to Data.",
            identity=True,
            mutable=False,
        ),
    ] = OnCaptureFailure.FAIL
