"""The API server's clock, by which every time in its objects is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

SECOND: Final = timedelta(seconds=1)


class ServerClock:
    """This machine's clock, set by the Date of the API server's answers.

    A Date has no fraction, so the server's clock stands up to a second after it; an estimate within that
    second is left alone, and does not jump with every answer.
    """

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """Gives the time by the API server's clock, right to about a second."""
        return datetime.now(UTC) + self._ahead

    def hear(self, date: str) -> None:
        """Takes the Date header of an answer that just came; anything else is passed over."""
        try:
            said = parsedate_to_datetime(date)
        except ValueError:
            return
        if said.tzinfo is None:
            return
        estimate = self.now()
        if estimate < said:
            self._ahead += said - estimate
        elif estimate > said + SECOND:
            self._ahead -= estimate - said - SECOND
