"""What the Job controller does with a pod that failed: the exit codes of the contract as a podFailurePolicy.

The first rule that fits decides. Kubernetes checks the disruption first, so a pod of a drained node is no
failure whatever its exit code; a code that no rule names is counted as a retry.
"""

from __future__ import annotations

from asyncdiff_api.formats.container import CONTAINER
from asyncdiff_api.formats.exit_codes import ExitCode, FailurePolicyAction, codes_with

from asyncdiff_operator.observed import Manifest

DISRUPTION = "DisruptionTarget"
"""Condition of a pod that is evicted, preempted, or whose node is going."""


def shards_policy() -> Manifest:
    """Gives the policy of the shards' Job."""
    return {
        "rules": [
            _IGNORE_DISRUPTIONS,
            _rule("FailJob", codes_with(FailurePolicyAction.FAIL_JOB)),
            _rule("FailIndex", codes_with(FailurePolicyAction.FAIL_INDEX)),
            _rule("Ignore", codes_with(FailurePolicyAction.IGNORE)),
        ]
    }


def finish_policy() -> Manifest:
    """Gives the policy of the finish step's Job, which has no indices: what no retry mends ends it."""
    final = (*codes_with(FailurePolicyAction.FAIL_JOB), *codes_with(FailurePolicyAction.FAIL_INDEX))
    return {
        "rules": [
            _IGNORE_DISRUPTIONS,
            _rule("FailJob", final),
            _rule("Ignore", codes_with(FailurePolicyAction.IGNORE)),
        ]
    }


_IGNORE_DISRUPTIONS: Manifest = {
    "action": "Ignore",
    "onPodConditions": [{"type": DISRUPTION, "status": "True"}],
}


def _rule(action: str, codes: tuple[ExitCode, ...]) -> Manifest:
    values = sorted(int(code) for code in codes)
    return {"action": action, "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": values}}
