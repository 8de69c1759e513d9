"""Where a model's weights lie, which commit they are, and the pipeline that is loaded from them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncdiff_api.formats.errors import InvalidJobError, ModelUnavailableError, OutageError
from asyncdiff_api.formats.identity import ModelIdentity
from asyncdiff_api.formats.request import model_identity, source_of
from asyncdiff_api.model import Model

import asyncdiff_runtime

BUNDLED_FOLDER: Final = Path(asyncdiff_runtime.__file__).parent / "bundled"
INDEX: Final = "model_index.json"


@dataclass(frozen=True)
class Place:
    """Where diffusers finds a model: a folder, or a repository at a commit."""

    name: str
    revision: str | None = None

    @property
    def folder(self) -> Path | None:
        """The folder; None for a repository."""
        return Path(self.name) if self.revision is None else None


def locate(model: Model, volumes: Mapping[str, Path], commit: str = "") -> Place:
    """Gives the place of a model's files.

    Args:
        model: The job's model.
        volumes: Folder of each volume that is mounted, by the name of its claim.
        commit: What its revision was resolved to, for a repository.

    Raises:
        ModelUnavailableError: There is no such folder, or it holds no pipeline.
        InvalidJobError: The job asks for what this version does not load.
    """
    _refuse_what_is_not_loaded(model)
    if model.repository is not None:
        return Place(model.repository, commit or model.revision or "main")
    if model.bundled is not None:
        folder, known = BUNDLED_FOLDER / model.bundled, _bundled()
        remedy = f"there are {', '.join(known)}" if known else "this build carries none"
    else:
        assert model.volume is not None, "the API demands one source"
        claim = model.volume.claim_name
        if claim not in volumes:
            raise ModelUnavailableError(
                f"the model lies in the volume {claim}, which is not mounted here; name its folder with "
                f"--volume {claim}=DIR"
            )
        folder, remedy = volumes[claim] / model.volume.path, "correct spec.model.volume.path"
    if not (folder / INDEX).is_file():
        raise ModelUnavailableError(
            f"{folder} holds no {INDEX}, so it is no model in diffusers' layout; {remedy}"
        )
    return Place(str(folder))


def identify(model: Model, volumes: Mapping[str, Path], commit: str = "") -> ModelIdentity:
    """Gives the model's part of every item's identity; asks the hub only if the commit is not known yet.

    Args:
        model: The job's model.
        volumes: As `locate`.
        commit: Commit that was pinned before; empty for the first.

    Raises:
        ModelUnavailableError: As `locate`, or the hub has no such repository or revision, or it is gated.
        OutageError: The hub was not reached.
    """
    place = locate(model, volumes)
    if place.folder is not None:
        return model_identity(model, digest_of_folder(place.folder))
    return model_identity(model, commit or _commit_on_hub(model))


def digest_of_folder(folder: Path) -> str:
    """Gives a digest of all files of a folder, names and contents; hidden ones are left out."""
    total = hashlib.sha256()
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    for path in sorted(files):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return f"sha256:{total.hexdigest()}"


def pipeline_class(model: Model, place: Place) -> Any:
    """Gives the diffusers class that the model is loaded as, without its weights.

    Raises:
        ModelUnavailableError: The model's index cannot be read, or names no class of this diffusers.
        OutageError: The hub was not reached.
    """
    import diffusers

    name = model.pipeline or _class_in_index(model, place)
    found = getattr(diffusers, name, None)
    if not isinstance(found, type) or not issubclass(found, diffusers.DiffusionPipeline):
        where = "spec.model.pipeline" if model.pipeline else f"{INDEX} of {source_of(model)}"
        raise ModelUnavailableError(
            f"{where} names {name}, which is no pipeline of diffusers {diffusers.__version__}; name one, or "
            "install a newer diffusers"
        )
    return found


def load_pipeline(model: Model, place: Place, device: str) -> Any:
    """Loads a pipeline onto a device: weights from safetensors alone unless `allowPickle` is set.

    Raises:
        ModelUnavailableError: Weights are missing, or are not safetensors.
        OutageError: The hub was not reached.
    """
    import torch

    kind = pipeline_class(model, place)
    try:
        with _spoken(model):
            pipe = kind.from_pretrained(
                place.name,
                revision=place.revision,
                dtype=getattr(torch, model.dtype),
                variant=model.variant or None,
                use_safetensors=None if model.allow_pickle else True,
                local_files_only=place.folder is not None or _offline(),
            )
    except (OSError, ValueError) as error:
        pickle = "" if model.allow_pickle else " (only safetensors are loaded: see spec.model.allowPickle)"
        raise ModelUnavailableError(f"{source_of(model)} could not be loaded{pickle}: {error}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def _refuse_what_is_not_loaded(model: Model) -> None:
    asked = {
        "s3": model.s3 is not None,
        "vae": bool(model.vae),
        "adapters": bool(model.adapters),
        "quantization": model.quantization is not None,
    }
    for name, given in asked.items():
        if given:
            raise InvalidJobError(f"spec.model.{name} is set, which this version does not load; remove it")


def _bundled() -> list[str]:
    return sorted(path.parent.name for path in BUNDLED_FOLDER.glob(f"*/{INDEX}"))


def _class_in_index(model: Model, place: Place) -> str:
    if place.folder is not None:
        index = place.folder / INDEX
    else:
        from huggingface_hub import hf_hub_download

        with _spoken(model):
            index = Path(
                hf_hub_download(place.name, INDEX, revision=place.revision, local_files_only=_offline())
            )
    try:
        return str(json.loads(index.read_text())["_class_name"])
    except (OSError, ValueError, KeyError) as error:
        raise ModelUnavailableError(
            f"{index} names no pipeline class ({error}); set spec.model.pipeline"
        ) from error


def _commit_on_hub(model: Model) -> str:
    from huggingface_hub import hf_hub_download

    assert model.repository is not None, "only a repository has commits"
    revision = model.revision or "main"
    with _spoken(model):
        path = hf_hub_download(model.repository, INDEX, revision=revision, local_files_only=_offline())
    return Path(path).parent.name  # the cache keeps each commit in a folder of its name


def _offline() -> bool:
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return bool(HF_HUB_OFFLINE) or os.environ.get("HF_HUB_OFFLINE") == "1"


@contextmanager
def _spoken(model: Model) -> Iterator[None]:
    """Says the hub's errors as the contract's."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = f"the model {model.repository}{f' at {model.revision}' if model.revision else ''}"
    try:
        yield
    except GatedRepoError as error:
        raise ModelUnavailableError(
            f"{name} is gated: accept its terms on the hub, and give a token (spec.model.tokenSecret, or HF_TOKEN)"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelUnavailableError(
            f"{name}: the hub has no such revision; correct spec.model.revision"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelUnavailableError(
            f"{name} is not on the hub, or is private; correct spec.model.repository, or give a token"
        ) from error
    except LocalEntryNotFoundError as error:
        if _offline():
            raise ModelUnavailableError(
                f"{name} is not in the local cache and HF_HUB_OFFLINE is set; download it, or unset the variable"
            ) from error
        raise OutageError(f"{name} could not be fetched: the hub was not reached ({error})") from error
    except (HfHubHTTPError, ConnectionError, TimeoutError) as error:
        raise OutageError(f"{name} could not be fetched: {error}") from error
