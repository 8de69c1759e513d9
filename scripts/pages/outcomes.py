"""The reference of exit codes and of conditions with their reasons."""

from __future__ import annotations

from asyncdiff_api.formats.conditions import REASONS, Reason
from asyncdiff_api.formats.exit_codes import ExitCode, FailurePolicyAction
from asyncdiff_api.status import ConditionType

from pages.markdown import code, page, table

_EXIT_CODES = """
How containers of the runtime end, and what the Job does then. `asyncdiff validate` ends with the same code
for a job that is wrong. The numbers follow `sysexits.h` where it has a fitting one, and never change their
meaning: a Job that runs already carries them in its `podFailurePolicy`.
"""
_CONDITIONS = """
Every reason that a condition of an `AsyncDiffJob` may carry, with its cause and what to do about it.
`kubectl describe adj NAME` shows the conditions with their messages.
"""
_ACTIONS = {
    FailurePolicyAction.NONE: "The shard is done.",
    FailurePolicyAction.FAIL_JOB: "The whole job ends.",
    FailurePolicyAction.FAIL_INDEX: "This shard ends; the others run on.",
    FailurePolicyAction.IGNORE: "The pod is replaced; no retry is charged.",
    FailurePolicyAction.COUNT: "The pod is replaced; one of the shard's retries is charged.",
}


def exit_codes_page() -> str:
    """Gives the page on exit codes."""
    rows = [[str(int(exit_code)), exit_code.meaning, _ACTIONS[exit_code.action]] for exit_code in ExitCode]
    return page("Exit codes", _EXIT_CODES, table(["Code", "Meaning", "What happens then"], rows))


def conditions_page() -> str:
    """Gives the page on conditions, one section a type."""
    blocks = []
    for kind in ConditionType:
        reasons = [reason for reason in Reason if kind in REASONS[reason].types]
        rows = [[code(reason), REASONS[reason].cause, REASONS[reason].remedy] for reason in reasons]
        blocks += [f"## {kind}", table(["Reason", "Cause", "What to do"], rows)]
    return page("Conditions and reasons", _CONDITIONS, *blocks)
