"""A model hub on the loopback address: folders as repositories, by the endpoints that hub clients ask.

    with FakeHub.start({"owner/model": folder}) as hub:
        Hub(cache=tmp_path, endpoint=hub.endpoint)

A repository has one commit, `COMMIT`, and the branch `main`. `hub.gated`, `hub.private` hold names; `hub.failures`
is the number of requests that are answered with 500 before the next good answer; `hub.requests` what was asked.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Final

COMMIT: Final = "c0ffee" + "0" * 34
TOKEN: Final = "hf_good"
_INFO: Final = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)(?:/revision/(?P<revision>[^/?]+))?$")
_FILE: Final = re.compile(r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)$")


@dataclass
class FakeHub:
    """The server and what it serves."""

    repositories: Mapping[str, Path]
    gated: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    failures: int = 0
    requests: list[str] = field(default_factory=list)
    hold: threading.Event | None = None
    """Answers wait for it; None lets them go at once."""
    held: str = ""
    """End of the paths that are held; empty for all."""

    @classmethod
    def start(cls, repositories: Mapping[str, Path]) -> FakeHub:
        """Begins to serve."""
        hub = cls(repositories)
        hub.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
        hub.server.daemon_threads = True
        threading.Thread(target=hub.server.serve_forever, name="hub", daemon=True).start()
        return hub

    server: Any = None

    @property
    def endpoint(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> FakeHub:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.hold is not None:
            self.hold.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str, token: str) -> tuple[int, dict[str, str], bytes]:
        """Gives status, headers and body for a path."""
        if self.failures:
            self.failures -= 1
            return 500, {}, b"the hub is out of order"
        if token not in {"", TOKEN}:
            return 401, {"X-Error-Message": "Invalid credentials in Authorization header"}, b""
        found = _INFO.match(path) or _FILE.match(path)
        if found is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        name, revision = found["name"], found["revision"] or "main"
        folder = self.repositories.get(name)
        if folder is None or (name in self.private and token != TOKEN):
            return 401, {"X-Error-Code": "RepoNotFound"}, b""
        if revision not in {"main", COMMIT}:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if found.re is _INFO:
            return 200, {"Content-Type": "application/json"}, json.dumps(_info(name, folder)).encode()
        if name in self.gated and token != TOKEN:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        file = folder / found["file"]
        if not file.is_file():
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
        data = file.read_bytes()
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        return 200, {"ETag": etag, "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}, data


def _info(name: str, folder: Path) -> dict[str, object]:
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    siblings = [{"rfilename": file, "size": (folder / file).stat().st_size} for file in files]
    return {"_id": "0", "id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "private": False}


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve(body=True)

        def do_HEAD(self) -> None:
            self._serve(body=False)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the library's name
            pass

        def _serve(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            hub.requests.append(f"{self.command} {path}")
            if hub.hold is not None and path.endswith(hub.held):
                hub.hold.wait(60)
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, headers, data = hub.answer(path, token)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

    return Handler
