"""The client proves who it is, gives up in time, says what kind of failure it met, and counts its calls."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from asyncdiff_operator.client import ApiClient, Call
from asyncdiff_operator.clock import ServerClock
from asyncdiff_operator.credentials import Credentials, read_credentials
from asyncdiff_operator.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    GoneError,
    LeadershipLostError,
    NotFoundError,
    RefusedError,
    ServerError,
    StartError,
    TooManyRequestsError,
    UnreachableError,
    refusal,
)
from asyncdiff_operator.resources import CONFIGMAPS, PODS
from asyncdiff_operator.workers import reason_of
from kubernetes.client import Configuration
from kubernetes.config.incluster_config import InClusterConfigLoader
from support.cluster import Cluster, reference
from support.operator.session import with_client

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def config_map(namespace: str, name: str = "settings", **data: str) -> dict[str, object]:
    return {**reference("v1", "ConfigMap", name, namespace), "data": data}


def against(handler: Handler, scenario: Callable[[ApiClient], Awaitable[object]], **options: Any) -> None:
    """Runs a scenario against a server of the test's own."""

    async def run() -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handler)
        async with TestServer(application, host="127.0.0.1") as server, aiohttp.ClientSession() as session:
            address = str(server.make_url("")).rstrip("/")
            await scenario(ApiClient(session, address, timeout_seconds=0.3, **options))

    asyncio.run(run())


def test_a_service_account_is_known_by_its_token(cluster: Cluster, namespace: str) -> None:
    cluster.api.create(reference("v1", "ServiceAccount", "operator", namespace))
    kubeconfig = cluster.kubeconfig_for_service_account(namespace, "operator")

    async def scenario(client: ApiClient) -> None:
        with pytest.raises(RefusedError, match="cannot list resource") as refused:
            await client.list(PODS, namespace)
        assert f"system:serviceaccount:{namespace}:operator" in refused.value.said

    with_client(kubeconfig, scenario)


def test_a_renewed_token_is_sent_with_the_next_request(tmp_path: Path) -> None:
    token, certificate = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first")
    certificate.write_text("not looked at")
    make: Callable[..., Any] = InClusterConfigLoader
    loader = make(
        token_filename=str(token),
        cert_filename=str(certificate),
        environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"},
    )
    configuration = Configuration()
    loader.load_and_set(configuration)
    configuration.host, configuration.ssl_ca_cert = "http://127.0.0.1:1", None
    credentials = Credentials(configuration)
    assert credentials.authorization() == "Bearer first"

    token.write_text("second")
    loader._token_refresh_period *= 0
    loader._read_token_file()
    token.write_text("third")

    assert credentials.authorization() == "Bearer third"


def test_without_credentials_a_sentence_says_where_to_get_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.startswith("KUBERNETES_"):
            monkeypatch.delenv(name)
    with pytest.raises(StartError, match="name a kubeconfig"):
        read_credentials(tmp_path / "missing")


def test_objects_are_created_merged_listed_page_by_page_and_deleted(cluster: Cluster, namespace: str) -> None:
    calls: list[Call] = []

    async def scenario(client: ApiClient) -> None:
        for number in range(3):
            await client.create(config_map(namespace, f"c{number}", colour="red"))
        stored = await client.get(CONFIGMAPS, namespace, "c1")
        version = stored["metadata"]["resourceVersion"]
        merged = await client.merge(
            stored, {"metadata": {"resourceVersion": version}, "data": {"colour": None}}
        )
        assert "data" not in merged
        with pytest.raises(ConflictError):
            await client.merge(stored, {"metadata": {"resourceVersion": version}, "data": {"colour": "blue"}})
        with pytest.raises(AlreadyExistsError):
            await client.create(config_map(namespace, "c1"))
        with pytest.raises(ConflictError):
            await client.delete(stored, {"preconditions": {"uid": "another"}})
        await client.delete(stored, {"preconditions": {"uid": stored["metadata"]["uid"]}})
        with pytest.raises(NotFoundError):
            await client.get(CONFIGMAPS, namespace, "c1")
        listing = await client.list(CONFIGMAPS, namespace)
        names = {item["metadata"]["name"] for item in listing.items}
        assert {"c0", "c2"} <= names
        assert int(listing.resource_version) >= int(version)
        assert all(item["kind"] == "ConfigMap" for item in listing.items)

    with_client(cluster.kubeconfig, scenario, on_call=calls.append)

    assert [(call.verb, call.resource, call.code) for call in calls[-2:]] == [
        ("get", "configmaps", 404),
        ("list", "configmaps", 200),
    ]
    assert all(call.seconds > 0 for call in calls)


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (400, "BadRequest", RefusedError),
        (403, "Forbidden", RefusedError),
        (404, "NotFound", NotFoundError),
        (409, "Conflict", ConflictError),
        (409, "AlreadyExists", AlreadyExistsError),
        (410, "Expired", GoneError),
        (422, "Invalid", RefusedError),
        (429, "TooManyRequests", TooManyRequestsError),
        (500, "InternalError", ServerError),
        (302, "", RefusedError),
    ],
)
def test_a_failure_is_known_by_its_kind(code: int, reason: str, expected: type[ApiError]) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        status = {"kind": "Status", "reason": reason, "message": "so it is"}
        return web.json_response(status, status=code, headers={"Retry-After": "7"})

    async def scenario(client: ApiClient) -> None:
        with pytest.raises(expected, match="so it is") as failed:
            await client.get(PODS, "team", "p")
        assert failed.value.said == "so it is"
        assert failed.value.retry_after_seconds == 7

    against(handler, scenario)


def test_nobody_is_waited_for_longer_than_a_minute_on_request() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.json_response({"message": "later"}, status=429, headers={"Retry-After": "86400"})

    async def scenario(client: ApiClient) -> None:
        with pytest.raises(TooManyRequestsError) as failed:
            await client.get(PODS, "team", "p")
        assert failed.value.retry_after_seconds == 60

    against(handler, scenario)


def test_a_pods_clock_behind_the_proxy_of_the_api_server_is_not_the_servers() -> None:
    heard: list[str] = []
    dates = {"/api/v1/namespaces/team/pods/p": "Tue, 01 Jan 2030 12:00:00 GMT"}

    async def handler(request: web.Request) -> web.StreamResponse:
        date = dates.get(request.path, "Tue, 01 Jan 2019 12:00:00 GMT")  # as the proxy passes a pod's on
        return web.json_response({}, headers={"Date": date})

    async def scenario(client: ApiClient) -> None:
        await client.get(PODS, "team", "p")
        await client.read(
            PODS.address("team", "p:8080", "proxy") + "/progress", max_bytes=9, timeout_seconds=1
        )

    against(handler, scenario, on_date=heard.append)
    assert heard == list(dates.values())


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"kind": "Pod"'])
def test_an_answer_that_is_no_object_is_no_answer(body: bytes) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    async def scenario(client: ApiClient) -> None:
        with pytest.raises(UnreachableError):
            await client.get(PODS, "team", "p")

    against(handler, scenario)


def test_a_server_that_hangs_or_drips_is_given_up_in_time() -> None:
    calls: list[Call] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if request.path.endswith("drips"):
            await response.prepare(request)
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.05)
        await asyncio.sleep(60)
        return response

    async def scenario(client: ApiClient) -> None:
        for name in ("hangs", "drips"):
            with pytest.raises(UnreachableError, match="no answer within"):
                await client.get(PODS, "team", name)

    against(handler, scenario, on_call=calls.append)
    assert [call.code for call in calls] == [0, 0]


class Fence:
    """A guard that closes after it was asked so often."""

    def __init__(self, times: int) -> None:
        self.times = times

    def remaining_seconds(self) -> float:
        return 5.0

    def check(self) -> None:
        self.times -= 1
        if self.times < 0:
            raise LeadershipLostError("another may lead")


@pytest.mark.parametrize("asked", [0, 1])
def test_a_write_whose_time_ends_before_its_body_is_sent_does_nothing(
    cluster: Cluster, namespace: str, asked: int
) -> None:
    async def scenario(client: ApiClient) -> None:
        guarded = client.guarded(Fence(asked))
        with pytest.raises((LeadershipLostError, UnreachableError)):
            await guarded.create(config_map(namespace))
        with pytest.raises(NotFoundError):
            await client.get(CONFIGMAPS, namespace, "settings")
        await client.guarded(Fence(2)).create(config_map(namespace))
        await guarded.get(CONFIGMAPS, namespace, "settings")

    with_client(cluster.kubeconfig, scenario)


def test_the_servers_clock_is_followed_to_the_second() -> None:
    clock = ServerClock()
    clock.hear("Tue, 01 Jan 2030 12:00:00 GMT")
    assert clock.now().isoformat().startswith("2030-01-01T12:00:00")
    before = clock.now()
    clock.hear("Tue, 01 Jan 2030 12:00:00 GMT")
    clock.hear("nonsense")
    assert (clock.now() - before).total_seconds() < 1
    clock.hear("Tue, 01 Jan 2019 12:00:00 GMT")
    assert clock.now().year == 2019


@pytest.mark.parametrize("code", [400, 403, 404, 409, 410, 422, 429, 500, 503])
def test_failures_are_counted_by_few_kinds_whatever_word_a_webhook_finds_for_its_refusal(code: int) -> None:
    words = ("", "AlreadyExists", "Forbidden", "no cats on Tuesday 21:04:07", "9f1c")
    kinds = {reason_of(refusal(code, {"reason": word}, "create jobs", None)) for word in words}
    assert kinds <= {"AlreadyExists", "Conflict", "Gone", "NotFound", "Refused", "Server", "TooManyRequests"}
