"""The operator's exceptions.

OperatorError
├── StartError             cannot start: wrong settings, no CRD, no permission
├── LeadershipLostError    another replica may write now
└── ApiError               the API server said no, or nothing
    ├── UnreachableError   no answer: whether the request had an effect is not known
    ├── NotFoundError      404
    ├── AlreadyExistsError 409 at a creation
    ├── ConflictError      409 at a change: the object is not as it was observed
    ├── GoneError          410: the place in a list is too old
    ├── TooManyRequestsError 429
    ├── ServerError        5xx
    └── RefusedError       any other 4xx: asking again changes nothing by itself
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class OperatorError(Exception):
    """Any error of the operator's own."""


class StartError(OperatorError):
    """The operator cannot start; the message says what a person must change."""


class LeadershipLostError(OperatorError):
    """This replica's Lease may have passed to another; it must not write any more."""


class ApiError(OperatorError):
    """The API server refused a request or did not answer it.

    Attributes:
        code: HTTP status; 0 without an answer.
        reason: the API server's word for programs, such as Invalid.
        said: the API server's own sentence, without what was asked.
        retry_after_seconds: how long it asked to wait, a minute at most; None if it did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int = 0,
        reason: str = "",
        said: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.said = said or message
        self.retry_after_seconds = retry_after_seconds


class UnreachableError(ApiError):
    """No answer came in time; whether the request had an effect is not known."""


class NotFoundError(ApiError):
    """There is no such object."""


class AlreadyExistsError(ApiError):
    """An object of that name is there already."""


class ConflictError(ApiError):
    """The object has another uid or resourceVersion than the request carried."""


class GoneError(ApiError):
    """The API server has forgotten the place from which the request wanted to go on."""


class TooManyRequestsError(ApiError):
    """The API server asks to slow down."""


class ServerError(ApiError):
    """The API server could not do its work."""


class RefusedError(ApiError):
    """The request is refused as it is: forbidden, invalid, over quota."""


_SERVER_ERRORS = 500
MOST_RETRY_AFTER_SECONDS = 60.0
"""What is waited for at most on request: whatever stands in between may ask for a day."""


def refusal(code: int, status: Mapping[str, Any], request: str, retry_after: str | None) -> ApiError:
    """Gives the exception for an answer of the API server that is not a success.

    Args:
        code: HTTP status.
        status: the body, a Status object if the API server wrote it.
        request: what was asked, such as "create jobs in team-a".
        retry_after: the header of that name; in seconds, as Kubernetes writes it.
    """
    reason = str(status.get("reason", ""))
    said = str(status.get("message", "no reason was given"))
    asked = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
    seconds = None if asked is None else min(asked, MOST_RETRY_AFTER_SECONDS)
    return _kind_of(code, reason)(
        f"{request}: {code} {reason}: {said}",
        code=code,
        reason=reason,
        said=said,
        retry_after_seconds=seconds,
    )


def _kind_of(code: int, reason: str) -> type[ApiError]:
    if code == 409 and reason == "AlreadyExists":
        return AlreadyExistsError
    by_code = {404: NotFoundError, 409: ConflictError, 410: GoneError, 429: TooManyRequestsError}
    return by_code.get(code, ServerError if code >= _SERVER_ERRORS else RefusedError)
