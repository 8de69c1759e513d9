"""`AsyncDiffJob`: the resource as a whole."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue

from asyncdiff_api.fields import DNS_LABEL, Part, Section, Text
from asyncdiff_api.generate import Generate
from asyncdiff_api.model import Model
from asyncdiff_api.output import Acceptance, Output
from asyncdiff_api.parallelism import Parallelism
from asyncdiff_api.pod import LABEL_VALUE, Pod
from asyncdiff_api.run import Run
from asyncdiff_api.status import JobStatus

GROUP: Final = "asyncdiff.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "AsyncDiffJob"
PLURAL: Final = "asyncdiffjobs"
API_VERSION: Final = f"{GROUP}/{VERSION}"

# A pod's host name is the child Job's name and an index, at most 63 characters: 45 for the job, 9 for the
# uid's digits, 5 for the index, and room for the finish job's ending.
JOB_NAME = Text(45, 1, DNS_LABEL.pattern, "a name of up to 45 lower-case letters, digits and '-'")


SPEC_DESCRIPTION: Final = (
    "What is wanted: which model, what to generate with it, on how many GPUs, and where the output goes. "
    "Fields are fixed once the job exists, unless they say otherwise."
)


class Metadata(Section):
    """Kubernetes' object metadata: the parts that people write are checked, the rest is carried."""

    name: Annotated[str | None, JOB_NAME] = None
    generate_name: Annotated[
        str | None, Text(40, 1, "^[a-z0-9][-a-z0-9]*$", "the beginning of a job's name")
    ] = None
    namespace: Annotated[str | None, DNS_LABEL] = None
    labels: dict[str, Annotated[str, LABEL_VALUE]] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    uid: str | None = None
    generation: int | None = None
    resource_version: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[dict[str, JsonValue], ...] = ()
    managed_fields: tuple[dict[str, JsonValue], ...] = ()
    self_link: str | None = None


class JobSpec(Section):
    """What is wanted. Fixed once the job exists, but for the fields that say otherwise."""

    model: Annotated[Model, Part("Which weights, from where, in which precision.")]
    generate: Annotated[
        Generate, Part("What to make: prompts or a worklist, seeds, and how each is sampled.")
    ]
    parallelism: Annotated[Parallelism, Part("How many GPUs, and how they share the work.")] = Parallelism()
    output: Annotated[Output, Part("Where pictures go, and in which form.")]
    acceptance: Annotated[Acceptance, Part("Which results count as failed, and how many a job may have.")] = (
        Acceptance()
    )
    run: Annotated[Run, Part("When the job starts, how long it may take, what is tried again.")] = Run()
    pod: Annotated[Pod, Part("What the pods need of the cluster.")] = Pod()


class AsyncDiffJob(Section):
    """One batch of pictures or videos, made from a list of prompts by a diffusion model on GPUs."""

    api_version: Literal["asyncdiff.dev/v1alpha1"] = "asyncdiff.dev/v1alpha1"
    kind: Literal["AsyncDiffJob"] = "AsyncDiffJob"
    metadata: Metadata = Metadata()
    spec: Annotated[JobSpec, Part(SPEC_DESCRIPTION)]
    status: Annotated[JobStatus | None, Part("What the operator reports.")] = None

    def document(self) -> dict[str, Any]:
        """The job as the YAML document that describes it: defaults included, what is not set left out."""
        parts = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        parts["metadata"] = self.metadata.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return parts
