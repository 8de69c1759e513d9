"""Keys of a mounted Secret: used before the environment's, and read anew once the kubelet has replaced them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asyncdiff_api.formats.errors import OutputRefusedError
from asyncdiff_runtime.storage.credentials import FOLDER_VARIABLE
from asyncdiff_runtime.storage.s3 import S3Options, S3Storage

if TYPE_CHECKING:
    from support.s3 import S3Server


def mount(folder: Path, version: str, keys: Mapping[str, str]) -> None:
    """Puts keys into a folder as the kubelet does: into one of their own, then a link is moved to it."""
    (folder / version).mkdir(parents=True)
    for name, value in keys.items():
        (folder / version / name).write_text(value + "\n")
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..new").symlink_to(version)
    (folder / "..new").rename(folder / "..data")


@pytest.fixture
def mounted(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for keys, in an environment with keys that are wrong."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def keys_of(server: S3Server, **changes: str) -> dict[str, str]:
    environment = {**server.environment(), **changes}
    return {name: environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}


def test_keys_that_are_replaced_work_from_the_next_request_on(
    mounted: Path, s3_server: S3Server, bucket: str
) -> None:
    mount(mounted, "..first", keys_of(s3_server))
    storage = S3Storage(bucket, "posters/", S3Options(endpoint=s3_server.endpoint))
    storage.write("a", b"1")

    mount(mounted, "..second", keys_of(s3_server, AWS_SECRET_ACCESS_KEY="outdated"))
    with pytest.raises(OutputRefusedError, match="SignatureDoesNotMatch"):
        storage.write("b", b"2")

    mount(mounted, "..third", keys_of(s3_server))
    storage.write("c", b"3")
    assert [found.key for found in storage.list("")] == ["a", "c"]


def test_an_empty_folder_leaves_credentials_to_the_environment(
    mounted: Path, s3_server: S3Server, bucket: str
) -> None:
    with pytest.raises(OutputRefusedError, match="SignatureDoesNotMatch"):
        S3Storage(bucket, "", S3Options(endpoint=s3_server.endpoint)).write("a", b"")


def test_a_secret_without_one_of_the_keys_is_named(mounted: Path, s3_server: S3Server, bucket: str) -> None:
    mount(mounted, "..first", {"AWS_ACCESS_KEY_ID": "somebody"})
    with pytest.raises(OutputRefusedError, match="AWS_SECRET_ACCESS_KEY"):
        S3Storage(bucket, "", S3Options(endpoint=s3_server.endpoint)).write("a", b"")
