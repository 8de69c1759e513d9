"""Golden files: formats that are in use do not change by accident, and every version reads every other minor.

`golden/schemas/<format>-<version>.json` freezes the shape of each format, `golden/identity-1.json` the ids of
some requests, `golden/names.json` the names and numbers of the taxonomy and the layout, and
`asyncdiff_api/formats/examples` holds a document of each format as it was first written.
"""

import json
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from asyncdiff_api.formats import layout
from asyncdiff_api.formats.canonical import canonical_json
from asyncdiff_api.formats.conditions import Reason
from asyncdiff_api.formats.document import Document
from asyncdiff_api.formats.errors import DamagedRecordError, UnsupportedVersionError
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.identity import IDENTITY_VERSION, ItemRequest, item_id_of
from asyncdiff_api.formats.items import Resolver, Shared, choices_of_blocks, count_items
from asyncdiff_api.formats.job_record import JobRecord, request_digest
from asyncdiff_api.formats.manifest import (
    BlockHeader,
    Completion,
    ItemRecord,
    Manifest,
    read_block,
    read_records,
)
from asyncdiff_api.formats.progress import Progress
from asyncdiff_api.formats.result import Result
from asyncdiff_api.formats.worklist import WorklistLine, inputs_of, parse_whole
from asyncdiff_api.generate import Generate, Seeds
from pydantic import BaseModel

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = files("asyncdiff_api.formats") / "examples"
WRITE = os.environ.get("WRITE_GOLDEN") == "1"

DOCUMENTS: list[type[Document]] = [JobRecord, BlockHeader, Manifest, Completion, Progress, Result]
MAPS = {
    "request",
    "schedule",
    "job",
    "versions",
    "gpuSeconds",
    "labels",
    "report",
    "options",
    "inputs",
    "config",
}


def name_of(kind: type[Document]) -> str:
    return str(kind.model_fields["format"].default)


def version_of(kind: type[Document]) -> str:
    return str(kind.model_fields["version"].default)


def example(kind: type[Document]) -> bytes:
    """The example of a document; of a block manifest, its header."""
    ending = "jsonl" if kind is BlockHeader else "json"
    return (EXAMPLES / f"{name_of(kind)}-{version_of(kind)}.{ending}").read_bytes().partition(b"\n{")[0]


def hold(name: str, found: object, advice: str) -> None:
    """Compares with a golden file; a file that does not exist yet is written when WRITE_GOLDEN=1."""
    path = GOLDEN / name
    text = json.dumps(found, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    if not path.exists() and WRITE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    wanted = path.read_text(encoding="utf-8") if path.exists() else "nothing: the file does not exist"
    assert text == wanted, f"{name} differs. {advice}"


def shape_of(kind: type[BaseModel]) -> Any:
    """A model's JSON schema without words for people."""

    def bare(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                key: bare(value)
                for key, value in node.items()
                if key not in ("description", "title") or not isinstance(value, str)
            }
        return [bare(item) for item in node] if isinstance(node, list) else node

    return bare(kind.model_json_schema())


SHAPES: list[tuple[type[BaseModel], str]] = [
    *((kind, f"{name_of(kind)}-{version_of(kind)}") for kind in DOCUMENTS),
    (ItemRecord, f"item-record-{version_of(BlockHeader)}"),
    (ItemRequest, f"item-request-{IDENTITY_VERSION}"),
    (WorklistLine, "worklist-line-1.0"),
]


@pytest.mark.parametrize(("kind", "name"), SHAPES, ids=[name for _, name in SHAPES])
def test_the_shape_of_a_format_changes_with_its_version_only(kind: type[BaseModel], name: str) -> None:
    hold(
        f"schemas/{name}.json",
        shape_of(kind),
        f"The shape of {kind.__name__} changed. If it only gained fields whose absence means what was meant "
        "before, raise the minor version; otherwise the major one, and keep reading the old. Then write the new "
        "golden file with WRITE_GOLDEN=1 and keep the old one.",
    )


def test_ids_of_requests_never_change() -> None:
    vectors = json.loads((GOLDEN / f"identity-{IDENTITY_VERSION}.json").read_text(encoding="utf-8"))
    for vector in vectors:
        request = ItemRequest.model_validate(vector["request"])
        advice = (
            "The id of an item changed: every finished output would be made again. If that is meant, raise "
            "IDENTITY_VERSION and add golden/identity-<version>.json."
        )
        assert request.canonical().decode() == vector["canonical"], advice
        assert request.item_id == vector["id"] == item_id_of(vector["canonical"].encode()), advice


def test_names_and_numbers_that_others_know_do_not_change() -> None:
    found = {
        "exitCodes": {code.name: [int(code), str(code.action)] for code in ExitCode},
        "keys": [
            layout.JOB_RECORD,
            layout.item_key(37, "0" * 24, "PNG"),
            layout.rejected_key(37, "0" * 24, "JPEG"),
            layout.block_key(37),
            layout.part_key(37, "0123abcd", 2),
            layout.probe_key("0123abcd"),
            layout.MANIFEST,
            layout.MANIFEST_LINES,
            layout.GALLERY_INDEX,
            layout.gallery_page(2),
            layout.CONTACT_SHEET,
            layout.SUCCESS,
            layout.FAILED,
        ],
        "extensions": layout.EXTENSIONS,
    }
    hold("names.json", found, "Running Jobs, dashboards and next pipelines know these: add, never change.")


def test_reasons_are_added_and_never_renamed() -> None:
    known = json.loads((GOLDEN / "reasons.json").read_text(encoding="utf-8"))
    missing = set(known) - set(Reason)
    assert not missing, (
        "People's alerts name these reasons: keep them, or deprecate them in the changelog first"
    )
    assert set(Reason) <= set(known), "Add the new reasons to golden/reasons.json"


@pytest.mark.parametrize("kind", DOCUMENTS, ids=name_of)
def test_the_example_of_a_format_reads_and_writes_to_the_same_bytes(kind: type[Document]) -> None:
    data = example(kind)
    document = kind.parse(data, "example")
    written = document.to_line() if kind is BlockHeader else document.to_pretty().rstrip()
    assert written == data.rstrip()


def with_additions(node: Any, key: str = "") -> Any:
    """The document as a later version might write it: a new field in every object."""
    if isinstance(node, list):
        return [with_additions(item, key) for item in node]
    if not isinstance(node, dict) or key in MAPS:
        return node
    return {name: with_additions(value, name) for name, value in node.items()} | {
        "addedLater": {"deep": [1, None, {"x": None}]},
        "added_later_too": None,
    }


@pytest.mark.parametrize("kind", DOCUMENTS, ids=name_of)
def test_fields_of_a_newer_minor_version_survive_a_rewrite(kind: type[Document]) -> None:
    newer = with_additions(json.loads(example(kind))) | {"version": "1.9"}
    document = kind.parse(json.dumps(newer), "newer")
    assert json.loads(document.to_line()) == newer
    assert json.loads(document.model_copy().to_pretty()) == newer


def optional_fields(kind: type[BaseModel]) -> Iterator[str]:
    return (info.alias or name for name, info in kind.model_fields.items() if not info.is_required())


@pytest.mark.parametrize("kind", DOCUMENTS, ids=name_of)
def test_fields_that_an_older_minor_version_did_not_have_take_their_defaults(kind: type[Document]) -> None:
    whole = json.loads(example(kind))
    for field in optional_fields(kind):
        if field not in ("format", "version"):
            older = {key: value for key, value in whole.items() if key != field}
            document = kind.parse(json.dumps(older), "older")
            assert kind.parse(document.to_line(), "rewritten") == document


@pytest.mark.parametrize("kind", DOCUMENTS, ids=name_of)
@pytest.mark.parametrize(
    ("version", "remedy"), [("2.0", "use a newer asyncdiff"), ("0.9", "use the asyncdiff that wrote it")]
)
def test_another_major_version_is_refused_with_the_remedy(
    kind: type[Document], version: str, remedy: str
) -> None:
    other = json.loads(example(kind)) | {"version": version}
    with pytest.raises(UnsupportedVersionError) as caught:
        kind.parse(json.dumps(other), "s3://renders/there")
    assert f"s3://renders/there is a {name_of(kind)} of version {version}; this asyncdiff reads 1.x" in str(
        caught.value
    )
    assert remedy in str(caught.value)


@pytest.mark.parametrize("version", [None, 1, 1.0, "1", "1.0.0", "one", "01.0", "1.-1", ""])
def test_a_version_that_is_none_is_damage(version: object) -> None:
    other = json.loads(example(Result)) | {"version": version}
    with pytest.raises(DamagedRecordError, match=r"a version is two numbers, such as '1\.0'"):
        Result.parse(json.dumps(other), "here")


@pytest.mark.parametrize("kind", DOCUMENTS, ids=name_of)
def test_a_document_of_another_format_is_damage(kind: type[Document]) -> None:
    other = json.loads(example(kind)) | {"format": "shopping-list"}
    with pytest.raises(DamagedRecordError, match="holds 'shopping-list' where a document of format"):
        kind.parse(json.dumps(other), "here")


def test_the_examples_agree_with_each_other() -> None:
    record = JobRecord.parse(example(JobRecord), "job-record")
    lines = parse_whole((EXAMPLES / "worklist-1.0.jsonl").read_bytes())
    manifest_lines = (EXAMPLES / "manifest-1.0.jsonl").read_bytes()
    records = list(read_records(manifest_lines, "manifest"))
    manifest = Manifest.parse(example(Manifest), "manifest")
    generate = Generate(seeds=Seeds(count=2), steps=50, guidance_scale=5.0, height=1024, width=1024)
    resolver = Resolver(Shared(generate=generate, model=record.model, schedule=record.schedule))
    made = [
        resolver.item(position, line, seed, {}).id
        for position, line, seed in choices_of_blocks(
            lines, generate, range(record.blocks.count), record.blocks
        )
        if not inputs_of(line, generate)
    ]
    assert made == [found.id for found in records if found.prompt != "the same fox, in oil"]
    assert record.blocks.total == count_items(lines, generate) == len(records) == manifest.items.total
    assert record.request_digest == request_digest(record.request) == manifest.request_digest
    assert manifest.lines_bytes == len(manifest_lines)
    block = read_block((EXAMPLES / "block-manifest-1.0.jsonl").read_bytes(), "block")
    assert [found.id for found in block.records] == [records[2].id]
    request = ItemRequest.model_validate_json((EXAMPLES / "item-request-1.0.json").read_bytes())
    assert request.item_id == records[2].id
    assert canonical_json(json.loads(request.canonical())) == request.canonical()
