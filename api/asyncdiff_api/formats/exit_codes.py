"""Exit codes of the runtime's containers, and what the Job controller does at each.

The numbers follow sysexits.h where it has a fitting one. They are part of the contract between runtime and
operator: a Job that runs already carries them in its podFailurePolicy, so a number never changes its meaning.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

_SIGNALS_FROM = 128


class FailurePolicyAction(StrEnum):
    """What the Job's podFailurePolicy does with a pod that ended with a code."""

    NONE = "None"
    """Nothing: the pod succeeded."""
    FAIL_JOB = "FailJob"
    """The whole job ends: every shard would meet the same error."""
    FAIL_INDEX = "FailIndex"
    """This shard ends and is not retried; the others run on."""
    IGNORE = "Ignore"
    """The pod is replaced and no retry is charged."""
    COUNT = "Count"
    """The pod is replaced and one of the shard's retries is charged."""


class ExitCode(IntEnum):
    """Why a container of the runtime ended."""

    DONE = 0
    WRONG_JOB = 64
    BAD_LINES = 65
    MODEL_UNAVAILABLE = 66
    OUTPUT_REFUSED = 69
    UNEXPECTED = 70
    DOES_NOT_FIT = 71
    OUTAGE = 74
    DRAINED = 75

    @property
    def meaning(self) -> str:
        """What happened, in one sentence."""
        return _MEANING[self]

    @property
    def action(self) -> FailurePolicyAction:
        """What the Job's podFailurePolicy does with it."""
        return _ACTION[self]

    @property
    def retriable(self) -> bool:
        """Whether another pod may do better with the same shard."""
        return self.action in (FailurePolicyAction.IGNORE, FailurePolicyAction.COUNT)


_MEANING = {
    ExitCode.DONE: "Every item of the shard is recorded.",
    ExitCode.WRONG_JOB: "The job itself is wrong: its configuration, an option, or another job's prefix.",
    ExitCode.BAD_LINES: "More of this shard's lines or items failed than maxFailedItems allows.",
    ExitCode.MODEL_UNAVAILABLE: "The model is missing, gated or unreadable.",
    ExitCode.OUTPUT_REFUSED: "The output may not be written: no bucket, permission or conditional writes.",
    ExitCode.UNEXPECTED: "Anything else, a lost or hung GPU included.",
    ExitCode.DOES_NOT_FIT: "The model does not fit the GPUs that the job asked for.",
    ExitCode.OUTAGE: "The output or the model hub stayed away through every retry.",
    ExitCode.DRAINED: "The pod was asked to go, wrote down what was finished, and wants to be resumed.",
}

_ACTION = {
    ExitCode.DONE: FailurePolicyAction.NONE,
    ExitCode.WRONG_JOB: FailurePolicyAction.FAIL_JOB,
    ExitCode.BAD_LINES: FailurePolicyAction.FAIL_INDEX,
    ExitCode.MODEL_UNAVAILABLE: FailurePolicyAction.FAIL_JOB,
    ExitCode.OUTPUT_REFUSED: FailurePolicyAction.FAIL_JOB,
    ExitCode.UNEXPECTED: FailurePolicyAction.COUNT,
    ExitCode.DOES_NOT_FIT: FailurePolicyAction.FAIL_JOB,
    ExitCode.OUTAGE: FailurePolicyAction.COUNT,
    ExitCode.DRAINED: FailurePolicyAction.IGNORE,
}


def codes_with(action: FailurePolicyAction) -> tuple[ExitCode, ...]:
    """Gives the codes that a podFailurePolicy rule with this action lists, in ascending order."""
    return tuple(code for code in sorted(ExitCode) if code.action is action)


def describe_exit(code: int) -> str:
    """Says in one sentence what an exit code means, also one that the runtime did not choose."""
    if code in tuple(ExitCode):
        return ExitCode(code).meaning
    if code > _SIGNALS_FROM:
        return f"The container was ended by signal {code - _SIGNALS_FROM}."
    return f"The container ended with {code}, which is none of the runtime's codes."
