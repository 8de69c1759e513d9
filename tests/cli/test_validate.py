"""`asyncdiff validate` says what is wrong, where it stands, and what was probably meant."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest
from support.command import run

VALID = """\
apiVersion: asyncdiff.dev/v1alpha1
kind: AsyncDiffJob
metadata: {name: posters}
spec:
  model: {repository: stabilityai/stable-diffusion-xl-base-1.0}
  generate: {prompts: [a fox in the snow]}
  output: {s3: {bucket: renders, prefix: posters/}}
"""
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: prompts}\n"


def with_line(line: str) -> str:
    """Gives the valid job with one more line, the eighth, in its spec."""
    return VALID + f"  {line}\n"


def test_a_valid_job_passes() -> None:
    result = run("validate", "-", stdin=VALID)
    assert result.exit_code == 0
    assert result.output.splitlines() == ["standard input:1: posters: valid", "1 of 1 job valid."]


@pytest.mark.parametrize(
    ("line", "column", "marked", "words"),
    [
        ("paralelism: {pods: 2}", 3, "paralelism", "spec has no such field. Did you mean parallelism?"),
        ("parallelism: {gpuPerPod: 2}", 17, "gpuPerPod", "Did you mean gpusPerPod?"),
        ("parallelism: {gpusPerPod: two}", 29, "two", 'found the text "two"'),
        ("parallelism: {gpusPerPod: '2'}", 29, "'2'", "write 2 without quotes"),
        ("parallelism: {gpusPerPod: 99}", 29, "99", "must be an integer from 1 to 16"),
        ("parallelism: {compile: Aut}", 26, "Aut", "Did you mean Auto?"),
        ("parallelism: {asyncStages: {stages: 2}}", 39, "2", "gpusPerPod is 1"),
    ],
)
def test_a_problem_is_told_with_its_line_column_and_remedy(
    line: str, column: int, marked: str, words: str
) -> None:
    result = run("validate", "-", stdin=with_line(line))
    assert result.exit_code == 64
    assert words in result.output
    where, shown, carets = next(
        block
        for block in zip(*(result.output.splitlines()[n:] for n in range(3)), strict=False)
        if words in block[0]
    )
    assert where.startswith(f"standard input:8:{column}: spec.pa")
    assert shown == f"    8 |   {line}"
    assert shown[carets.index("^") : carets.rindex("^") + 1] == marked


def test_every_document_of_every_file_is_judged(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(f"{CONFIG_MAP}---\n{VALID}---\n{with_line('colour: red')}")
    second.write_text(VALID)
    result = run("validate", str(first), str(second))
    assert result.exit_code == 64
    assert f"{first}:1: ConfigMap prompts: skipped, not an AsyncDiffJob" in result.output
    assert f"{first}:5: posters: valid" in result.output
    assert f"{first}:20:3: spec.colour: spec has no such field." in result.output
    assert f"{second}:1: posters: valid" in result.output
    assert result.output.splitlines()[-1] == "2 of 3 jobs valid. 1 of another kind skipped."


def test_the_items_of_a_list_are_judged_one_by_one() -> None:
    jobs = [{"apiVersion": "asyncdiff.dev/v1alpha1", "kind": "AsyncDiffJob", "metadata": {"name": "x"}}]
    result = run("validate", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": jobs}))
    assert result.exit_code == 64
    assert "spec: is missing" in result.output


def test_a_job_that_misspells_its_kind_is_no_stranger() -> None:
    result = run("validate", "-", stdin=VALID.replace("AsyncDiffJob", "AsyncDifJob"))
    assert result.exit_code == 64
    assert "standard input:2:7: kind: " in result.output


def test_finding_no_job_is_a_failure() -> None:
    result = run("validate", "-", stdin=CONFIG_MAP)
    assert result.exit_code == 64
    assert "No AsyncDiffJob found: nothing was checked. 1 of another kind skipped." in result.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            VALID.replace("  model:", "\tmodel:"),
            "standard input:5:1: A tab stands where YAML allows only spaces",
        ),
        (with_line("model: {bundled: x}"), "standard input:8:3: 'model' is given twice, first on line 5"),
        ("- a\n- b\n", "must be a mapping that begins with apiVersion and kind; found a list of 2 entries"),
        ("just words\n", 'found the text "just words"'),
    ],
)
def test_yaml_that_is_no_job_is_refused(text: str, words: str) -> None:
    result = run("validate", "-", stdin=text)
    assert result.exit_code == 64
    assert words in result.output


def test_a_file_that_is_not_utf_8_is_refused() -> None:
    result = run("validate", "-", stdin=VALID.replace("fox", "fuchsfäule").encode("latin-1"))
    assert result.exit_code == 64
    assert "standard input:6:1: Byte " in result.output
    assert "is not UTF-8 (0xe4)" in result.output


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert run("validate", "-", stdin=VALID.encode("utf-8-sig")).exit_code == 0


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    result = run("validate", str(tmp_path / "nowhere.yaml"))
    assert result.exit_code == 2
    assert "cannot be read: No such file or directory." in result.output


def test_json_output_says_the_same_to_scripts() -> None:
    text = f"{CONFIG_MAP}---\n{with_line('parallelism: {gpuPerPod: 2}')}"
    result = run("validate", "--output", "json", "-", stdin=text)
    assert result.exit_code == 64
    assert json.loads(result.output) == {
        "valid": False,
        "documents": [
            {
                "file": "standard input",
                "line": 1,
                "kind": "ConfigMap",
                "name": "prompts",
                "outcome": "skipped",
                "problems": [],
            },
            {
                "file": "standard input",
                "line": 5,
                "kind": "AsyncDiffJob",
                "name": "posters",
                "outcome": "invalid",
                "problems": [
                    {
                        "line": 12,
                        "column": 17,
                        "field": "spec.parallelism.gpuPerPod",
                        "message": "spec.parallelism has no such field.",
                        "suggestion": "gpusPerPod",
                    }
                ],
            },
        ],
    }


def test_what_a_file_says_is_never_taken_for_markup() -> None:
    result = run("validate", "-", stdin=with_line("'[red]colour[/]': 1"))
    assert "[red]colour[/]" in result.output.splitlines()[0]


def test_marks_stay_under_wide_characters_and_in_long_lines() -> None:
    fox = "雪の中の狐"
    long = with_line(f"parallelism: {{attentionBackend: '{'x' * 300}', pods: none, quality: '{fox}'}}")
    lines = run("validate", "-", stdin=long).output.splitlines()
    shown, carets = next(
        (lines[n], lines[n + 1]) for n in range(len(lines)) if lines[n].startswith("    8 | …")
    )
    assert shown[carets.index("^") : carets.rindex("^") + 1] in ("none", f"'{fox}'")


def test_a_job_written_for_kubectl_means_the_same_here() -> None:
    text = dedent(
        """\
        apiVersion: asyncdiff.dev/v1alpha1
        kind: AsyncDiffJob
        metadata:
          name: numbers
          labels: &labels {week: "2026-01-01"}
          annotations:
            <<: *labels
        spec:
          model: {repository: stabilityai/sdxl-turbo, allowPickle: off}
          generate: {prompts: [1 fox], guidanceScale: 1e0, steps: 4.0, seeds: {count: 1_000}}
          output: {volume: {claimName: renders}}
        """
    )
    result = run("validate", "-", stdin=text)
    assert result.exit_code == 0, result.output
