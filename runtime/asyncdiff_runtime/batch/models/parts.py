"""The sources of a job's model: its own, another VAE's, and its adapters'."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asyncdiff_api.formats.errors import ModelUnavailableError
from asyncdiff_api.formats.identity import ModelIdentity
from asyncdiff_api.formats.request import model_identity, source_of
from asyncdiff_api.job import AsyncDiffJob
from asyncdiff_api.model import Adapter, Model

import asyncdiff_runtime
from asyncdiff_runtime.batch.assignment import Places
from asyncdiff_runtime.batch.models.bucket import BucketSource
from asyncdiff_runtime.batch.models.hub import Hub, HubSource
from asyncdiff_runtime.batch.models.layout import INDEX
from asyncdiff_runtime.batch.models.sources import FolderSource, Source, cache_folder
from asyncdiff_runtime.storage import open_storage

BUNDLED_FOLDER: Final = Path(asyncdiff_runtime.__file__).parent / "bundled"


@dataclass(frozen=True)
class Parts:
    """Where each part of a model lies."""

    model: Source
    vae: Source | None = None
    adapters: tuple[Source, ...] = ()

    def identity(self, model: Model) -> ModelIdentity:
        """Gives the model's part of every item's identity: each moving name resolved, each folder digested.

        Raises:
            ModelUnavailableError: As `Source`.
            OutageError: As `Source`.
        """
        return model_identity(
            model,
            self.model.commit(),
            vae_commit=self.vae.commit() if self.vae is not None else "",
            adapter_commits=tuple(source.commit() for source in self.adapters),
        )


@dataclass(frozen=True)
class Opening:
    """Opens the sources that a job names, as they are reached from this machine."""

    job: AsyncDiffJob
    places: Places
    hub: Hub
    cache: Path

    def parts(self, pinned: ModelIdentity | None) -> Parts:
        """Gives the parts of the job's model.

        Args:
            pinned: What `job.json` pins; None for a prefix that is new.

        Raises:
            ModelUnavailableError: A volume is not mounted, or there is no such bundled model.
        """
        model = self.job.spec.model
        commits = [one.commit for one in pinned.adapters] if pinned else [""] * len(model.adapters)
        vae = HubSource(
            model.vae,
            model.vae_revision,
            self.hub,
            pinned=pinned.vae_commit if pinned else "",
            field_name="spec.model.vae",
        )
        return Parts(
            model=self._open(model, pinned.commit if pinned else "", "spec.model"),
            vae=vae if model.vae else None,
            adapters=tuple(
                self._open(adapter, commit, f"spec.model.adapters[{number}]")
                for number, (adapter, commit) in enumerate(zip(model.adapters, commits, strict=True))
            ),
        )

    def _open(self, place: Model | Adapter, pinned: str, field_name: str) -> Source:
        if place.repository is not None:
            return HubSource(place.repository, place.revision, self.hub, pinned, field_name)
        name = source_of(place)
        if place.s3 is not None:
            storage = open_storage(name, self.job.spec.output)
            remedy = f"correct {field_name}.s3, or put the files there"
            return BucketSource(name, storage, self.cache, pinned, remedy)
        if place.volume is not None:
            claim = place.volume.claim_name
            if claim not in self.places.volumes:
                raise ModelUnavailableError(
                    f"{field_name} lies in the volume {claim}, which is not mounted here; name its folder with "
                    f"--volume {claim}=DIR"
                )
            folder = self.places.volumes[claim] / place.volume.path
            return FolderSource(name, folder, f"correct {field_name}.volume.path")
        assert isinstance(place, Model), "an adapter has one of the sources above"
        assert place.bundled is not None, "the API demands one source"
        known = sorted(path.parent.name for path in BUNDLED_FOLDER.glob(f"*/{INDEX}"))
        remedy = f"there are {', '.join(known)}" if known else "this build carries none"
        return FolderSource(name, BUNDLED_FOLDER / place.bundled, remedy)


def open_parts(job: AsyncDiffJob, places: Places, pinned: ModelIdentity | None) -> Parts:
    """Gives the parts of a job's model, reached as the environment says; see `Opening.parts`."""
    return Opening(job, places, Hub.of_environment(), cache_folder() / "models").parts(pinned)
