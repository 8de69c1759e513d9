"""How the operator reaches its API server and proves who it is: a kubeconfig, or the pod's service account."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from asyncdiff_operator.errors import StartError

TOKEN_KEYS = ("BearerToken", "authorization")
"""Names under which the library keeps the token: since version 36, and before."""


class Credentials:
    """Where the API server is, what it must prove, and what to show it."""

    def __init__(self, configuration: Any) -> None:
        """Takes what the official library read; `read_credentials` is the usual way."""
        self._configuration = configuration
        self.server: str = configuration.host.rstrip("/")
        self.ssl_context: ssl.SSLContext | bool = (
            _ssl_context(configuration) if self.server.startswith("https") else True
        )

    def authorization(self) -> str | None:
        """Gives the Authorization header of a request made now; None where a certificate does the work.

        A service account's token is read again from its file every minute, for the kubelet renews it.
        """
        header: str | None = self._configuration.get_api_key_with_prefix(*TOKEN_KEYS)
        if not header:
            basic: str | None = self._configuration.get_basic_auth_token()
            return basic if self._configuration.username else None
        scheme, _, token = header.partition(" ")
        return f"Bearer {token}" if scheme.lower() == "bearer" else header

    def session(self, *, user_agent: str, **options: Any) -> aiohttp.ClientSession:
        """Opens a session that authenticates every request; to be closed by the caller."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.ssl_context, limit=0),
            headers={"User-Agent": user_agent, "Accept": "application/json"},
            middlewares=(self._authenticate, *options.pop("middlewares", ())),
            **options,
        )

    async def _authenticate(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if (header := self.authorization()) is not None:
            request.headers["Authorization"] = header
        return await handler(request)


def read_credentials(kubeconfig: Path | None) -> Credentials:
    """Reads a kubeconfig; for None the pod's service account or, outside of a pod, the user's kubeconfig.

    Raises:
        StartError: There is none, or it cannot be read.
    """
    configuration = Configuration()
    try:
        if kubeconfig is not None:
            _read_file(configuration, str(kubeconfig))
        else:
            _load_surroundings(configuration)
    except (ConfigException, OSError) as error:
        raise StartError(
            f"no credentials for an API server were found ({error}). In a pod, give it a service account with "
            "automountServiceAccountToken; elsewhere, name a kubeconfig: --kubeconfig FILE"
        ) from error
    return Credentials(configuration)


def _load_surroundings(configuration: Any) -> None:
    load: Callable[..., None] = load_incluster_config
    try:
        load(client_configuration=configuration)
    except ConfigException:
        _read_file(configuration, None)


def _read_file(configuration: Any, path: str | None) -> None:
    load: Callable[..., None] = load_kube_config
    load(config_file=path, client_configuration=configuration)


def _ssl_context(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
