"""What can go wrong in the engine, and what to do about it.

EngineError
├── LayoutError          the degrees asked for do not fit the ranks there are
├── Refused              this pipeline, scheduler or call cannot be run this way
│   ├── PipelineRefused
│   ├── CaptureRefused
│   ├── LookaheadRefused
│   ├── ScheduleRefused
│   └── SplitRefused
└── PeerError            another rank is at fault, or the ranks no longer agree
    ├── RankFailed
    ├── RanksDiverged
    └── RankTimeout
"""


class EngineError(Exception):
    """Base of every error that the engine raises on its own account."""


class LayoutError(EngineError, ValueError):
    """The degrees of parallelism do not fit the number of ranks."""


class Refused(EngineError, ValueError):
    """What was asked for cannot be done here; the message says why and what can."""


class PipelineRefused(Refused):
    """The pipeline carries something that the engine cannot work beneath (offloading, another compiler)."""


class CaptureRefused(Refused):
    """The denoiser does something that no graph can hold; the message names the operation and the module."""

    @classmethod
    def at(cls, error: Exception, place: str) -> "CaptureRefused":
        """Says where capturing failed with `error`; `place` is a line of the model's code and a module."""
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        where = f" at {place}" if place else ""
        return cls(
            f"The denoiser cannot be captured as a graph{where}: {type(error).__name__}: {_sentence(reason[:400])}"
        )


class LookaheadRefused(Refused):
    """The inputs of later evaluations cannot be predicted for this scheduler or call."""


class ScheduleRefused(Refused):
    """A schedule cannot be carried out, or its text is none; the message names tick, stage, segment and evaluation."""


class SplitRefused(Refused):
    """The denoiser's rows cannot be evaluated apart from each other, or there are too few of them."""


class PeerError(EngineError, RuntimeError):
    """A collective step failed because of another rank."""


class RankFailed(PeerError):
    """Another rank raised an exception, whose traceback is on that rank; or this one did, which others then know."""

    @classmethod
    def here(cls, about: str, error: Exception) -> "RankFailed":
        """Says that this rank failed with `error`. It is no refusal, after which it would try another way alone."""
        return cls(f"This rank failed at {about}: {type(error).__name__}: {error}")


class RanksDiverged(PeerError):
    """Ranks entered the same evaluation with different inputs."""


class RankTimeout(PeerError):
    """A rank did not arrive at a collective step in time."""


def _sentence(reason: str) -> str:
    return reason if reason.endswith((".", "!", "?")) else f"{reason}."
