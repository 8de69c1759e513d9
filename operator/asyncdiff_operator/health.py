"""The operator's own pages: /healthz for liveness, /readyz for readiness, /metrics for Prometheus.

They are served by the event loop that does the work, so a loop that hangs answers no probe at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], str | None]
"""Gives what is wrong as a sentence, or None."""


def pages(
    *, liveness: Mapping[str, Check], readiness: Mapping[str, Check], registry: CollectorRegistry
) -> web.Application:
    """Gives the pages; a page of checks answers 503 and their sentences if one fails."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.router.add_get("/healthz", _page(liveness))
    application.router.add_get("/readyz", _page(readiness))
    application.router.add_get("/metrics", metrics)
    return application


def _page(checks: Mapping[str, Check]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def page(_: web.Request) -> web.StreamResponse:
        failed = {name: sentence for name, check in checks.items() if (sentence := check()) is not None}
        text = "\n".join(f"{name}: {failed.get(name, 'ok')}" for name in checks)
        return web.Response(text=text + "\n", status=503 if failed else 200)

    return page
