"""Logs as one JSON object a line, or as text for people; both on standard error."""

from __future__ import annotations

import json
import logging
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from asyncdiff_operator.names import trace_id
from asyncdiff_operator.observed import Manifest

FIELDS: Final = ("namespace", "job", "shard", "trace_id")
"""What a record says beside its message, where it knows."""

LogFormat = Literal["json", "text"]


class JsonFormatter(logging.Formatter):
    """A record as a JSON object: time, level, logger, message, and `FIELDS`."""

    def format(self, record: logging.LogRecord) -> str:
        """Gives the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class JobLogger(logging.LoggerAdapter[logging.Logger]):
    """Says of which job a record speaks."""

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Adds the job to what a call brings itself, such as a shard."""
        return msg, {**kwargs, "extra": {**(self.extra or {}), **kwargs.get("extra", {})}}


def job_logger(logger: logging.Logger, job: Manifest) -> JobLogger:
    """Gives a logger that names a job and its trace in every record."""
    metadata = job["metadata"]
    names = {"namespace": metadata["namespace"], "job": metadata["name"], "trace_id": trace_id(job)}
    return JobLogger(logger, names)


def set_up_logging(style: LogFormat, level: str) -> None:
    """Sends the records of this process to standard error."""
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
    handler.setFormatter(JsonFormatter() if style == "json" else text)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # kopf tells of every object that it sees
    logging.getLogger("kopf").setLevel(max(logging.WARNING, root.level))
    # and warns that it does not take signals on a thread of its own, which is what the thread is for
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
