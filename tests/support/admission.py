"""The API server as the judge of jobs."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncdiff_api.crd import crd
from hypothesis import HealthCheck, Phase, given, seed, settings

from support.cluster import ApiError
from support.jobs import job
from support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypothesis.strategies import SearchStrategy

    from support.cluster import Api

Document = dict[str, Any]

REQUESTS_AT_ONCE = 8
PREAMBLE = re.compile(r'^(Invalid value: "[a-z]+"|Forbidden): ')


@dataclass(frozen=True)
class Verdict:
    """What the API server says of a document.

    Attributes:
        stored: The object as it would be stored; None if the document is refused.
        refusal: The sentence that `kubectl apply` prints; empty if the document is taken.
        causes: For each bad field its path, and what is wrong, without the server's own preamble.
    """

    stored: Document | None
    refusal: str = ""
    causes: tuple[tuple[str, str], ...] = ()


def install_crd(api: Api) -> None:
    """Applies the CRD and waits until jobs are judged by it."""
    api.apply(crd(), force=True)
    wait_until(lambda: _serves(api), what="jobs to be served")


def _serves(api: Api) -> bool:
    try:
        return judge(api, job()).stored is not None
    except LookupError:
        return False


def judge(api: Api, document: Document) -> Verdict:
    """The verdict on creating the document; nothing is stored."""
    try:
        return Verdict(api.create(as_kubectl_sends(document), dry_run=True))
    except ApiError as error:
        causes = tuple((field, PREAMBLE.sub("", message)) for field, message in error.causes)
        return Verdict(None, error.message, causes)


def judge_all(api: Api, documents: Iterable[Document]) -> list[Verdict]:
    """The verdicts, in order, asked for several at a time."""
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as threads:
        return list(threads.map(lambda document: judge(api, document), documents))


def as_kubectl_sends(value: Any) -> Any:
    """The value as it arrives when YAML goes through Go's JSON encoder, which writes 4.0 as 4."""
    if isinstance(value, dict):
        return {name: as_kubectl_sends(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_kubectl_sends(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def sample(strategy: SearchStrategy[Document], count: int, start: int) -> list[Document]:
    """Documents of a strategy, the same ones for the same start."""
    drawn: list[Document] = []

    @seed(start)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(document: Document) -> None:
        drawn.append(document)

    collect()
    return drawn
