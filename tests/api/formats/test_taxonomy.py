"""Exit codes, errors and reasons: one list each, and they agree."""

import inspect
import re

import pytest
from asyncdiff_api.formats import errors
from asyncdiff_api.formats.conditions import REASONS, Reason
from asyncdiff_api.formats.errors import ContractError, exit_code_of, reason_of
from asyncdiff_api.formats.exit_codes import ExitCode, FailurePolicyAction, codes_with, describe_exit
from asyncdiff_api.status import ConditionType

ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ContractError)]


def test_the_failure_policy_is_the_one_that_the_design_gives() -> None:
    assert codes_with(FailurePolicyAction.FAIL_JOB) == (64, 66, 69, 71)
    assert codes_with(FailurePolicyAction.FAIL_INDEX) == (65,)
    assert codes_with(FailurePolicyAction.IGNORE) == (75,)
    assert codes_with(FailurePolicyAction.COUNT) == (70, 74)
    assert codes_with(FailurePolicyAction.NONE) == (0,)


@pytest.mark.parametrize("code", ExitCode)
def test_every_code_says_what_it_means(code: ExitCode) -> None:
    assert code.meaning.endswith(".")
    assert describe_exit(code) == code.meaning


@pytest.mark.parametrize(
    ("code", "words"), [(137, "signal 9"), (143, "signal 15"), (1, "none of the runtime's")]
)
def test_codes_of_others_are_explained_too(code: int, words: str) -> None:
    assert words in describe_exit(code)


def test_every_reason_has_cause_remedy_and_a_condition() -> None:
    assert set(REASONS) == set(Reason)
    for reason, text in REASONS.items():
        assert re.fullmatch(r"[A-Z][A-Za-z]{2,63}", reason)
        assert text.types
        assert text.cause.endswith(".")
        assert text.remedy.endswith(".")


def test_every_condition_has_a_reason_to_be_and_failures_have_a_remedy() -> None:
    assert {kind for text in REASONS.values() for kind in text.types} == set(ConditionType)
    for reason, text in REASONS.items():
        if ConditionType.FAILED in text.types:
            assert text.remedy != "Nothing to do.", reason


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_is_reported_under_a_reason_that_can_fail_or_degrade_a_job(
    kind: type[ContractError],
) -> None:
    error = kind("found this, wanted that, do so")
    types = REASONS[reason_of(error)].types
    assert {ConditionType.FAILED, ConditionType.DEGRADED, ConditionType.ACCEPTED} & set(types)
    assert error.retriable == exit_code_of(error).retriable
    assert kind.__doc__


def test_every_code_but_success_is_some_errors_code() -> None:
    assert {kind.exit_code for kind in ERRORS} == set(ExitCode) - {ExitCode.DONE}


def test_the_drawn_tree_is_the_tree() -> None:
    drawn = re.findall(r"([A-Z]\w+Error)(?: \((\d+)\))?", (errors.__doc__ or "").partition("A message")[0])
    assert next(name for name, _ in drawn) == "ContractError"
    assert {name for name, _ in drawn} == {kind.__name__ for kind in ERRORS}
    for name, code in drawn:
        if code:
            assert getattr(errors, name).exit_code == int(code)


def test_an_error_from_elsewhere_is_unexpected_and_tried_again() -> None:
    assert exit_code_of(RuntimeError("CUDA error")) is ExitCode.UNEXPECTED
    assert reason_of(KeyError("x")) is Reason.UNEXPECTED_ERROR
    assert exit_code_of(RuntimeError()).retriable
