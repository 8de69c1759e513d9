"""A cluster as the person of a kubeconfig sees it; what is refused is said in sentences."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import urllib3
from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.formats.errors import InvalidJobError, OutageError, WrongJobError
from asyncdiff_api.job import KIND
from urllib3.exceptions import HTTPError

from asyncdiff_operator.resources import ASYNCDIFFJOBS, Resource

Document = dict[str, Any]

USER_AGENT: Final = "asyncdiff"
TIMEOUT: Final = urllib3.Timeout(connect=5.0, read=30.0)
SERVICE_ACCOUNT_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_NOT_FOUND, _CONFLICT, _UNAUTHORIZED, _FORBIDDEN, _TOO_MANY = 404, 409, 401, 403, 429


class JobNotFoundError(WrongJobError):
    """There is no such job, or the cluster knows no jobs at all."""


class JobExistsError(WrongJobError):
    """A job of that name is there already."""


class ForbiddenError(WrongJobError):
    """The person of the kubeconfig may not do this."""

    reason = Reason.NOT_ALLOWED


class Cluster:
    """Requests to one API server, in one namespace."""

    def __init__(self, server: str, pool: urllib3.PoolManager, headers: Mapping[str, str], namespace: str):
        """Use `connect`.

        Args:
            server: Address of the API server.
            pool: Proves who asks, where that is done by certificate.
            headers: Prove it where it is not.
            namespace: Of every request.
        """
        self.server = server
        self.namespace = namespace
        self._pool = pool
        self._headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **headers}

    def job(self, name: str) -> Document:
        """Gives a job as stored.

        Raises:
            JobNotFoundError: There is none of that name; the message names the nearest.
        """
        try:
            return self.read(ASYNCDIFFJOBS.address(self.namespace, quote(name)), f"read job {name}")
        except JobNotFoundError as error:
            raise JobNotFoundError(f"{error}{self._instead(name)}") from None

    def create_job(self, document: Mapping[str, Any]) -> Document:
        """Creates a job; unknown fields are refused.

        Raises:
            JobExistsError: One of that name is there.
            InvalidJobError: The API server does not take it.
        """
        address = f"{ASYNCDIFFJOBS.collection(self.namespace)}?fieldValidation=Strict&fieldManager=asyncdiff"
        return self._request("POST", address, "create a job", document)

    def items(self, resource: Resource, **selectors: str) -> list[Document]:
        """Lists a kind; labelSelector and fieldSelector as keywords."""
        address = f"{resource.collection(self.namespace)}?{urlencode(selectors)}"
        found: list[Document] = self.read(address, f"list {resource.plural}")["items"]
        return found

    def read(self, address: str, what: str, timeout: urllib3.Timeout = TIMEOUT) -> Document:
        """Reads JSON from an address of the API server; `what` names it in errors."""
        return self._request("GET", address, what, timeout=timeout)

    def lines(self, address: str, what: str) -> Iterator[str]:
        """Gives the lines of a text as they come, without their line ends, for as long as the server sends."""
        endless = urllib3.Timeout(connect=5.0, read=None)
        response = self._send("GET", address, what, None, endless, stream=True)
        if response.status >= 400:
            raise self._refusal(response.status, response.data, what)
        rest = b""
        try:
            for chunk in response.stream(2**16):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
        except HTTPError as error:
            raise OutageError(f"the connection to {self.server} broke: {error}. Try again") from error
        finally:
            response.close()
        if rest:
            yield rest.decode(errors="replace")

    def _request(
        self,
        method: str,
        address: str,
        what: str,
        body: Mapping[str, Any] | None = None,
        timeout: urllib3.Timeout = TIMEOUT,
    ) -> Document:
        response = self._send(method, address, what, body, timeout)
        if response.status >= 400:
            raise self._refusal(response.status, response.data, what)
        found: Document = json.loads(response.data)
        return found

    def _send(
        self,
        method: str,
        address: str,
        what: str,
        body: Mapping[str, Any] | None,
        timeout: urllib3.Timeout,
        *,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        content = {} if body is None else {"Content-Type": "application/json"}
        try:
            return self._pool.request(
                method,
                f"{self.server}{address}",
                body=None if body is None else json.dumps(body).encode(),
                headers={**self._headers, **content},
                timeout=timeout,
                preload_content=not stream,
            )
        except HTTPError as error:
            raise OutageError(
                f"cannot {what}: no cluster answers at {self.server} ({_cause(error)}). Is it up, and does the "
                "kubeconfig's current context name it (kubectl config current-context)?"
            ) from error

    def _refusal(self, code: int, data: bytes, what: str) -> Exception:
        """Gives what an answer other than success means to a person."""
        status = _status_of(data)
        message = str(status.get("message", "")) or f"HTTP {code}"
        match code:
            case 401:
                return ForbiddenError(
                    f"cannot {what}: {self.server} does not know who you are (401). Log in anew, or look at the "
                    "user of the kubeconfig's current context"
                )
            case 403:
                return ForbiddenError(
                    f"cannot {what} in namespace {self.namespace}: {message}. Ask for the role view or edit there"
                )
            case 404 if not status.get("details", {}).get("name"):
                return JobNotFoundError(
                    f"the cluster at {self.server} knows no {KIND}: its resource definition is not installed. "
                    "See the installation page, or choose another context with --context"
                )
            case 404:
                return JobNotFoundError(f"{message}, in namespace {self.namespace}")
            case 409 if status.get("reason") == "AlreadyExists":
                return JobExistsError(message)
            case _ if code >= 500 or code == _TOO_MANY:
                return OutageError(f"cannot {what}: the API server says {code}: {message}. Try again later")
            case _:
                return InvalidJobError(f"the API server refused to {what}: {message}")

    def _instead(self, name: str) -> str:
        """Names the job that was probably meant, if its like can be listed."""
        try:
            names = [job["metadata"]["name"] for job in self.items(ASYNCDIFFJOBS)]
        except WrongJobError:
            return ""
        if near := difflib.get_close_matches(name, names, n=1):
            return f". Did you mean {near[0]}?"
        return f". It has {', '.join(sorted(names)[:5])}" if names else ". It has no jobs"


def connect(context: str | None, namespace: str | None) -> Cluster:
    """Finds the cluster as kubectl does: KUBECONFIG or ~/.kube/config, else the pod's service account.

    Args:
        context: Context of the kubeconfig; None for its current one.
        namespace: None for the context's.

    Raises:
        InvalidJobError: There is no kubeconfig, or no such context.
    """
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException

    configuration = Configuration()
    try:
        default = _load(configuration, context)
    except (ConfigException, OSError) as error:
        raise InvalidJobError(
            f"no cluster can be found: {str(error).rstrip('.')}. Set KUBECONFIG, or choose a context that "
            "`kubectl config get-contexts` lists with --context"
        ) from error
    from asyncdiff_operator.credentials import Credentials

    credentials = Credentials(configuration)
    header = credentials.authorization()
    pool = _pool(credentials.ssl_context, configuration.proxy)
    headers = {"Authorization": header} if header else {}
    return Cluster(credentials.server, pool, headers, namespace or default)


def _load(configuration: Any, context: str | None) -> str:
    """Fills in the configuration and gives the namespace of requests that name none."""
    from kubernetes import config

    kube: Any = config  # its functions carry no types
    # asked for at each start: the library looks at the variable only when it is imported
    file = os.environ.get("KUBECONFIG") or "~/.kube/config"
    try:
        contexts, active = kube.list_kube_config_contexts(config_file=file)
    except config.ConfigException:
        if context is not None or not SERVICE_ACCOUNT_NAMESPACE.exists():
            raise
        kube.load_incluster_config(client_configuration=configuration)
        return SERVICE_ACCOUNT_NAMESPACE.read_text().strip()
    chosen = active if context is None else next((c for c in contexts if c["name"] == context), None)
    kube.load_kube_config(config_file=file, context=context, client_configuration=configuration)
    return str((chosen or {}).get("context", {}).get("namespace") or "default")


def _pool(tls: Any, proxy: str | None) -> urllib3.PoolManager:
    options: dict[str, Any] = {"retries": False, "maxsize": 16}
    if not isinstance(tls, bool):
        options["ssl_context"] = tls
    return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)


def _status_of(data: bytes) -> Document:
    """The Status object of a refusal; empty where something else answered, such as a proxy."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _cause(error: BaseException) -> str:
    """The part of an error of urllib3 that says what happened, without addresses of objects in memory."""
    text = str(getattr(error, "reason", None) or error)
    return text.rpartition(": ")[2] or type(error).__name__
