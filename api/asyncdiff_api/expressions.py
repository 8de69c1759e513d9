"""Small typed expressions that compute in Python and print as CEL, so that a rule is written once.

``SELF.number("gpusPerPod") % 2`` computes the remainder for a document and prints ``self.gpusPerPod % 2``.
`==` and `!=` belong to Python, hence the methods `equals` and `differs`. As in CEL, ``a & b`` does not
compute ``b`` where ``a`` is false: a test of presence guards what follows it.

CEL: https://github.com/google/cel-spec; Kubernetes' use of it: KEP-2876.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

Scope = Mapping[str, Any]


class Binding(IntEnum):
    """How strongly an operator binds; a weaker operand is printed in parentheses."""

    CONDITIONAL = 0
    OR = 1
    AND = 2
    RELATION = 3
    SUM = 4
    PRODUCT = 5
    UNARY = 6
    ATOM = 7


@dataclass(frozen=True, eq=False)
class Expression:
    """A value that depends on a document.

    Attributes:
        cel: The expression as CEL.
        compute: Its value, given what the variables (``self``, an entry of a list) stand for.
        binding: How strongly its outermost operator binds.
        reads: Paths of the fields it reads, relative to ``self``.
    """

    cel: str
    compute: Callable[[Scope], Any]
    binding: Binding = Binding.ATOM
    reads: frozenset[tuple[str, ...]] = frozenset()

    def within(self, binding: Binding) -> str:
        """The CEL as an operand of an operator that binds as strongly as given."""
        return self.cel if self.binding >= binding else f"({self.cel})"


class Truth(Expression):
    """True or false."""

    def __and__(self, other: "Truth") -> "Truth":
        return Truth(
            f"{self.within(Binding.AND)} && {other.within(Binding.AND)}",
            lambda scope: self.compute(scope) and other.compute(scope),
            Binding.AND,
            self.reads | other.reads,
        )

    def __or__(self, other: "Truth") -> "Truth":
        return Truth(
            f"{self.within(Binding.OR)} || {other.within(Binding.OR)}",
            lambda scope: self.compute(scope) or other.compute(scope),
            Binding.OR,
            self.reads | other.reads,
        )

    def __invert__(self) -> "Truth":
        return Truth(
            f"!{self.within(Binding.ATOM)}",
            lambda scope: not self.compute(scope),
            Binding.UNARY,
            self.reads,
        )

    def implies(self, other: "Truth") -> "Truth":
        """True unless this holds and the other does not."""
        return ~self | other


class Number(Expression):
    """An integer."""

    def __add__(self, other: "Number | int") -> "Number":
        return self._arithmetic("+", other, Binding.SUM, lambda a, b: a + b)

    def __sub__(self, other: "Number | int") -> "Number":
        return self._arithmetic("-", other, Binding.SUM, lambda a, b: a - b)

    def __mul__(self, other: "Number | int") -> "Number":
        return self._arithmetic("*", other, Binding.PRODUCT, lambda a, b: a * b)

    def __floordiv__(self, other: "Number | int") -> "Number":
        """Division of numbers that are not negative: there CEL and Python agree."""
        return self._arithmetic("/", other, Binding.PRODUCT, lambda a, b: a // b)

    def __mod__(self, other: "Number | int") -> "Number":
        """Remainder of numbers that are not negative: there CEL and Python agree."""
        return self._arithmetic("%", other, Binding.PRODUCT, lambda a, b: a % b)

    def __le__(self, other: "Number | int") -> Truth:
        return _relation("<=", self, number(other), lambda a, b: a <= b)

    def __lt__(self, other: "Number | int") -> Truth:
        return _relation("<", self, number(other), lambda a, b: a < b)

    def __ge__(self, other: "Number | int") -> Truth:
        return _relation(">=", self, number(other), lambda a, b: a >= b)

    def __gt__(self, other: "Number | int") -> Truth:
        return _relation(">", self, number(other), lambda a, b: a > b)

    def equals(self, other: "Number | int") -> Truth:
        """Whether both are the same number."""
        return _relation("==", self, number(other), lambda a, b: a == b)

    def _arithmetic(
        self, symbol: str, other: "Number | int", binding: Binding, compute: Callable[[int, int], int]
    ) -> "Number":
        right = number(other)
        return Number(
            f"{self.within(binding)} {symbol} {right.within(Binding(binding + 1))}",
            lambda scope: compute(self.compute(scope), right.compute(scope)),
            binding,
            self.reads | right.reads,
        )


class String(Expression):
    """A string."""

    def equals(self, value: str) -> Truth:
        """Whether it is the string given."""
        return _relation("==", self, string(value), lambda a, b: a == b)

    def differs(self, value: str) -> Truth:
        """Whether it is another string."""
        return _relation("!=", self, string(value), lambda a, b: a != b)

    def is_one_of(self, *values: str) -> Truth:
        """Whether it is among the strings given."""
        return Truth(
            f"{self.within(Binding.RELATION)} in [{', '.join(quote(value) for value in values)}]",
            lambda scope: self.compute(scope) in values,
            Binding.RELATION,
            self.reads,
        )

    def matches(self, pattern: str) -> Truth:
        """Whether the pattern is found in it; to be written in what RE2 and Python's re have in common."""
        # Python's $ also matches before a closing newline, RE2's does not.
        found = re.compile(pattern.replace("$", r"\Z"))
        return Truth(
            f"{self.within(Binding.ATOM)}.matches({quote(pattern)})",
            lambda scope: found.search(self.compute(scope)) is not None,
            reads=self.reads,
        )


class Collection(Expression):
    """A list or a map."""

    def size(self) -> Number:
        """How many entries it has."""
        return Number(f"size({self.cel})", lambda scope: len(self.compute(scope)), reads=self.reads)

    def has_key(self, key: str) -> Truth:
        """Whether the map has the key."""
        return Truth(
            f"{quote(key)} in {self.within(Binding.RELATION)}",
            lambda scope: key in self.compute(scope),
            Binding.RELATION,
            self.reads,
        )

    def every(self, condition: Callable[["Variable"], Truth]) -> Truth:
        """Whether the condition holds for each entry (of a map: for each key)."""
        return self._quantified("all", condition, all)

    def any(self, condition: Callable[["Variable"], Truth]) -> Truth:
        """Whether the condition holds for at least one entry (of a map: one key)."""
        return self._quantified("exists", condition, any)

    def _quantified(
        self, macro: str, condition: Callable[["Variable"], Truth], combine: Callable[[Any], bool]
    ) -> Truth:
        inner = condition(Variable("entry"))
        return Truth(
            f"{self.within(Binding.ATOM)}.{macro}(entry, {inner.cel})",
            lambda scope: combine(inner.compute({**scope, "entry": entry}) for entry in self.compute(scope)),
            reads=self.reads | inner.reads,
        )


@dataclass(frozen=True)
class Variable:
    """A name that stands for a part of the document: ``self``, ``oldSelf``, or an entry of a list."""

    name: str

    def number(self, path: str) -> Number:
        """An integer field, by its path such as ``seeds.count``."""
        return Number(*self._field(path))

    def string(self, path: str = "") -> String:
        """A string field; without a path, the variable itself."""
        return String(*self._field(path))

    def truth(self, path: str) -> Truth:
        """A boolean field."""
        return Truth(*self._field(path))

    def collection(self, path: str) -> Collection:
        """A list or map."""
        return Collection(*self._field(path))

    def has(self, path: str) -> Truth:
        """Whether the field, and each optional object on the way to it, is set."""
        names = path.split(".")
        prefixes = [".".join(names[: end + 1]) for end in range(len(names))]
        return Truth(
            " && ".join(f"has({self.name}.{prefix})" for prefix in prefixes),
            lambda scope: _present(scope[self.name], names),
            Binding.AND if len(names) > 1 else Binding.ATOM,
            self._reads(path),
        )

    def _field(self, path: str) -> tuple[str, Callable[[Scope], Any], Binding, frozenset[tuple[str, ...]]]:
        names = path.split(".") if path else []
        return (
            ".".join([self.name, *names]),
            lambda scope: _value(scope[self.name], names),
            Binding.ATOM,
            self._reads(path),
        )

    def _reads(self, path: str) -> frozenset[tuple[str, ...]]:
        return frozenset({tuple(path.split("."))}) if self.name == "self" else frozenset()


SELF = Variable("self")


def number(value: Number | int) -> Number:
    """An integer as an expression."""
    return value if isinstance(value, Number) else Number(str(value), lambda _: value)


def string(value: String | str) -> String:
    """A string as an expression."""
    return value if isinstance(value, String) else String(quote(value), lambda _: value)


def choose(condition: Truth, then: Number | int, otherwise: Number | int) -> Number:
    """One number where the condition holds, another where it does not."""
    left, right = number(then), number(otherwise)
    return Number(
        f"{condition.within(Binding.OR)} ? {left.within(Binding.OR)} : {right.within(Binding.OR)}",
        lambda scope: left.compute(scope) if condition.compute(scope) else right.compute(scope),
        Binding.CONDITIONAL,
        condition.reads | left.reads | right.reads,
    )


def count_set(variable: Variable, *paths: str) -> Number:
    """How many of the fields are set."""
    first, *rest = (choose(variable.has(path), 1, 0) for path in paths)
    total = first
    for term in rest:
        total = total + term
    return total


def quote(value: str) -> str:
    """A string as a CEL literal."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def _relation(symbol: str, left: Expression, right: Expression, compute: Callable[[Any, Any], bool]) -> Truth:
    return Truth(
        f"{left.within(Binding.SUM)} {symbol} {right.within(Binding.SUM)}",
        lambda scope: compute(left.compute(scope), right.compute(scope)),
        Binding.RELATION,
        left.reads | right.reads,
    )


def _present(value: Any, names: list[str]) -> bool:
    for name in names:
        if name not in value:
            return False
        value = value[name]
    return True


def _value(value: Any, names: list[str]) -> Any:
    for name in names:
        value = value[name]
    return value
