"""A thin client of the API server: plain documents in and out, a time-out on every request, errors by kind.

It does not try again: whoever called knows better what is still wanted after a failure.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import aiohttp

from asyncdiff_operator.errors import GoneError, UnreachableError, refusal
from asyncdiff_operator.observed import Manifest
from asyncdiff_operator.resources import Resource, resource_of

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
FIELD_MANAGER: Final = "asyncdiff-operator"
PAGE_ITEMS: Final = 500

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request as metrics count it."""

    verb: str
    resource: str
    code: int
    """HTTP status; 0 if no answer came."""
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A list that is consistent at one moment."""

    items: tuple[Manifest, ...]
    resource_version: str


class Guard(Protocol):
    """Says whether a write may be sent."""

    def remaining_seconds(self) -> float:
        """For how long it may be; a write that was not answered by then is given up."""
        ...

    def check(self) -> None:
        """Raises if it may not be; asked last as the body is handed to the socket."""
        ...


class ApiClient:
    """Reads and writes objects of the API server.

    Every method raises an `ApiError` of the kind that `errors` lists.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        server: str,
        *,
        timeout_seconds: float,
        on_call: Callable[[Call], None] = lambda _: None,
        on_date: Callable[[str], None] = lambda _: None,
        guard: Guard | None = None,
    ) -> None:
        """Uses a session that authenticates.

        Args:
            session: Where requests go through.
            server: The API server's address.
            timeout_seconds: For each request that names none.
            on_call: Is told of every request once it ended.
            on_date: Is told the Date of every answer of the API server's own, which is its clock.
            guard: What every write needs.
        """
        self._session = session
        self._server = server
        self._timeout_seconds = timeout_seconds
        self._on_call = on_call
        self._on_date = on_date
        self._guard = guard

    def guarded(self, guard: Guard) -> ApiClient:
        """Gives a client that writes only while the guard allows it."""
        return ApiClient(
            self._session,
            self._server,
            timeout_seconds=self._timeout_seconds,
            on_call=self._on_call,
            on_date=self._on_date,
            guard=guard,
        )

    async def get(self, resource: Resource, namespace: str, name: str) -> Document:
        """Reads an object."""
        return await self._request("get", resource, resource.address(namespace, name))

    async def create(self, manifest: Manifest) -> Document:
        """Creates an object and gives it as stored."""
        resource = resource_of(manifest)
        return await self._request(
            "create",
            resource,
            resource.collection(manifest["metadata"]["namespace"]),
            body=manifest,
            query={"fieldManager": FIELD_MANAGER},
        )

    async def merge(
        self,
        target: Manifest,
        changes: Manifest,
        *,
        subresource: str = "",
    ) -> Document:
        """Merges changes into an object or a part of it (RFC 7386) and gives it as stored."""
        resource, metadata = resource_of(target), target["metadata"]
        return await self._request(
            "patch",
            resource,
            resource.address(metadata["namespace"], metadata["name"], subresource),
            body=changes,
            content_type=MERGE_PATCH,
            query={"fieldManager": FIELD_MANAGER},
        )

    async def replace(self, manifest: Manifest) -> Document:
        """Puts a whole object with the resourceVersion at which it was read."""
        resource, metadata = resource_of(manifest), manifest["metadata"]
        return await self._request(
            "update",
            resource,
            resource.address(metadata["namespace"], metadata["name"]),
            body=manifest,
            query={"fieldManager": FIELD_MANAGER},
        )

    async def delete(self, target: Manifest, options: Manifest) -> Document:
        """Deletes an object; `options` are DeleteOptions, preconditions among them."""
        resource, metadata = resource_of(target), target["metadata"]
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        return await self._request(
            "delete",
            resource,
            resource.address(metadata["namespace"], metadata["name"]),
            body=body,
        )

    async def list(
        self, resource: Resource, namespace: str | None, *, labels: str = "", fields: str = ""
    ) -> Listing:
        """Lists a kind in one namespace or, for None, in all, page by page, consistent at one moment.

        A list whose continuation expired is begun once again.
        """
        try:
            pages = [page async for page in self.pages(resource, namespace, labels=labels, fields=fields)]
        except GoneError:
            pages = [page async for page in self.pages(resource, namespace, labels=labels, fields=fields)]
        items = tuple(item for page in pages for item in page.items)
        return Listing(items=items, resource_version=pages[-1].resource_version)

    async def pages(
        self, resource: Resource, namespace: str | None, *, labels: str = "", fields: str = ""
    ) -> AsyncIterator[Listing]:
        """Lists as `list` does, and gives page by page, of which none need be kept; all are of one moment."""
        selectors = {"labelSelector": labels, "fieldSelector": fields}
        query = {name: selector for name, selector in selectors.items() if selector}
        # items of a list do not name their kind
        named = {"apiVersion": resource.api_version, "kind": resource.kind}
        place = {"limit": str(PAGE_ITEMS)}
        while True:
            page = await self._request(
                "list", resource, resource.collection(namespace), query={**query, **place}
            )
            yield Listing(
                items=tuple({**named, **item} for item in page["items"]),
                resource_version=page["metadata"]["resourceVersion"],
            )
            if not (token := page["metadata"].get("continue")):
                return
            place["continue"] = token

    async def read(self, path: str, *, max_bytes: int, timeout_seconds: float) -> bytes:
        """Reads any address of the API server, a pod's page behind its proxy say; at most `max_bytes` + 1.

        The answer's Date is then the pod's, and no clock to go by.
        """
        content, _ = await self._exchange(
            "proxy", "pods", path, timeout_seconds=timeout_seconds, max_bytes=max_bytes
        )
        return content

    async def discover(self, path: str) -> Document:
        """Reads what a group of the API server offers."""
        return await self._ask("get", "discovery", path)

    async def _request(self, verb: str, resource: Resource, path: str, **exchange: Any) -> Document:
        return await self._ask(verb, resource.plural, path, **exchange)

    async def _ask(self, verb: str, resource: str, path: str, **exchange: Any) -> Document:
        """Asks the API server itself."""
        content, date = await self._exchange(verb, resource, path, **exchange)
        self._on_date(date)
        return _document(content, f"{verb} {path}")

    async def _exchange(
        self,
        verb: str,
        resource: str,
        path: str,
        *,
        body: Manifest | None = None,
        content_type: str = JSON,
        query: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        max_bytes: int | None = None,
    ) -> tuple[bytes, str]:
        """Gives the content of an answer, and its Date."""
        limit = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        headers, data = {}, None
        if body is not None:
            encoded = json.dumps(body, separators=(",", ":")).encode()
            headers = {"Content-Type": content_type, "Content-Length": str(len(encoded))}
            data = _once(encoded, self._guard)
            if self._guard is not None:
                self._guard.check()
                limit = min(limit, self._guard.remaining_seconds())
        started, code = time.monotonic(), 0
        try:
            async with (
                asyncio.timeout(limit),
                self._session.request(
                    _METHODS[verb],
                    f"{self._server}{path}",
                    params=query,
                    data=data,
                    headers=headers,
                    allow_redirects=False,
                ) as answer,
            ):
                content = await _read(answer, max_bytes)
                code = answer.status
        except TimeoutError as error:
            raise UnreachableError(f"{verb} {path}: no answer within {limit:.1f} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UnreachableError(f"{verb} {path}: {type(error).__name__}: {error}") from error
        finally:
            seconds = time.monotonic() - started
            self._on_call(Call(verb=verb, resource=resource, code=code, seconds=seconds))
        if code not in _SUCCESS:
            raise refusal(code, _status(content), f"{verb} {path}", answer.headers.get("Retry-After"))
        return content, answer.headers.get("Date", "")


_METHODS: Final = {
    "get": "GET",
    "list": "GET",
    "proxy": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}
_SUCCESS: Final = range(200, 300)


async def _once(body: bytes, guard: Guard | None) -> AsyncIterator[bytes]:
    """Gives a request's body at the moment at which it is sent: the API server does nothing without it.

    A process that hung between its decision to write and this moment finds the guard changed.
    """
    if guard is not None:
        guard.check()
    yield body


async def _read(answer: aiohttp.ClientResponse, max_bytes: int | None) -> bytes:
    """Gives the body, or the beginning of it that shows that it is longer than allowed."""
    if max_bytes is None:
        return await answer.read()
    content = bytearray()
    async for part in answer.content.iter_any():
        content += part
        if len(content) > max_bytes:
            break
    return bytes(content[: max_bytes + 1])


def _document(content: bytes, request: str) -> Document:
    try:
        document = json.loads(content)
    except ValueError as error:
        raise UnreachableError(f"{request}: the answer is not JSON: {content[:200]!r}") from error
    if not isinstance(document, dict):
        raise UnreachableError(f"{request}: the answer is not an object: {content[:200]!r}")
    return document


def _status(content: bytes) -> Document:
    """Gives the Status object of a refusal, or one made of the text that something in between sent."""
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    return document if isinstance(document, dict) else {"message": content[:200].decode(errors="replace")}
