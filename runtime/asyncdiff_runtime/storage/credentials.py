"""Keys of a mounted Secret, read anew whenever they are needed: the kubelet replaces the files in place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.credentials import CredentialProvider, Credentials, ReadOnlyCredentials
from botocore.exceptions import PartialCredentialsError

FOLDER_VARIABLE: Final = "ASYNCDIFF_S3_CREDENTIALS"
"""Names the folder for this process and its children; unset, credentials come from boto3's chain alone."""

_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_TOKEN: Final = "AWS_SESSION_TOKEN"  # noqa: S105 -- the name of a file
_METHOD: Final = "mounted-secret"


def session(profile: str = "") -> Any:
    """Gives a boto3 session, whose credentials are those of the mounted folder if there are any.

    A session of its own each time: boto3's default one is shared by the process and not safe for threads.

    Args:
        profile: Profile of AWS's configuration files; empty for the environment's.
    """
    found = boto3.session.Session(profile_name=profile or None)
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        chain = found._session.get_component("credential_provider")  # noqa: SLF001 -- boto3 shows no other way
        chain.insert_before("env", MountedKeys(Path(folder)))
    return found


class MountedKeys(CredentialProvider):  # type: ignore[misc]  # -- botocore is untyped
    """Finds keys in a folder with a file for each."""

    METHOD = _METHOD
    CANONICAL_NAME = None

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def load(self) -> Credentials | None:
        """Gives the keys; None where the folder has none, and the next provider is asked."""
        if not any((self._folder / name).is_file() for name in _KEYS):
            return None
        return RereadKeys(self._folder)


class RereadKeys(Credentials):  # type: ignore[misc]  # -- botocore is untyped
    """Keys that are read for every request that is signed, retries included: a rotated Secret works at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        frozen = read_keys(folder)
        super().__init__(frozen.access_key, frozen.secret_key, frozen.token, method=_METHOD)

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Gives the keys as they are now."""
        return read_keys(self._folder)


def read_keys(folder: Path) -> ReadOnlyCredentials:
    """Reads the keys of a folder, all from one version of the Secret.

    Raises:
        PartialCredentialsError: One of them is missing.
    """
    # The kubelet keeps each version in a folder of its own, which `..data` points at.
    current = folder / "..data"
    version = current.resolve() if current.exists() else folder
    values = {name: _text(version / name) for name in (*_KEYS, _TOKEN)}
    missing = [name for name in _KEYS if not values[name]]
    if missing:
        raise PartialCredentialsError(provider=f"the Secret mounted at {folder}", cred_var=", ".join(missing))
    return ReadOnlyCredentials(*(values[name] for name in _KEYS), values[_TOKEN] or None)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
