"""Logs: a line of JSON for each event where a machine reads them, plain lines for people."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

PLAIN: Final = "%(levelname)s %(name)s: %(message)s"
_LEVELS: Final = {
    "torch.distributed.elastic": logging.CRITICAL,  # tells of ranks that end, which our result does in a sentence
    "torch.distributed.launcher": logging.ERROR,
    "httpx": logging.WARNING,
    "botocore": logging.WARNING,
}
FIELDS: Final = "fields"
"""Attribute of a record that holds an event's own fields: `logger.info(…, extra={FIELDS: {…}})`."""


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON, with the fields that all lines of a process have in common."""

    def __init__(self, common: Mapping[str, object]) -> None:
        super().__init__()
        self._common = {name: value for name, value in common.items() if value not in ("", None)}

    def format(self, record: logging.LogRecord) -> str:
        """Gives time (RFC 3339), level, logger, message, the common fields and the event's own."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._common,
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logs(common: Mapping[str, object], *, as_json: bool, stream: TextIO | None = None) -> None:
    """Sends this process's logs and warnings to a stream, in place of where they went before.

    Args:
        common: Fields of every line, such as job, shard, rank and trace.
        as_json: Lines of JSON; else plain ones, without the common fields.
        stream: Where to; standard error if None.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(common) if as_json else logging.Formatter(PLAIN))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)
