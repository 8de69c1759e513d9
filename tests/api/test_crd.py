"""The CRD: the file that is checked in is the one that the models give, and its schema is structural."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from asyncdiff_api.crd import crd, crd_yaml
from asyncdiff_api.describe import fields, leaves
from support.repository import ROOT

FILE = ROOT / "manifests" / "crd" / "asyncdiff.dev_asyncdiffjobs.yaml"
VERSION: dict[str, Any] = crd()["spec"]["versions"][0]
SCHEMA: dict[str, Any] = VERSION["schema"]["openAPIV3Schema"]


def test_the_file_is_what_the_models_give() -> None:
    assert FILE.read_text() == crd_yaml(), "run `make generate` and commit the result"


def test_the_text_is_the_document() -> None:
    assert yaml.safe_load(crd_yaml()) == crd()


def test_the_schema_holds_every_field_and_no_other() -> None:
    described = {shape.dotted for shape in fields()}
    assert {
        path for path, _ in _properties(SCHEMA, "") if path.split(".")[0] in {"spec", "status"}
    } == described


def test_the_schema_is_structural() -> None:
    for path, schema in _properties(SCHEMA, ""):
        assert schema.keys().isdisjoint({"$ref", "anyOf", "oneOf", "allOf", "not", "nullable"}), path
        assert "type" in schema or schema.get("x-kubernetes-int-or-string"), path
        assert schema.get("description") or path.split(".")[0] not in {"spec", "status"}, path


def test_every_immutable_field_has_a_rule_that_holds_it() -> None:
    held = {rule["rule"].split(" == ")[0] for rule in _rules(SCHEMA) if "oldSelf" in rule["rule"]}
    direct = [
        leaf for leaf in leaves("spec") if not leaf.mutable and "[]" not in leaf.path and len(leaf.path) == 3
    ]
    for leaf in direct:
        name = leaf.path[-1]
        assert held & {f"self.{name}", f"has(self.{name})", f"dyn(self).{name}"}, leaf.dotted


def test_every_rule_says_what_is_wrong_and_where() -> None:
    for rule in _rules(SCHEMA):
        assert rule.get("message") or rule.get("messageExpression")
        assert rule["fieldPath"].startswith(".")


def test_kubectl_get_prints_what_a_person_asks_first() -> None:
    columns = VERSION["additionalPrinterColumns"]
    shown = [column["name"] for column in columns if not column.get("priority")]
    assert shown == ["Phase", "Done", "Total", "Items/s", "Speed-up", "ETA", "Age"]
    assert [column["name"] for column in columns if column.get("priority")] == [
        "Plan",
        "Pods",
        "GPUs/Pod",
        "Output",
    ]
    paths = {f".{shape.dotted}" for shape in fields()} | {".metadata.creationTimestamp"}
    assert {column["jsonPath"] for column in columns} <= paths


def test_kubectl_scale_finds_its_fields() -> None:
    paths = {f".{shape.dotted}" for shape in fields()}
    assert set(VERSION["subresources"]["scale"].values()) <= paths


def _properties(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, inner in schema.get("properties", {}).items():
        inner_path = f"{path}.{name}".removeprefix(".")
        yield inner_path, inner
        yield from _properties(inner, inner_path)
        yield from _properties(inner.get("items", {}), f"{inner_path}[]")


def _rules(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from schema.get("x-kubernetes-validations", [])
    for inner in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        yield from _rules(inner)
