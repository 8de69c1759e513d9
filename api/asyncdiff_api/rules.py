"""The rules between fields, each written once: Python checks them, and the CRD carries them as CEL.

A message says what was found, does the arithmetic, and names the remedy.
"""

from typing import Final

from asyncdiff_api.expressions import SELF, number
from asyncdiff_api.fields import Section
from asyncdiff_api.generate import Generate, Worklist
from asyncdiff_api.job import JobSpec, Metadata
from asyncdiff_api.model import Adapter, Model
from asyncdiff_api.output import Format, Output
from asyncdiff_api.parallelism_rules import PARALLELISM_RULES
from asyncdiff_api.pod import LABEL_KEY
from asyncdiff_api.pod_rules import POD_RULES
from asyncdiff_api.rule import Reason, Rule, exactly_one
from asyncdiff_api.run import Run
from asyncdiff_api.sources import ModelVolume, OutputVolume

MOST_ITEMS: Final = 10_000_000
VIDEO_FORMATS: Final = (Format.MP4, Format.WEBM, Format.FRAMES)


def _multiple_of_8(name: str) -> Rule:
    size = SELF.number(name)
    return Rule(
        Generate,
        name,
        SELF.has(name).implies((size % 8).equals(0)),
        (
            f"{name} must be a multiple of 8, the latent's scale: ",
            size,
            " = 8 × ",
            size // 8,
            " + ",
            size % 8,
            "; set it to ",
            size // 8 * 8,
            " or ",
            (size // 8 + 1) * 8,
        ),
    )


def _inside_the_volume(scope: type[Section]) -> Rule:
    return Rule(
        scope,
        "path",
        ~SELF.string("path").matches("(^|/)[.][.](/|$)"),
        ("path must stay inside the volume: remove the '..' from ", SELF.string("path")),
    )


_MODEL: Final = (
    exactly_one(Model, "repository", "s3", "volume", "bundled"),
    Rule(
        Model,
        "revision",
        SELF.string("revision").equals("") | SELF.has("repository"),
        "revision is the repository's, and no repository is set: name one, or remove revision",
        Reason.FORBIDDEN,
    ),
    Rule(
        Model,
        "vaeRevision",
        SELF.string("vaeRevision").equals("") | SELF.string("vae").differs(""),
        "vaeRevision is that of vae, and no vae is set: name one, or remove vaeRevision",
        Reason.FORBIDDEN,
    ),
    Rule(
        Model,
        "tokenSecret",
        SELF.string("tokenSecret").equals("")
        | SELF.has("repository")
        | SELF.string("vae").differs("")
        | SELF.collection("adapters").any(lambda adapter: adapter.has("repository")),
        (
            "tokenSecret is for the hub, and nothing comes from there: set repository, vae or an "
            "adapter's "
            "repository, or remove tokenSecret"
        ),
        Reason.FORBIDDEN,
    ),
    exactly_one(Adapter, "repository", "s3", "volume"),
    Rule(
        Adapter,
        "revision",
        SELF.string("revision").equals("") | SELF.has("repository"),
        "revision is the repository's, and no repository is set: name one, or remove revision",
        Reason.FORBIDDEN,
    ),
    _inside_the_volume(ModelVolume),
)

_ITEMS: Final = SELF.collection("prompts").size() * SELF.number("seeds.count")

_GENERATE: Final = (
    exactly_one(Generate, "prompts", "worklist"),
    exactly_one(Worklist, "s3", "configMap"),
    _multiple_of_8("height"),
    _multiple_of_8("width"),
    Rule(
        Generate,
        "seeds.count",
        SELF.has("prompts").implies(_ITEMS <= MOST_ITEMS),
        (
            SELF.collection("prompts").size(),
            " prompts × ",
            SELF.number("seeds.count"),
            " seeds = ",
            _ITEMS,
            " items; a job has at most ",
            number(MOST_ITEMS),
            ": lower seeds.count, or make several jobs with other seeds.start",
        ),
    ),
    Rule(
        Generate,
        "inputs.mask",
        (SELF.has("prompts") & SELF.has("inputs.mask")).implies(SELF.has("inputs.image")),
        "a mask says which part of inputs.image is painted anew: set inputs.image, or remove inputs.mask",
        Reason.FORBIDDEN,
    ),
)

_FORMAT: Final = SELF.string("format")

_OUTPUT: Final = (
    exactly_one(Output, "s3", "volume"),
    Rule(
        Output,
        "encoderQuality",
        SELF.has("encoderQuality").implies(
            _FORMAT.is_one_of(Format.JPEG, Format.WEBP, Format.MP4, Format.WEBM)
        ),
        (
            "encoderQuality is for formats that lose something, and format ",
            _FORMAT,
            " does not: remove it, or set format to JPEG, WebP, MP4 or WebM",
        ),
        Reason.FORBIDDEN,
    ),
    _inside_the_volume(OutputVolume),
)

_RUN: Final = (
    Rule(
        Run,
        "suspend",
        SELF.string("queueName").equals("") | ~SELF.truth("suspend"),
        "with queueName it is Kueue that suspends: remove suspend, or stop the queue's Workload instead",
        Reason.FORBIDDEN,
    ),
)

_ALL_ITEMS: Final = SELF.collection("generate.prompts").size() * SELF.number("generate.seeds.count")

_SPEC: Final = (
    *(
        Rule(
            JobSpec,
            f"generate.{name}",
            SELF.has(f"generate.{name}").implies(SELF.string("output.format").is_one_of(*formats)),
            (
                f"{name} is for videos, and output.format ",
                SELF.string("output.format"),
                f" is none of {', '.join(formats)}: set one of these, or remove {name}",
            ),
            Reason.FORBIDDEN,
        )
        for name, formats in (("frames", VIDEO_FORMATS), ("fps", VIDEO_FORMATS[:2]))
    ),
    Rule(
        JobSpec,
        "parallelism.shards",
        (SELF.has("generate.prompts") & SELF.has("parallelism.shards")).implies(
            SELF.number("parallelism.shards") <= _ALL_ITEMS
        ),
        (
            "shards is ",
            SELF.number("parallelism.shards"),
            " and there are ",
            SELF.collection("generate.prompts").size(),
            " prompts × ",
            SELF.number("generate.seeds.count"),
            " seeds = ",
            _ALL_ITEMS,
            " items: set shards to that at most, or remove it",
        ),
    ),
    Rule(
        JobSpec,
        "generate.inputs.control",
        (
            SELF.has("generate.prompts")
            & SELF.collection("model.adapters").any(
                lambda adapter: adapter.string("kind").is_one_of("ControlNet", "T2IAdapter")
            )
        ).implies(SELF.has("generate.inputs.control")),
        (
            "model.adapters has a ControlNet or T2IAdapter and no control picture: set "
            "generate.inputs.control, or remove the adapter"
        ),
    ),
)

_METADATA: Final = (
    Rule(
        Metadata,
        "name",
        SELF.has("name") | SELF.has("generateName"),
        "a job needs a name, such as posters: set metadata.name",
    ),
    *(
        Rule(
            Metadata,
            name,
            SELF.has(name).implies(
                SELF.collection(name).every(lambda key: key.string().matches(LABEL_KEY.pattern))
            ),
            f"every key of {name} must be one that Kubernetes allows, such as team or example.com/team",
        )
        for name in ("labels", "annotations")
    ),
)

RULES: Final[tuple[Rule, ...]] = (
    *_METADATA,
    *_MODEL,
    *_GENERATE,
    *PARALLELISM_RULES,
    *_OUTPUT,
    *POD_RULES,
    *_RUN,
    *_SPEC,
)


def rules_of(scope: type[Section]) -> tuple[Rule, ...]:
    """The rules for objects of one section."""
    return tuple(rule for rule in RULES if rule.scope is scope)
