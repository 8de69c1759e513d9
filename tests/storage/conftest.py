"""Both storages, so that one claim is tried on each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asyncdiff_runtime.storage import FolderStorage, Storage
from asyncdiff_runtime.storage.s3 import S3Options, S3Storage

if TYPE_CHECKING:
    from support.s3 import S3Server


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An empty storage of either kind."""
    if request.param == "folder":
        return FolderStorage(tmp_path / "output")
    server: S3Server = request.getfixturevalue("s3_server")
    return bucket_of(server, monkeypatch, server.bucket())


def bucket_of(server: S3Server, monkeypatch: pytest.MonkeyPatch, bucket: str, attempts: int = 4) -> S3Storage:
    """A bucket's prefix as the runtime opens it, credentials from the environment."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return S3Storage(bucket, "posters/", S3Options(endpoint=server.endpoint, attempts=attempts))
