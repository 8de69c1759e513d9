"""The pytest fixtures; `support.s3` says what each is for."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.s3.server import S3Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """The session's S3 server; tests keep to buckets of their own."""
    with S3Server.start() as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    """The name of a new, empty bucket in `s3_server`."""
    return s3_server.bucket()


@pytest.fixture
def new_s3_server() -> Iterator[Callable[[], S3Server]]:
    """Starts servers of this test's own."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(S3Server.start())
