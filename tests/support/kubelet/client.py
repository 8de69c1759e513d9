"""The kubelet's way to the API server: asynchronous, patient, and silent about objects that are gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from support.cluster.api import ssl_context

Document = dict[str, Any]

STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
GONE = (404, 409, 410)
SECONDS_BETWEEN_TRIES = 0.1
REQUESTS_AT_ONCE = 32
SECONDS_PER_REQUEST = 10.0


class Refused(Exception):
    """The API server will not have it, and asking again would not help."""


class Client:
    """Requests of one user."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server: str = cluster["server"]
        self._connector = aiohttp.TCPConnector(ssl=ssl_context(cluster, user), limit=0)
        self._session = aiohttp.ClientSession(
            connector=self._connector, headers={"User-Agent": "kubelet-of-tests"}
        )
        # outside of the time-out: a request that has waited for its turn must not be cut short and sent again
        self._turns = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def send(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> Document | None:
        """Sends a request until it is answered; None if the object is gone, is another, or is there already.

        Raises:
            Refused: The request is wrong.
        """
        while True:
            with contextlib.suppress(
                aiohttp.ClientError, TimeoutError
            ):  # away, which tests do to it on purpose
                async with self._turns:
                    code, content = await self._exchange(method, path, body, content_type)
                if code in GONE:
                    return None
                if code < 400:
                    found: Document = json.loads(content)
                    return found
                if code < 500 and code not in (401, 403, 429):
                    raise Refused(f"{method} {path}: {code} {content.decode()}")
            await asyncio.sleep(SECONDS_BETWEEN_TRIES)

    async def _exchange(self, method: str, path: str, body: object, content_type: str) -> tuple[int, bytes]:
        async with self._session.request(
            method,
            self._server + path,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": content_type},
            timeout=aiohttp.ClientTimeout(total=SECONDS_PER_REQUEST),
        ) as answer:
            return answer.status, await answer.read()

    async def patch_status(self, path: str, uid: str, status: Mapping[str, Any]) -> Document | None:
        """Merges a status into an object, if it is still the one of that uid."""
        body = {"metadata": {"uid": uid}, "status": status}
        return await self.send("PATCH", f"{path}/status", body, STRATEGIC_MERGE_PATCH)

    async def follow(self, path: str, selector: str) -> AsyncIterator[tuple[str, Document]]:
        """Gives every object as it is (LISTED) and then every change, for ever, through outages and expiry.

        A list is followed by one ("SYNCED", {}): what was not listed is no more.
        """
        while True:
            listed = await self.send("GET", f"{path}?fieldSelector={selector}") or {}
            for item in listed.get("items", []):
                yield "LISTED", item
            yield "SYNCED", {}
            version = listed.get("metadata", {}).get("resourceVersion", "")
            try:
                async for kind, item in self._watch(f"{path}?watch=1&fieldSelector={selector}", version):
                    yield kind, item
            except (aiohttp.ClientError, TimeoutError, ValueError):
                await asyncio.sleep(SECONDS_BETWEEN_TRIES)

    async def _watch(self, address: str, version: str) -> AsyncIterator[tuple[str, Document]]:
        """Changes since a version, until the server ends the watch or reports an error."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with self._session.get(
            f"{self._server}{address}&resourceVersion={version}", timeout=timeout, read_bufsize=2**22
        ) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                change = json.loads(line)
                if change["type"] == "ERROR":
                    return
                yield change["type"], change["object"]

    async def close(self) -> None:
        """Ends every connection, without a farewell that a dead server would leave unanswered."""
        await self._connector.close(abort_ssl=True)
        await self._session.close()
