"""`asyncdiff explain-image`: what made a picture or video, and the job that makes it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
import yaml
from asyncdiff_api.amounts import schedule_words, seconds, short_commit
from asyncdiff_api.formats.document import first_problem
from asyncdiff_api.formats.identity import ItemRequest
from asyncdiff_api.formats.layout import EXTENSIONS, ITEMS, REJECTED, frame_name
from pydantic import ValidationError
from rich.text import Text

from asyncdiff_runtime.cli.access import Endpoint, Profile, Region, prefix_around
from asyncdiff_runtime.cli.output import console, print_json, refuse

if TYPE_CHECKING:
    from asyncdiff_api.formats.manifest import ItemRecord

    from asyncdiff_runtime.storage import Storage


class _Found(NamedTuple):
    """A file, and where it lies."""

    storage: Storage
    key: str
    metadata: Mapping[str, Any]


def explain_image(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Picture, video or folder of frames, here or at s3://….")
    ],
    as_job: Annotated[
        bool, typer.Option("--job", help="Print the AsyncDiffJob that makes exactly this item again.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metadata as the file has it.")] = False,
    endpoint: Endpoint = "",
    region: Region = "",
    profile: Profile = "",
) -> None:
    """Show what made a picture: prompt, seed, model, schedule and versions, all from the file itself.

    For a file under the output of its job, also what the manifest says: whether it was accepted, how long it
    took, and what the strategy reports. The job of --job gives the item the same id, and the same bytes on the
    same kind of machine with the same versions: asyncdiff explain-image FILE --job > again.yaml
    """
    found = _find(file, endpoint, region, profile)
    if as_json:
        print_json(dict(found.metadata))
        return
    request = _request(file, found.metadata)
    if as_job:
        from asyncdiff_runtime.batch.again import job_of_item

        text = yaml.safe_dump(job_of_item(request), sort_keys=False, allow_unicode=True, width=100)
        typer.echo(text, nl=False)
        return
    _print(request, found.metadata, _record(found, request.item_id))


def _find(file: str, endpoint: str, region: str, profile: str) -> _Found:
    from asyncdiff_runtime.media import MediaUnreadable, read_metadata
    from asyncdiff_runtime.storage import ObjectMissingError, open_address

    place, key = _split(file)
    storage = open_address(place, endpoint=endpoint, region=region, profile=profile)
    try:
        data = storage.read(key)
    except ObjectMissingError:
        refuse(f"there is no file {file}")
    try:
        return _Found(storage, key, read_metadata(data))
    except MediaUnreadable as error:
        refuse(f"{file}: {error}")


def _split(file: str) -> tuple[str, str]:
    """Gives the prefix that a file lies under, or else its folder, and its key there."""
    if file.startswith("s3://"):
        if "/" not in file.removeprefix("s3://").rstrip("/"):
            refuse(f"{file} is a bucket; name a picture in it: s3://BUCKET/PREFIX/items/…")
        at = max(file.rfind(f"/{ITEMS}"), file.rfind(f"/{REJECTED}"), len("s3://"))
        at = file.rfind("/") if at == len("s3://") else at
        place, key = file[: at + 1], file[at + 1 :]
        return place, key + frame_name(0) if key.endswith("/") else key
    path = Path(file).absolute()
    if path.is_dir():
        if not (path / frame_name(0)).is_file():
            refuse(
                f"{file} is a folder and holds no frames; name a picture or video{_picture_in(Path(file))}"
            )
        path /= frame_name(0)
    prefix = prefix_around(path) or path.parent
    return str(prefix), path.relative_to(prefix).as_posix()


def _picture_in(folder: Path) -> str:
    """Gives `, such as …` with a picture of a job's output, if the folder is or holds one."""
    endings = {ending for ending in EXTENSIONS.values() if ending.startswith(".")}
    found = (path for path in folder.rglob("*") if path.suffix in endings)
    first = next((path for path in found if prefix_around(path.absolute()) is not None), None)
    return "" if first is None else f", such as {first}"


def _request(file: str, metadata: Mapping[str, Any]) -> ItemRequest:
    try:
        request = ItemRequest.model_validate(metadata.get("request"))
    except ValidationError as error:
        refuse(f"{file}: the metadata is not as asyncdiff writes it: {first_problem(error)}")
    if request.item_id != metadata.get("id"):
        refuse(
            f"{file}: the metadata was altered: it names the item {metadata.get('id')}, and what it describes "
            f"is {request.item_id}"
        )
    return request


def _record(found: _Found, item_id: str) -> ItemRecord | None:
    """Gives the item's line of the manifest, if the file lies under the output of its job."""
    from asyncdiff_runtime.batch.ledger import Ledger
    from asyncdiff_runtime.batch.record import read_record

    folder = PurePosixPath(found.key).parts[1:2]
    job = read_record(found.storage) if folder and folder[0].isdecimal() else None
    if job is None:
        return None
    block = int(folder[0])
    ledger = Ledger(found.storage, job.request_digest, "00000000", 0)
    return ledger.open(block, ledger.survey(range(block, block + 1))).records.get(item_id)


def _print(request: ItemRequest, metadata: Mapping[str, Any], record: ItemRecord | None) -> None:
    out = console()
    out.print(Text(request.prompt or "(no prompt)", "bold"))
    rows = [*_of_request(request), *(_of_record(record) if record is not None else ())]
    versions = metadata.get("versions")
    if isinstance(versions, Mapping):
        rows.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    for name, value in rows:
        if value:
            out.print(Text.assemble((f"{name:<10}", "dim"), value))


def _of_request(request: ItemRequest) -> Iterator[tuple[str, str]]:
    model, size = request.model, [side for side in (request.width, request.height) if side]
    yield "negative", request.negative_prompt
    yield "seed", str(request.seed)
    yield "size", " × ".join(map(str, size)) if len(size) == 2 else ""
    yield "frames", str(request.frames or "")
    yield "steps", str(request.steps or "")
    yield "guidance", "" if request.guidance_scale is None else f"{request.guidance_scale:g}"
    yield "scheduler", request.scheduler.class_name
    yield "options", ", ".join(f"{name} {value}" for name, value in request.options.items())
    yield "inputs", ", ".join(f"{name} {digest}" for name, digest in request.inputs.items())
    yield "model", f"{model.source} at {short_commit(model.commit)}, {model.dtype}"
    yield "adapters", ", ".join(f"{one.kind} {one.source} × {one.weight:g}" for one in model.adapters)
    yield "schedule", schedule_words(request.schedule)
    yield "item", request.item_id


def _of_record(record: ItemRecord) -> Iterator[tuple[str, str]]:
    why = f": {record.reason}, {record.message}" if record.reason else ""
    yield "outcome", f"{record.outcome}{why}"
    yield "made in", "" if record.seconds is None else seconds(record.seconds)
    yield "report", ", ".join(f"{name} {value}" for name, value in (record.report or {}).items())
    yield "labels", ", ".join(f"{name} {value}" for name, value in (record.labels or {}).items())
