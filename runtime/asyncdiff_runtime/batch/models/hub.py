"""Models on the hub: revisions resolved to commits, files brought into the hub's own cache."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from asyncdiff_api.formats.errors import ContractError, ModelUnavailableError, OutageError

from asyncdiff_runtime.batch.models.sources import Received, refuse_cache

logger = logging.getLogger(__name__)

T = TypeVar("T")

AT_ONCE: Final = 4
COMMIT: Final = re.compile("[0-9a-f]{40}")
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_TOKEN_REMEDY: Final = "spec.model.tokenSecret in a cluster, HF_TOKEN elsewhere"  # noqa: S105 -- no secret


@dataclass(frozen=True, kw_only=True)
class Hub:
    """A hub, and how it is asked."""

    cache: Path
    """Folder of the hub's cache, in the layout that all its clients share."""
    endpoint: str | None = None
    """None: HF_ENDPOINT, else the public hub."""
    token: str | None = field(default=None, repr=False)
    """None: HF_TOKEN, else the file that HF_TOKEN_PATH names, which `hf auth login` writes."""
    offline: bool = False
    attempts: int = 6
    first_pause_seconds: float = 1.0
    """Pause before the second attempt; each later one is twice as long."""

    @classmethod
    def of_environment(cls) -> Hub:
        """Gives the hub that HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE, HF_TOKEN and HF_TOKEN_PATH name."""
        from huggingface_hub import constants

        return cls(cache=Path(constants.HF_HUB_CACHE), offline=bool(constants.HF_HUB_OFFLINE))


@dataclass(frozen=True)
class HubSource:
    """A repository of the hub at a revision."""

    repository: str
    revision: str
    hub: Hub = field(repr=False)
    pinned: str = ""
    """The commit, once it is decided."""
    field_name: str = "spec.model"
    """The part of the job that names it."""

    @property
    def name(self) -> str:
        """As `Source.name`."""
        return f"hub:{self.repository}{f' at {self.revision}' if self.revision else ''}"

    @property
    def remedy(self) -> str:
        """As `Source.remedy`."""
        return f"correct {self.field_name}"

    def commit(self) -> str:
        """As `Source.commit`; asks the hub only if the revision is no commit and none is pinned."""
        known = self.pinned or (self.revision if COMMIT.fullmatch(self.revision) else "")
        return known if known and self._listing_file(known).exists() else self._found[0]

    def files(self) -> frozenset[str]:
        """As `Source.files`."""
        return frozenset(self._sizes)

    def read(self, name: str) -> bytes:
        """As `Source.read`."""
        return self._file(name).read_bytes()

    def fetch(self, names: Collection[str]) -> Path:
        """As `Source.fetch`."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._file, sorted(names)))
        return self._snapshot(self.commit())

    def received(self, names: Collection[str]) -> Received:
        """As `Source.received`; what is under way may be of files that another process fetches."""
        snapshot = self._snapshot(self.commit())
        here = {name: path.stat().st_size for name in names if (path := snapshot / name).exists()}
        if len(here) == len(names):
            return Received(sum(here.values()), sum(here.values()))
        sizes = [self._sizes[name] for name in names]
        wanted = None if None in sizes else sum(size or 0 for size in sizes)
        unfinished = (self._repository_folder / "blobs").glob("*.incomplete")
        return Received(sum(here.values()) + sum(map(_size, unfinished)), wanted, whole=False)

    @cached_property
    def _sizes(self) -> dict[str, int | None]:
        """Size of each file in bytes, where the hub has told it."""
        try:
            return dict(json.loads(self._listing_file(self.commit()).read_bytes()))
        except (OSError, ValueError):  # the cache is read-only, was emptied, or was filled by another tool
            return self._found[1]

    @cached_property
    def _found(self) -> tuple[str, dict[str, int | None]]:
        """Commit and files of the revision."""
        return self._in_cache() if self.hub.offline else self._ask_hub()

    def _ask_hub(self) -> tuple[str, dict[str, int | None]]:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.hub.endpoint, token=self.hub.token)
        revision = self.pinned or self.revision or None
        info = self._asked(
            lambda: api.model_info(self.repository, revision=revision, timeout=10, files_metadata=True)
        )
        commit, sizes = str(info.sha), {file.rfilename: file.size for file in info.siblings or ()}
        listing = self._listing_file(commit)
        with suppress(OSError):  # a read-only cache: it is asked again
            listing.parent.mkdir(parents=True, exist_ok=True)
            unfinished = listing.with_suffix(f".{os.getpid()}")
            unfinished.write_text(json.dumps(sizes, sort_keys=True))
            unfinished.replace(listing)
        return commit, sizes

    def _in_cache(self) -> tuple[str, dict[str, int | None]]:
        """Looks up a revision in the local cache alone."""
        wanted = self.pinned or self.revision or "main"
        reference = self._repository_folder / "refs" / wanted
        commit = wanted if COMMIT.fullmatch(wanted) else ""
        if not commit and reference.is_file():
            commit = reference.read_text().strip()
        snapshot = self._snapshot(commit) if commit else None
        if snapshot is None or not snapshot.is_dir():
            raise ModelUnavailableError(
                f"{self.name} is not in the local cache {self.hub.cache} and HF_HUB_OFFLINE is set; fetch it "
                f"with `hf download {self.repository} --revision {wanted}`, or unset the variable"
            )
        files = (path for path in snapshot.rglob("*") if path.is_file())
        return commit, {path.relative_to(snapshot).as_posix(): path.stat().st_size for path in files}

    def _file(self, name: str) -> Path:
        """Gives the path of a file in the cache, fetched if need be."""
        from huggingface_hub import hf_hub_download

        commit = self.commit()
        here = self._snapshot(commit) / name
        if here.exists():
            return here
        if self.hub.offline:
            raise ModelUnavailableError(
                f"{self.name}: {name} is not in the local cache and HF_HUB_OFFLINE is set; fetch it with "
                f"`hf download {self.repository} --revision {commit}`, or unset the variable"
            )
        return Path(
            self._asked(
                lambda: hf_hub_download(
                    self.repository,
                    name,
                    revision=commit,
                    cache_dir=self.hub.cache,
                    endpoint=self.hub.endpoint,
                    token=self.hub.token,
                )
            )
        )

    def _asked(self, request: Callable[[], T]) -> T:
        """Asks the hub, again after growing pauses while it does not answer."""
        for attempt in range(1, self.hub.attempts):
            try:
                with self._spoken():
                    return request()
            except OutageError as error:
                logger.warning("%s; attempt %d of %d", error, attempt, self.hub.attempts)
            time.sleep(self.hub.first_pause_seconds * 2 ** (attempt - 1))
        with self._spoken():
            return request()

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        """Says the hub's errors as the contract's."""
        from huggingface_hub import errors

        try:
            yield
        except ContractError:
            raise
        except errors.GatedRepoError as error:
            raise ModelUnavailableError(
                f"{self.name} is gated: accept its terms on the hub and give the token of that account "
                f"({_TOKEN_REMEDY})"
            ) from error
        except errors.RevisionNotFoundError as error:
            raise ModelUnavailableError(
                f"{self.name}: the hub has no revision {self.pinned or self.revision}; correct "
                f"{self.field_name}.revision"
            ) from error
        except errors.RepositoryNotFoundError as error:
            raise ModelUnavailableError(
                f"{self.name} is not on the hub, or is private; correct {self.field_name}.repository, or give a "
                f"token that may read it ({_TOKEN_REMEDY})"
            ) from error
        except errors.EntryNotFoundError as error:
            if _status(error) is None:  # the client looks into its cache when the hub does not answer
                raise OutageError(
                    f"{self.name} could not be fetched: the hub was not reached ({error})"
                ) from error
            raise ModelUnavailableError(
                f"{self.name} lacks a file ({_first_line(error)}); {self.remedy}"
            ) from error
        except errors.HfHubHTTPError as error:
            raise self._http_error(error) from error
        except _failures_of_http() as error:
            refuse_cache(self.name, self.hub.cache, error)
            raise OutageError(f"{self.name} could not be fetched: {_first_line(error)}") from error

    def _http_error(self, error: Any) -> ContractError:
        status = _status(error)
        if status in {401, 403}:
            return ModelUnavailableError(
                f"{self.name}: the hub refuses the token (HTTP {status}: {_first_line(error)}); give one that may "
                f"read it ({_TOKEN_REMEDY})"
            )
        if status is None or status in _TRANSIENT or status >= 500:
            return OutageError(f"{self.name} could not be fetched: {_first_line(error)}")
        return ModelUnavailableError(
            f"{self.name} was refused by the hub ({_first_line(error)}); {self.remedy}"
        )

    @cached_property
    def _repository_folder(self) -> Path:
        return self.hub.cache / f"models--{self.repository.replace('/', '--')}"

    def _snapshot(self, commit: str) -> Path:
        return self._repository_folder / "snapshots" / commit

    def _listing_file(self, commit: str) -> Path:
        """Names and sizes of a commit's files, kept beside the hub's cache: a resumed job asks the hub nothing."""
        return self.hub.cache / ".asyncdiff" / self._repository_folder.name / f"{commit}.json"


def _failures_of_http() -> tuple[type[Exception], ...]:
    """Gives what requests end with that were not answered.

    The hub's client has changed its HTTP library before; its own error is derived from that library's.
    """
    from huggingface_hub.errors import HfHubHTTPError

    bases = (base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception))
    return (*bases, OSError)


def _size(path: Path) -> int:
    """Gives the bytes of a file that may be gone by now; of one with holes, what is written."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0
    return min(found.st_size, found.st_blocks * 512)


def _status(error: Any) -> int | None:
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
