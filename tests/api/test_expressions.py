"""Expressions of rules: what they print, and what they compute."""

from __future__ import annotations

from typing import Any

import pytest
from asyncdiff_api.expressions import SELF, Expression, choose, count_set, number, quote

A, B, C = SELF.number("a"), SELF.number("b"), SELF.number("c")
P, Q, R = SELF.truth("p"), SELF.truth("q"), SELF.truth("r")
NAME, LIST, MAP = SELF.string("name"), SELF.collection("list"), SELF.collection("map")

DOCUMENT = {
    "a": 7,
    "b": 3,
    "c": 2,
    "p": True,
    "q": False,
    "r": False,
    "name": "it's\\fine",
    "list": ["x", "yy"],
    "map": {"k": 1},
    "inner": {"set": 0},
}


@pytest.mark.parametrize(
    ("expression", "cel", "value"),
    [
        (A + B * C, "self.a + self.b * self.c", 13),
        ((A + B) * C, "(self.a + self.b) * self.c", 20),
        (A - (B - C), "self.a - (self.b - self.c)", 6),
        (A - B - C, "self.a - self.b - self.c", 2),
        (A // (B * C), "self.a / (self.b * self.c)", 1),
        (A % B * C, "self.a % self.b * self.c", 2),
        ((A + 1) % 8, "(self.a + 1) % 8", 0),
        (A + 1 <= B * 3, "self.a + 1 <= self.b * 3", True),
        ((A > B) & (B < C), "self.a > self.b && self.b < self.c", False),
        (P & (Q | R), "self.p && (self.q || self.r)", False),
        (P & Q | ~R, "self.p && self.q || !self.r", True),
        (~(P & Q), "!(self.p && self.q)", True),
        (P.implies(Q), "!self.p || self.q", False),
        (Q.implies(P & R), "!self.q || self.p && self.r", True),
        (choose(P, A, B) + 1, "(self.p ? self.a : self.b) + 1", 8),
        (choose(P, choose(Q, 1, 2), 3), "self.p ? (self.q ? 1 : 2) : 3", 2),
        (NAME.equals("it's\\fine"), r"self.name == 'it\'s\\fine'", True),
        (NAME.is_one_of("a", "b"), "self.name in ['a', 'b']", False),
        (NAME.matches("^it.*$"), "self.name.matches('^it.*$')", True),
        (LIST.size() * 2, "size(self.list) * 2", 4),
        (
            LIST.every(lambda entry: entry.string().matches("y")),
            "self.list.all(entry, entry.matches('y'))",
            False,
        ),
        (
            LIST.any(lambda entry: entry.string().matches("y")),
            "self.list.exists(entry, entry.matches('y'))",
            True,
        ),
        (MAP.has_key("k"), "'k' in self.map", True),
        (~MAP.has_key("k"), "!('k' in self.map)", False),
        (SELF.has("inner.set"), "has(self.inner) && has(self.inner.set)", True),
        (SELF.has("absent.set"), "has(self.absent) && has(self.absent.set)", False),
        (count_set(SELF, "a", "absent"), "(has(self.a) ? 1 : 0) + (has(self.absent) ? 1 : 0)", 1),
        (number(5) >= 5, "5 >= 5", True),
    ],
    ids=lambda value: value.cel if isinstance(value, Expression) else "",
)
def test_an_expression_prints_what_it_computes(expression: Expression, cel: str, value: Any) -> None:
    assert expression.cel == cel
    assert expression.compute({"self": DOCUMENT}) == value


def test_what_is_guarded_is_not_computed() -> None:
    assert (SELF.has("absent") & (SELF.number("absent") > 1)).compute({"self": DOCUMENT}) is False


def test_an_end_is_the_end_and_not_the_line_s() -> None:
    assert not NAME.matches("^a$").compute({"self": {"name": "a\n"}})


def test_the_fields_that_an_expression_reads_are_known() -> None:
    condition = (SELF.number("seeds.count") > A) & LIST.any(lambda entry: entry.has("b"))
    assert condition.reads == {("seeds", "count"), ("a",), ("list",)}


def test_quotes_and_line_ends_are_escaped() -> None:
    assert quote("a'b\\c\nd") == r"'a\'b\\c\nd'"
