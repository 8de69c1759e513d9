"""YAML files as JSON documents that remember where each value stood."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml
from pydantic import JsonValue

from asyncdiff_api.files.scalars import (
    MAPPING,
    MERGE,
    SEQUENCE,
    UNKNOWN_TAG,
    JobLoader,
    NotInJsonError,
    scalar_value,
)

MAX_VALUES = 200_000
"""Values in one document, aliases expanded; a few lines of nested aliases can otherwise fill the memory."""
MAX_DEPTH = 100

Path = tuple[str | int, ...]
"""Names and list positions from the root of a document to a value."""


@dataclass(frozen=True, order=True, slots=True)
class Place:
    """Where something stands in a file: line and column count from 1, `width` in characters."""

    line: int
    column: int
    width: int = 1


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that is wrong with the YAML itself."""

    place: Place
    message: str


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file.

    Attributes:
        content: The document as Kubernetes would receive it.
        start: Where it begins.
        keys: Where the key of each field stands.
        values: Where each value stands.
        flaws: What is wrong with its YAML; where there are any, `content` is not to be relied on.
    """

    content: JsonValue
    start: Place
    keys: Mapping[Path, Place]
    values: Mapping[Path, Place]
    flaws: tuple[Flaw, ...] = ()

    def place_of(self, path: Path) -> Place:
        """Gives where a field stands: its key, or the key of the nearest surrounding field that is there."""
        for end in range(len(path), 0, -1):
            place = self.keys.get(path[:end]) or self.values.get(path[:end])
            if place is not None:
                return place
        return self.start

    def place_of_value(self, path: Path) -> Place:
        """Gives where a field's value stands if it fits on a line, else where the field stands."""
        return self.values.get(path) or self.place_of(path)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text held: its documents, and the flaw at which reading had to stop."""

    documents: tuple[Document, ...]
    flaw: Flaw | None = None


def read_documents(text: str) -> Reading:
    """Reads every document of a YAML text; empty documents are left out."""
    documents: list[Document] = []
    try:
        for node in yaml.compose_all(text, Loader=JobLoader):
            document = _Builder().build(node)
            if document.content is not None or document.flaws:
                documents.append(document)
    except yaml.MarkedYAMLError as error:
        return Reading(tuple(documents), _syntax_flaw(error))
    except yaml.reader.ReaderError as error:
        return Reading(tuple(documents), _character_flaw(text, error))
    except RecursionError:
        return Reading(
            tuple(documents), Flaw(Place(1, 1), f"Values are nested deeper than {MAX_DEPTH} levels.")
        )
    return Reading(tuple(documents))


class _TooLargeError(Exception):
    """The document goes past MAX_VALUES or MAX_DEPTH."""


@dataclass(slots=True)
class _Builder:
    """Turns one document's nodes into JSON and notes where they stood."""

    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)
    count: int = 0

    def build(self, node: yaml.Node) -> Document:
        start = _place(node)
        try:
            content = self._value(node, ())
        except _TooLargeError as error:
            content = None
            self.flaws.append(Flaw(start, str(error)))
        return Document(content, start, self.keys, self.values, tuple(self.flaws))

    def _value(self, node: yaml.Node, path: Path) -> JsonValue:
        self.count += 1
        if self.count > MAX_VALUES:
            raise _TooLargeError(
                f"The document holds more than {MAX_VALUES} values once aliases are expanded."
            )
        if len(path) > MAX_DEPTH:
            raise _TooLargeError(
                f"Values are nested deeper than {MAX_DEPTH} levels, or an alias holds itself."
            )
        if isinstance(node, yaml.CollectionNode) and node.tag not in (MAPPING, SEQUENCE):
            self.flaws.append(Flaw(_place(node), f"{UNKNOWN_TAG.format(node.tag)}."))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            self.keys.update({(*path, index): _place(entry) for index, entry in enumerate(node.value)})
            return [self._value(entry, (*path, index)) for index, entry in enumerate(node.value)]
        return self._scalar(node, path)

    def _scalar(self, node: yaml.Node, path: Path) -> JsonValue:
        assert isinstance(node, yaml.ScalarNode)
        self.values[path] = _place(node)
        try:
            return scalar_value(node)
        except NotInJsonError as error:
            self.flaws.append(Flaw(_place(node), f"{error}."))
            return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, JsonValue]:
        result: dict[str, JsonValue] = {}
        for merged in _merged_mappings(node):
            # What an earlier merge said wins, as YAML has it; the mapping's own keys win over all below.
            result = {**self._mapping(merged, path), **result}
        own: dict[str, Place] = {}
        for key_node, value_node in node.value:
            if key_node.tag == MERGE:
                continue
            name = self._name(key_node)
            if name is None:
                continue
            place = _place(key_node)
            if name in own:
                self._note_duplicate(name, place, own[name])
            own[name] = place
            result.pop(name, None)
            self.keys[(*path, name)] = place
            result[name] = self._value(value_node, (*path, name))
        return result

    def _name(self, node: yaml.Node) -> str | None:
        """Gives a field's name, or notes why there is none."""
        value: JsonValue = None
        if isinstance(node, yaml.ScalarNode):
            try:
                value = scalar_value(node)
            except NotInJsonError:
                value = None
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(int(value)) if value == int(value) else str(value)
        if isinstance(node, yaml.ScalarNode):
            message = (
                f"'{node.value}' is read as {json.dumps(value)}, which names no field: put it in quotes."
            )
        else:
            message = "A list or mapping cannot name a field: use a string."
        self.flaws.append(Flaw(_place(node), message))
        return None

    def _note_duplicate(self, name: str, place: Place, first: Place) -> None:
        message = f"'{name}' is given twice, first on line {first.line}: remove one of the two."
        self.flaws.append(Flaw(place, message))


def _merged_mappings(node: yaml.MappingNode) -> Iterator[yaml.MappingNode]:
    """Gives the mappings that `<<` draws in, those that win first."""
    for key_node, value_node in node.value:
        if key_node.tag == MERGE:
            nodes = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            yield from (entry for entry in nodes if isinstance(entry, yaml.MappingNode))


def _place(node: yaml.Node) -> Place:
    start, end = node.start_mark, node.end_mark
    on_one_line = isinstance(node, yaml.ScalarNode) and start.line == end.line
    return Place(start.line + 1, start.column + 1, max(1, end.column - start.column) if on_one_line else 1)


def _syntax_flaw(error: yaml.MarkedYAMLError) -> Flaw:
    mark = error.problem_mark or error.context_mark
    place = Place(mark.line + 1, mark.column + 1) if mark is not None else Place(1, 1)
    if "'\\t'" in (error.problem or ""):
        return Flaw(place, "A tab stands where YAML allows only spaces: replace it by spaces.")
    context = f" {error.context}" if error.context else ""
    return Flaw(place, f"This is not YAML: {error.problem}{context and ' (' + context.strip() + ')'}.")


def _character_flaw(text: str, error: yaml.reader.ReaderError) -> Flaw:
    before = text[: error.position]
    place = Place(before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1)
    return Flaw(place, f"The character U+{ord(text[error.position]):04X} is not allowed in YAML: remove it.")
