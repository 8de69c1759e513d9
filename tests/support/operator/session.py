"""The operator's own client in a test: `asyncio.run` around a coroutine that is given one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from asyncdiff_operator.client import ApiClient
from asyncdiff_operator.credentials import read_credentials

T = TypeVar("T")


def with_client(
    kubeconfig: Path,
    scenario: Callable[[ApiClient], Awaitable[T]],
    *,
    timeout_seconds: float = 10,
    **options: Any,
) -> T:
    """Runs a scenario with a client of the API server that a kubeconfig names."""

    async def run() -> T:
        credentials = read_credentials(kubeconfig)
        async with credentials.session(user_agent="tests") as session:
            client = ApiClient(session, credentials.server, timeout_seconds=timeout_seconds, **options)
            return await scenario(client)

    return asyncio.run(run())
