"""The exceptions of the contract: each knows its condition reason and its exit code.

    ContractError
    ├── WrongJobError (64)
    │   ├── InvalidJobError
    │   ├── UnknownOptionError
    │   ├── AnotherJobError
    │   ├── WorklistChangedError
    │   ├── WorklistUnreadableError
    │   ├── UnsupportedVersionError
    │   ├── DamagedRecordError
    │   └── OutputExistsError
    ├── BadLinesError (65)
    │   ├── WorklistLineError
    │   ├── InputRefusedError
    │   └── TooManyFailedItemsError
    ├── ModelUnavailableError (66)
    ├── OutputRefusedError (69)
    │   └── ConditionalWritesUnsupportedError
    ├── UnexpectedError (70)
    │   ├── RankHungError
    │   └── DeviceLostError
    ├── DoesNotFitError (71)
    ├── OutageError (74)
    └── DrainedError (75)

A message is a sentence for the person who must act: what was found, what was wanted, what to do.
"""

from __future__ import annotations

from typing import ClassVar

from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.formats.exit_codes import ExitCode


class ContractError(Exception):
    """Any error that the runtime reports by reason and exit code."""

    reason: ClassVar[Reason] = Reason.UNEXPECTED_ERROR
    exit_code: ClassVar[ExitCode] = ExitCode.UNEXPECTED

    @property
    def retriable(self) -> bool:
        """Whether another pod may do better with the same shard."""
        return self.exit_code.retriable


class WrongJobError(ContractError):
    """The job itself is wrong; every shard would meet the same error."""

    reason = Reason.INVALID_JOB
    exit_code = ExitCode.WRONG_JOB


class InvalidJobError(WrongJobError):
    """A field of the job has a value that the rules refuse."""


class UnknownOptionError(WrongJobError):
    """An option is not one that the pipeline's call has."""

    reason = Reason.UNKNOWN_OPTION


class AnotherJobError(WrongJobError):
    """The output prefix belongs to a job that asked for something else."""

    reason = Reason.ANOTHER_JOB


class WorklistChangedError(WrongJobError):
    """The worklist is not the one that the output prefix was begun with."""

    reason = Reason.WORKLIST_CHANGED


class WorklistUnreadableError(WrongJobError):
    """The worklist as a whole cannot be read."""

    reason = Reason.WORKLIST_UNREADABLE


class UnsupportedVersionError(WrongJobError):
    """A document was written in a major version of its format that this version does not read."""

    reason = Reason.UNSUPPORTED_VERSION


class DamagedRecordError(WrongJobError):
    """A record under the output prefix is damaged, or is not the record that belongs there."""

    reason = Reason.DAMAGED_RECORD


class OutputExistsError(WrongJobError):
    """The output prefix holds a job already and the job says not to resume."""

    reason = Reason.OUTPUT_EXISTS


class BadLinesError(ContractError):
    """Lines or items of this shard are wrong; other shards may be right."""

    reason = Reason.BAD_WORKLIST_LINE
    exit_code = ExitCode.BAD_LINES


class WorklistLineError(BadLinesError):
    """A line of the worklist does not parse."""


class InputRefusedError(BadLinesError):
    """An input image or video cannot be had."""

    reason = Reason.INPUT_REFUSED


class TooManyFailedItemsError(BadLinesError):
    """More items failed or were rejected than the job allows."""

    reason = Reason.TOO_MANY_FAILED_ITEMS


class ModelUnavailableError(ContractError):
    """The model or an adapter is missing, gated or unreadable."""

    reason = Reason.MODEL_UNAVAILABLE
    exit_code = ExitCode.MODEL_UNAVAILABLE


class OutputRefusedError(ContractError):
    """The output may not be written."""

    reason = Reason.OUTPUT_REFUSED
    exit_code = ExitCode.OUTPUT_REFUSED


class ConditionalWritesUnsupportedError(OutputRefusedError):
    """The object store ignores If-None-Match."""

    reason = Reason.CONDITIONAL_WRITES_UNSUPPORTED


class DoesNotFitError(ContractError):
    """The model needs more GPU memory than there is."""

    reason = Reason.DOES_NOT_FIT
    exit_code = ExitCode.DOES_NOT_FIT


class OutageError(ContractError):
    """The output or the model hub stayed away through every retry."""

    reason = Reason.OUTAGE
    exit_code = ExitCode.OUTAGE


class DrainedError(ContractError):
    """The pod was asked to go; its shard is to be resumed."""

    reason = Reason.DRAINED
    exit_code = ExitCode.DRAINED


class UnexpectedError(ContractError):
    """Anything else; another pod tries again."""


class RankHungError(UnexpectedError):
    """A rank gave no sign of life within the watchdog's time."""

    reason = Reason.RANK_HUNG


class DeviceLostError(UnexpectedError):
    """A GPU failed."""

    reason = Reason.DEVICE_LOST


def exit_code_of(error: BaseException) -> ExitCode:
    """Gives the code with which a process ends because of an error, of this tree or not."""
    return error.exit_code if isinstance(error, ContractError) else ExitCode.UNEXPECTED


def reason_of(error: BaseException) -> Reason:
    """Gives the reason under which an error is reported, of this tree or not."""
    return error.reason if isinstance(error, ContractError) else Reason.UNEXPECTED_ERROR
