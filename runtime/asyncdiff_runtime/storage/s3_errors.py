"""What botocore's errors mean for a job, and the sentences that say it."""

from __future__ import annotations

from typing import Final

from asyncdiff_api.formats.errors import OutageError, OutputRefusedError
from botocore.exceptions import (
    ClientError,
    ConnectionError,  # noqa: A004 -- botocore's own name
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from asyncdiff_runtime.storage.interface import ObjectChangedError, ObjectMissingError

_EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
)
_REPLACED: Final = _EXPIRED | {"InvalidAccessKeyId", "InvalidToken"}
"""Said of keys that were rotated away, too."""
_NO_ROOM: Final = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "EntityTooLarge"})
_DAMAGED: Final = frozenset(
    {"BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
)
"""Said of a body that arrived otherwise than it was sent."""
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_BUSY_CODES: Final = frozenset({"RequestTimeout", "RequestTimeoutException", "SlowDown", "InternalError"})
_UNREACHED: Final = (
    HTTPClientError,
    ConnectionError,
    IncompleteReadError,
    FlexibleChecksumError,
    ResponseParserError,
)
"""No answer, or one that was cut short or changed on the way."""


def status_of(error: Exception) -> int:
    """Gives the HTTP status of an answer; 0 where there was none."""
    response = error.response if isinstance(error, ClientError) else {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: Exception) -> str:
    """Gives S3's word for an error."""
    response = error.response if isinstance(error, ClientError) else {}
    return str(response.get("Error", {}).get("Code", ""))


def passing(error: Exception) -> bool:
    """Whether the same request may go better in a while."""
    if isinstance(error, SSLError):
        return False
    return (
        isinstance(error, _UNREACHED) or status_of(error) in _BUSY or code_of(error) in _BUSY_CODES | _DAMAGED
    )


def being_renewed(error: Exception) -> bool:
    """Whether the keys are past their time, so that new ones may be on their way."""
    return code_of(error) in _REPLACED


def in_our_words(error: Exception, where: str, bucket: str, endpoint: str, attempts: int) -> Exception:
    """Gives an error as one of the contract's or of the storage's.

    Args:
        error: botocore's, or a ValueError about settings.
        where: Address of the object or prefix.
        bucket: Name of the bucket.
        endpoint: The service.
        attempts: How often the request was made at most.
    """
    if isinstance(error, ClientError):
        return _of_answer(error, where, bucket, endpoint, attempts)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return OutputRefusedError(
            f"{where} needs credentials and none were found ({error}); set output.s3.credentialsSecret, "
            "a service account with workload identity, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, SSLError):
        return OutputRefusedError(
            f"{where}: the certificate of {endpoint} is not trusted ({error}); name its authority's file in "
            "AWS_CA_BUNDLE, or correct output.s3.endpoint"
        )
    if isinstance(error, _UNREACHED):
        return OutageError(
            f"{where} was not reached in {attempts} attempts ({error}); see that the service runs and the "
            "network lets the pod through: what is recorded stays"
        )
    return OutputRefusedError(f"{where} cannot be used: {error}")


def _of_answer(error: ClientError, where: str, bucket: str, endpoint: str, attempts: int) -> Exception:
    code, status, message = code_of(error), status_of(error), _message(error)
    if code == "NoSuchBucket":
        return OutputRefusedError(
            f"the bucket {bucket} does not exist at {endpoint}; create it, or correct output.s3.bucket"
        )
    if code in _EXPIRED:
        return OutageError(f"the credentials for {where} have expired ({code}); renew them and resume")
    if code == "RequestTimeTooSkewed":
        return OutageError(
            f"{where}: the clock of this machine and that of {endpoint} differ; set them right"
        )
    if code in _NO_ROOM or status == 507:
        return OutageError(f"{where} could not be written: the store has no room ({code}); make some, resume")
    if code in {"NoSuchKey", "404"}:
        return ObjectMissingError(f"there is no {where}")
    if status == 412:
        return ObjectChangedError(f"{where} was changed since it was first read")
    if status in {401, 403}:
        return OutputRefusedError(
            f"{where} may not be used ({code}: {message}); give these credentials the right to list, read, "
            "write and delete there"
        )
    if status in {301, 307, 400} and code not in _DAMAGED:
        return OutputRefusedError(
            f"{where} was refused ({code}: {message}); see output.s3.region, endpoint and addressing"
        )
    return OutageError(f"{where} failed in {attempts} attempts (HTTP {status} {code}: {message})")


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", "no message"))
