"""Shards that are drained again and again: drains are no retries, so Kubernetes would go on for ever."""

from __future__ import annotations

from asyncdiff_api.formats.conditions import Reason

from asyncdiff_operator.situation import Situation
from asyncdiff_operator.status.findings import Finding


def drained_too_often(situation: Situation) -> Finding | None:
    """Finds a shard that more pods had to leave than one can believe in."""
    limit = situation.defaults.drains_per_shard
    pod = max(situation.shard_pods, key=lambda each: each.drains, default=None)
    if pod is None or pod.drains <= limit:
        return None
    detail = (
        f"{pod.drains} pods of shard {pod.shard} were asked to go before it was done; {limit} are the limit"
    )
    return Finding(Reason.DRAINED_TOO_OFTEN, detail)
