"""The whole API as data: every field with its type, bounds, default and meaning.

Made from the models by reading their declarations. The CRD, the reference table, ``asyncdiff explain``, the
error messages and the tests all walk this one tree.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, JsonValue
from pydantic.fields import FieldInfo

from asyncdiff_api.fields import Entries, Items, Label, Part, Range, Reported, Section, Text
from asyncdiff_api.job import AsyncDiffJob

_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string"}


class Kind(StrEnum):
    """The type of a field, in the words of the CRD's schema."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    STRING = "string"
    TIMESTAMP = "timestamp"
    INTEGER_OR_STRING = "integer or string"
    OBJECT = "object"
    LIST = "list"
    MAP = "map"
    FREE_FORM = "free-form object"


@dataclass(frozen=True, eq=False)
class Shape:
    """What values a place in a document may take, and what they mean.

    Attributes:
        kind: The type of the value.
        path: Names from the root, such as ``("spec", "generate", "steps")``. ``"[]"`` stands for the entries
            of a list and ``"{}"`` for the values of a map.
        description: What the value means, in sentences.
        required: Whether the surrounding object must name it.
        default: What an absent value stands for, as JSON; None where absence itself means something.
        label: Identity and mutability, on leaves of the spec.
        model: The class of an object.
        fields: The fields of an object, by name, in the order of declaration.
        entry: What the entries of a list or the values of a map are.
        choices: The strings allowed, where they are a closed set.
        numbers: Bounds of a number.
        text: Bounds of a string.
        size: Bounds of a list or map.
    """

    kind: Kind
    path: tuple[str, ...] = ()
    description: str = ""
    required: bool = False
    default: JsonValue = None
    label: Label | None = None
    model: type[Section] | None = None
    fields: dict[str, "Shape"] | None = None
    entry: "Shape | None" = None
    choices: tuple[str, ...] = ()
    numbers: Range | None = None
    text: Text | None = None
    size: Items | Entries | None = None

    @property
    def dotted(self) -> str:
        """The path as people write it: ``spec.model.adapters[].weight``."""
        return ".".join(self.path).replace(".[]", "[]").replace(".{}", "{}")

    @property
    def identity(self) -> bool:
        """Whether changing it may change the bytes of a picture."""
        return self.label is not None and self.label.identity

    @property
    def mutable(self) -> bool:
        """Whether it may change once the job exists."""
        return self.label is not None and self.label.mutable

    @property
    def is_leaf(self) -> bool:
        """Whether it carries a meaning of its own, rather than fields that do."""
        return not (self.fields or (self.entry is not None and self.entry.fields))

    def walk(self) -> Iterator["Shape"]:
        """Itself, then everything inside, in the order of declaration; entries of leaves are part of them."""
        yield self
        if self.fields:
            for field in self.fields.values():
                yield from field.walk()
        elif self.entry is not None and self.entry.fields:
            for field in self.entry.fields.values():
                yield from field.walk()


@cache
def job_shape() -> Shape:
    """The shape of an `AsyncDiffJob` document."""
    return _object(AsyncDiffJob, ())


def shape_of(model: type[Section]) -> Shape:
    """The shape of objects that are not part of a job, such as a worklist line."""
    return _object(model, ())


def fields() -> Iterator[Shape]:
    """Every field of spec and status, sections before what is in them."""
    shape = job_shape()
    for section in ("spec", "status"):
        yield from child(shape, section).walk()


def leaves(section: str = "spec") -> Iterator[Shape]:
    """Every field of the section that carries a value of its own."""
    return (shape for shape in child(job_shape(), section).walk() if shape.is_leaf)


def find(dotted: str) -> Shape | None:
    """The field at a path such as ``spec.parallelism`` or ``spec.model.adapters[].kind``, if there is one."""
    shape = job_shape()
    for name in dotted.replace("[]", "").split("."):
        owner = shape.entry if shape.entry is not None else shape
        if not owner.fields or name not in owner.fields:
            return None
        shape = owner.fields[name]
    return shape


def child(shape: Shape, name: str) -> Shape:
    """The field of an object, by name.

    Raises:
        KeyError: The object has no such field.
    """
    if shape.fields is None:
        raise KeyError(name)
    return shape.fields[name]


def _object(model: type[Section], path: tuple[str, ...]) -> Shape:
    """The shape of a model's objects."""
    inner = {
        info.alias or name: _field(info, (*path, info.alias or name))
        for name, info in model.model_fields.items()
    }
    return Shape(Kind.OBJECT, path, model=model, fields=inner, description=(model.__doc__ or "").strip())


def _field(info: FieldInfo, path: tuple[str, ...]) -> Shape:
    """The shape of a model's field, with its label and default."""
    shape = _shape(info.annotation, tuple(info.metadata), path)
    default = None if info.is_required() else info.get_default(call_default_factory=True, validated_data={})
    return replace(shape, required=info.is_required(), default=_as_json(default))


def _as_json(value: Any) -> JsonValue:
    """A default as the document would say it, in full: the API server checks rules on it as it stands."""
    if isinstance(value, BaseModel):
        return cast("JsonValue", value.model_dump(mode="json", by_alias=True, exclude_none=True))
    if isinstance(value, tuple):
        return [_as_json(entry) for entry in value]
    if isinstance(value, StrEnum):
        return value.value
    result: JsonValue = value
    return result


def _shape(annotation: Any, marks: tuple[Any, ...], path: tuple[str, ...]) -> Shape:
    """The shape of a type with the marks that ``Annotated`` put on it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shape(arguments[0], (*arguments[1:], *marks), path)
    if origin in (Union, UnionType) and NoneType in arguments:
        rest = tuple(argument for argument in arguments if argument is not NoneType)
        return _shape(Union[rest], marks, path)  # noqa: UP007 -- a union of arguments known at run time
    return _marked(_unmarked(annotation, path), marks)


def _unmarked(annotation: Any, path: tuple[str, ...]) -> Shape:
    """The shape of a bare type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return _integer_or_string(arguments, path)
    if origin is tuple:
        return Shape(Kind.LIST, path, entry=_shape(arguments[0], (), (*path, "[]")))
    if origin is dict and arguments[1] is JsonValue:
        return Shape(Kind.FREE_FORM, path)
    if origin is dict:
        return Shape(Kind.MAP, path, entry=_shape(arguments[1], (), (*path, "{}")))
    if arguments:
        return Shape(Kind.STRING, path, choices=arguments)
    if issubclass(annotation, Section):
        return _object(annotation, path)
    if issubclass(annotation, StrEnum):
        return Shape(Kind.STRING, path, choices=tuple(member.value for member in annotation))
    if annotation is AwareDatetime:
        return Shape(Kind.TIMESTAMP, path)
    return Shape(Kind(_NAMES[annotation]), path)


def _integer_or_string(alternatives: tuple[Any, ...], path: tuple[str, ...]) -> Shape:
    """The shape of "a number, or a word": bounds of the number, pattern or choices of the word."""
    shapes = [_shape(alternative, (), path) for alternative in alternatives]
    number = next(shape for shape in shapes if shape.kind is Kind.INTEGER)
    word = next(shape for shape in shapes if shape.kind is Kind.STRING)
    return Shape(Kind.INTEGER_OR_STRING, path, numbers=number.numbers, text=word.text, choices=word.choices)


def _marked(shape: Shape, marks: tuple[Any, ...]) -> Shape:
    """The shape with what the marks say."""
    for mark in marks:
        match mark:
            case Label():
                shape = replace(shape, description=mark.description, label=mark)
            case Part() | Reported():
                shape = replace(shape, description=mark.description)
            case Range():
                shape = replace(shape, numbers=mark)
            case Text():
                shape = replace(shape, text=mark)
            case Items() | Entries():
                shape = replace(shape, size=mark)
            case _:
                pass
    return shape
