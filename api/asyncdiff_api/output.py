"""`spec.output` and `spec.acceptance`: where pictures go, in which form, and which are refused."""

from enum import StrEnum
from typing import Annotated

from asyncdiff_api.fields import OBJECT_NAME, Label, Part, Range, Section, Text
from asyncdiff_api.sources import OutputVolume


class Addressing(StrEnum):
    """How a bucket is addressed."""

    AUTO = "Auto"
    PATH = "Path"
    VIRTUAL = "Virtual"


class ConditionalWrites(StrEnum):
    """Whether the store must honour If-None-Match."""

    REQUIRED = "Required"
    BEST_EFFORT = "BestEffort"


class Format(StrEnum):
    """The form of the files written."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WebP"
    MP4 = "MP4"
    WEBM = "WebM"
    FRAMES = "Frames"


class OnExisting(StrEnum):
    """What to do about items that are there already."""

    SKIP = "Skip"
    FAIL = "Fail"


class S3(Section):
    """A prefix of an S3 bucket, and how to reach it."""

    bucket: Annotated[
        str,
        Text(
            63,
            3,
            "^[a-z0-9][a-z0-9.-]*[a-z0-9]$",
            "the name of a bucket: 3 to 63 lower-case letters, digits, '-' and '.'",
        ),
        Label("Bucket, which must exist.", identity=False, mutable=False),
    ]
    prefix: Annotated[
        str,
        Text(512, 1, "^[^/]", "a prefix without a leading '/', such as posters/"),
        Label(
            "Folder in the bucket, such as posters/; a closing '/' is added where it is missing. A job of "
            "the "
            "same request on the same prefix resumes it.",
            identity=False,
            mutable=False,
        ),
    ]
    endpoint: Annotated[
        str,
        Text(
            512, 1, "^https?://[^/]+/?$", "the address of an S3 service, such as http://minio:9000"
        ).or_empty(),
        Label("Address of the S3 service. Default: AWS.", identity=False, mutable=False),
    ] = ""
    region: Annotated[
        str,
        Text(64, 1, "^[a-z0-9-]+$", "a region, such as eu-central-1").or_empty(),
        Label("Region. Default: that of the pod's environment.", identity=False, mutable=False),
    ] = ""
    credentials_secret: Annotated[
        str,
        OBJECT_NAME.or_empty(),
        Label(
            "Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Default: the service "
            "account's "
            "workload identity.",
            identity=False,
            mutable=False,
        ),
    ] = ""
    addressing: Annotated[
        Addressing,
        Label(
            "Path (endpoint/bucket), Virtual (bucket.endpoint), or Auto: Path wherever endpoint is set.",
            identity=False,
            mutable=False,
        ),
    ] = Addressing.AUTO
    conditional_writes: Annotated[
        ConditionalWrites,
        Label(
            "Required refuses a store that does not honour If-None-Match, which keeps two pods from "
            "recording "
            "one item twice. BestEffort goes on without.",
            identity=False,
            mutable=False,
        ),
    ] = ConditionalWrites.REQUIRED


class Output(Section):
    """Where pictures go, and in which form. Exactly one of s3 and volume is set."""

    s3: Annotated[S3 | None, Part("A prefix of an S3 bucket.")] = None
    volume: Annotated[OutputVolume | None, Part("A folder of a volume.")] = None
    format: Annotated[
        Format,
        Label(
            "PNG, JPEG or WebP for pictures; MP4, WebM or Frames (numbered PNGs) for videos.",
            identity=True,
            mutable=False,
        ),
    ] = Format.PNG
    encoder_quality: Annotated[
        int | None,
        Range(1, 100),
        Label(
            "Quality of JPEG, WebP, MP4 and WebM; more is better. Default: 95.", identity=True, mutable=False
        ),
    ] = None
    gallery: Annotated[
        bool, Label("Write an index.html with a contact sheet.", identity=False, mutable=False)
    ] = True
    on_existing: Annotated[
        OnExisting,
        Label(
            "Items that the prefix already holds: Skip resumes behind them, Fail refuses the job.",
            identity=False,
            mutable=False,
        ),
    ] = OnExisting.SKIP


class Acceptance(Section):
    """Which results count as failed, and how many a job may have."""

    reject_blank: Annotated[
        bool,
        Label(
            "Put black, uniform and not-a-number pictures under rejected/ and count them.",
            identity=False,
            mutable=False,
        ),
    ] = True
    max_failed_items: Annotated[
        int,
        Range(0, 10_000_000),
        Label(
            "Failed and rejected items up to which the job still completes. A shard that alone has more ends, by the "
            "value with which the job was created; a later change counts when all shards have ended.",
            identity=False,
            mutable=True,
        ),
    ] = 0
