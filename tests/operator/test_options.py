"""Every option is a flag and a variable; what is wrong with one is said in a sentence."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from asyncdiff_api.crd import crd
from asyncdiff_api.formats.conditions import REASONS, Reason
from asyncdiff_operator.errors import StartError
from asyncdiff_operator.logs import JsonFormatter, job_logger
from asyncdiff_operator.options import (
    Options,
    describe_options,
    flag,
    identity_of,
    lease_namespace_of,
    read_options,
)
from support.jobs import job

IMAGE = ["--image", "renders/runtime@sha256:1"]


def test_a_flag_comes_before_a_variable_and_a_variable_before_the_default() -> None:
    environment = {"ASYNCDIFF_WORKERS": "3", "ASYNCDIFF_LEASE_NAME": "theirs", "PATH": "/bin"}
    options = read_options([*IMAGE, "--lease-name", "ours"], environment)

    assert (options.lease_name, options.workers, options.port) == ("ours", 3, 8080)


def test_values_are_read_as_what_they_are() -> None:
    options = read_options(
        [
            *IMAGE,
            "--namespaces=a, b",
            "--fs-group=none",
            "--allowed-images=",
            "--allowed-secrets=s3-*",
            "--kubeconfig=/etc/k",
            "--status-seconds=0.5",
            "--progress=off",
        ],
        {},
    )

    assert options.namespaces == ("a", "b")
    assert options.fs_group is None
    assert options.kubeconfig == Path("/etc/k")
    assert options.status_seconds == 0.5
    defaults = options.defaults()
    assert defaults.ask_for_progress is False
    assert defaults.allowed_secrets.allows("s3-renders")
    assert not defaults.allowed_secrets.allows("hub")


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        ([], {}, "no runtime image was given.*--image IMAGE or ASYNCDIFF_IMAGE"),
        (
            [*IMAGE, "--progress=sometimes"],
            {},
            "--progress is 'sometimes' and must be one of podIP, proxy, off",
        ),
        ([*IMAGE, "--workers=0"], {}, "--workers is 0 and must be at least 1"),
        ([*IMAGE], {"ASYNCDIFF_PORT": "http"}, "ASYNCDIFF_PORT is 'http' and must be a number"),
        ([*IMAGE, "--lease-seconds=0.2"], {}, "--lease-seconds is 0.2 and must be at least 1"),
    ],
)
def test_a_wrong_option_is_a_sentence(
    arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    with pytest.raises(StartError, match=sentence):
        read_options(arguments, environment)


def test_the_process_ends_with_2_and_the_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "asyncdiff_operator"], capture_output=True, text=True, env={}
    )

    assert done.returncode == 2
    assert done.stderr.startswith("error: no runtime image was given")


def test_every_option_says_what_it_is() -> None:
    described = describe_options()

    assert len({option.variable for option in described}) == len(described)
    assert all(option.about.endswith(".") for option in described)


def test_replicas_have_names_and_a_place_for_their_lease_of_their_own(tmp_path: Path) -> None:
    options = Options(image="i")
    assert identity_of(options) != identity_of(options)
    assert identity_of(Options(image="i", identity="pod-1")) == "pod-1"

    namespace = tmp_path / "namespace"
    assert lease_namespace_of(options, namespace) == "default"
    namespace.write_text("asyncdiff-system\n")
    assert lease_namespace_of(options, namespace) == "asyncdiff-system"
    assert lease_namespace_of(Options(image="i", lease_namespace="named"), namespace) == "named"


def test_a_record_about_a_job_names_it_and_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    metadata = {"namespace": "team", "name": "posters", "uid": "29ee5208-ab8f-44d7-b8ed-26b03f268497"}
    with caplog.at_level(logging.INFO):
        job_logger(logging.getLogger("test"), {**job(), "metadata": metadata}).info(
            "pod %s is stuck", "p", extra={"shard": 3}
        )

    line = JsonFormatter().format(caplog.records[0])
    for part in (
        '"message": "pod p is stuck"',
        '"namespace": "team"',
        '"job": "posters"',
        '"shard": 3',
        '"trace_id": "29ee5208ab8f44d7b8ed26b03f268497"',
    ):
        assert part in line


FLAG = re.compile(r"--[a-z][a-z-]+")
FIELD = re.compile(
    r"\b(?:spec\.)?((?:run|model|output|pod|generate|parallelism|acceptance)(?:\.[a-z][A-Za-z0-9]+)+)"
)
OF_KUBECTL = {"--force"}


def has_field(path: str) -> bool:
    """Whether a job's spec has a field of that path."""
    (version,) = crd()["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for name in path.split("."):
        schema = schema.get("properties", {}).get(name)
        if schema is None:
            return False
    return True


@pytest.mark.parametrize("reason", REASONS, ids=str)
def test_what_a_reason_tells_people_to_change_is_there_to_be_changed(reason: Reason) -> None:
    said = f"{REASONS[reason].cause} {REASONS[reason].remedy}"
    flags = {flag(option.name) for option in fields(Options)}
    # `--progress=proxy` names a flag with its value
    assert set(FLAG.findall(said)) <= flags | OF_KUBECTL
    assert [path for path in FIELD.findall(said) if not has_field(path)] == []
    assert "Helm value" not in said
