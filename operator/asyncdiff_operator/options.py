"""The operator's options: each a flag, and a variable of the environment that the flag overrides.

`--lease-name x` is `ASYNCDIFF_LEASE_NAME=x`. The reference page is made from here.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from asyncdiff_operator.errors import StartError
from asyncdiff_operator.logs import LogFormat
from asyncdiff_operator.settings import AllowList, Defaults

PREFIX: Final = "ASYNCDIFF_"
NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

ProgressMode = Literal["podIP", "proxy", "off"]
LogLevel = Literal["debug", "info", "warning", "error"]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]


@dataclass(frozen=True, slots=True)
class About:
    """Says what an option is: unit, bounds, what being unset means."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What one operator process was started with."""

    image: Annotated[
        str,
        About(
            "Runtime image of jobs that name none, best with a digest. Must be set. Running jobs keep theirs."
        ),
    ] = ""
    image_pull_policy: Annotated[
        PullPolicy | None,
        About("When nodes pull the runtime image. Unset: Always for the tag `latest`, else IfNotPresent."),
    ] = None
    fs_group: Annotated[
        int | None, About("Group that owns volumes of pods. `none`: the namespace's own, as OpenShift wants.")
    ] = 65532
    pod_environment: Annotated[
        Mapping[str, str],
        About(
            "Variables of every pod of the runtime, such as HTTPS_PROXY or HF_ENDPOINT, as a JSON object. A job's own "
            "of the same name come before them."
        ),
    ] = field(default_factory=dict)
    ca_config_map: Annotated[
        str,
        About(
            "ConfigMap in each job's namespace whose key `ca.crt` holds the certificates that pods trust, in place of "
            "the public ones. Unset: these."
        ),
    ] = ""
    allowed_images: Annotated[
        tuple[str, ...] | None, About("Patterns (`*`, `?`) of images that jobs may name. Unset: every image.")
    ] = None
    allowed_service_accounts: Annotated[
        tuple[str, ...] | None, About("Patterns of service accounts that jobs may name. Unset: every one.")
    ] = None
    allowed_secrets: Annotated[
        tuple[str, ...] | None, About("Patterns of Secrets that jobs may name. Unset: every one.")
    ] = None
    input_hosts: Annotated[
        tuple[str, ...],
        About(
            "Hosts from which jobs may take inputs over https: `host`, `host:port` or `*.domain`. Unset: none, only S3."
        ),
    ] = ()
    namespaces: Annotated[
        tuple[str, ...], About("Namespaces that are served. Unset: all of the cluster.")
    ] = ()
    kubeconfig: Annotated[
        Path | None,
        About("Kubeconfig file to use. Unset: the pod's service account, else the user's kubeconfig."),
    ] = None
    progress: Annotated[
        ProgressMode,
        About(
            "How running pods are asked for their progress: at their own address (podIP), through the API server "
            "(proxy; needs the permission pods/proxy), or not at all (off)."
        ),
    ] = "podIP"
    progress_seconds: Annotated[
        float,
        About("Seconds between two polls of a pod, at least 0.1; longer where there are more than 250 pods."),
    ] = 5.0
    status_seconds: Annotated[
        float,
        About(
            "Least seconds between two writes of a job's status that bring nothing but newer counts; longer where more "
            "than 100 jobs run. 0: none waits."
        ),
    ] = 5.0
    workers: Annotated[int, About("Jobs that are looked at at the same time, at least 1.")] = 32
    resync_seconds: Annotated[
        float,
        About("Seconds after which everything known is compared with the API server's lists, at least 1."),
    ] = 600.0
    request_seconds: Annotated[
        float, About("Seconds after which a request to the API server is given up.")
    ] = 10.0
    lease_namespace: Annotated[
        str,
        About(
            "Namespace of the Lease by which replicas agree on a leader. Unset: the pod's own, else `default`."
        ),
    ] = ""
    lease_name: Annotated[str, About("Name of that Lease.")] = "asyncdiff-operator"
    lease_seconds: Annotated[
        float,
        About("Seconds without a sign of the leader after which another replica takes over, at least 1."),
    ] = 15.0
    identity: Annotated[
        str,
        About(
            "Name of this replica in the Lease. It must be used by no other process that may be alive: in a pod, the "
            "pod's name, with which a restarted container goes on at once. Unset: host name and a random number."
        ),
    ] = ""
    drain_seconds: Annotated[
        float,
        About("Seconds that looks under way have to end after SIGTERM, before the Lease is given back."),
    ] = 10.0
    address: Annotated[str, About("Address of the pages /healthz, /readyz and /metrics.")] = "0.0.0.0"  # noqa: S104 -- probes come from the node
    port: Annotated[int, About("Port of these pages. 0: any free one, named in the log.")] = 8080
    log_format: Annotated[LogFormat, About("One JSON object a line, or text for people.")] = "json"
    log_level: Annotated[LogLevel, About("Least severity that is logged.")] = "info"

    def __post_init__(self) -> None:
        """Refuses what cannot work.

        Raises:
            StartError: A value is out of its bounds, or the image is missing.
        """
        least = {
            "workers": 1,
            "resync_seconds": 1,
            "lease_seconds": 1,
            "progress_seconds": 0.1,
            "request_seconds": 0.1,
            "status_seconds": 0,
            "drain_seconds": 0,
            "port": 0,
        }
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise StartError(f"{flag(name)} is {getattr(self, name)} and must be at least {bound}")
        if not self.image:
            raise StartError(
                f"no runtime image was given: name the image of jobs that name none with {flag('image')} IMAGE "
                f"or {variable('image')}"
            )

    def defaults(self) -> Defaults:
        """Gives the part of the options that `plan` goes by."""
        return Defaults(
            image=self.image,
            image_pull_policy=self.image_pull_policy,
            fs_group=self.fs_group,
            environment=self.pod_environment,
            ca_config_map=self.ca_config_map,
            input_hosts=self.input_hosts,
            allowed_images=AllowList(self.allowed_images),
            allowed_service_accounts=AllowList(self.allowed_service_accounts),
            allowed_secrets=AllowList(self.allowed_secrets),
            ask_for_progress=self.progress != "off",
        )


def flag(name: str) -> str:
    """Gives the flag of an option."""
    return f"--{name.replace('_', '-')}"


def variable(name: str) -> str:
    """Gives the environment variable of an option."""
    return f"{PREFIX}{name.upper()}"


def read_options(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """Reads options from a command line and, for what it leaves out, the environment.

    Raises:
        StartError: A variable or a value is not what it must be.
        SystemExit: A flag is not known, or help was asked for.
    """
    parser = argparse.ArgumentParser(
        prog="asyncdiff-operator",
        description="Runs AsyncDiffJobs of a Kubernetes cluster.",
        allow_abbrev=False,
    )
    described = {option.name: option for option in describe_options()}
    for option in described.values():
        about = f"{option.about} Default: {option.default}. Environment: {option.variable}."
        parser.add_argument(option.flag, metavar="VALUE", help=about.replace("%", "%%"))
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    told = {o.name: environment[o.variable] for o in described.values() if o.variable in environment}
    values = {
        name: _parse(text, described[name].type, described[name].variable) for name, text in told.items()
    }
    values |= {name: _parse(text, described[name].type, described[name].flag) for name, text in given.items()}
    return Options(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """An option as a person needs it."""

    name: str
    type: Any
    flag: str
    variable: str
    default: str
    about: str


def describe_options() -> tuple[Described, ...]:
    """Gives every option, in the order of their declaration."""
    hints = get_type_hints(Options, include_extras=True)
    return tuple(
        Described(
            name=declared.name,
            type=get_args(hints[declared.name])[0],
            flag=flag(declared.name),
            variable=variable(declared.name),
            default=_shown(None if declared.default is MISSING else declared.default),
            about=get_args(hints[declared.name])[1].text,
        )
        for declared in fields(Options)
    )


def _shown(default: Any) -> str:
    """Gives a default as a person would write it."""
    if default is None or default in ("", ()):
        return "unset"
    return f"{default:g}" if isinstance(default, float) else str(default)


def identity_of(options: Options) -> str:
    """Gives this replica's name, made up if none was given."""
    return options.identity or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"


def lease_namespace_of(options: Options, namespace_file: Path = NAMESPACE_FILE) -> str:
    """Gives the namespace of the Lease."""
    if options.lease_namespace:
        return options.lease_namespace
    return namespace_file.read_text().strip() if namespace_file.exists() else "default"


def _parse(text: str, wanted: Any, source: str) -> Any:
    kinds = get_args(wanted)
    is_list = any(str(kind).startswith("tuple") for kind in (wanted, *kinds))
    if type(None) in kinds and (
        text == "none" or (text == "" and not is_list)
    ):  # an empty list allows nothing
        return None
    choices = _choices(wanted)
    if choices:
        if text not in choices:
            raise StartError(f"{source} is {text!r} and must be one of {', '.join(choices)}")
        return text
    for kind in (int, float):
        if kind in (wanted, *kinds):
            return _number(text, kind, source)
    if Path in (wanted, *kinds):
        return Path(text)
    if wanted is str:
        return text
    if get_origin(wanted) is Mapping:
        return _variables(text, source)
    return tuple(part for word in text.split(",") if (part := word.strip()))


def _choices(wanted: Any) -> tuple[str, ...]:
    """Gives the words among which a type chooses, if it does."""
    inner = [kind for kind in get_args(wanted) if kind is not type(None)]
    if inner and all(isinstance(kind, str) for kind in inner):
        return tuple(inner)
    return next((words for kind in inner if (words := _choices(kind))), ())


def _variables(text: str, source: str) -> Mapping[str, str]:
    wanted = f'{source} must be a JSON object of strings, such as {{"HTTPS_PROXY": "http://proxy:3128"}}'
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise StartError(f"{wanted}: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise StartError(wanted)
    return found


def _number(text: str, kind: type[int] | type[float], source: str) -> float:
    try:
        return kind(text)
    except ValueError as error:
        raise StartError(f"{source} is {text!r} and must be a number") from error
