"""The differences that have a reason: each is a line of docs/compatibility.md, and is as narrow as can be said.

A rule looks at one statement and both answers and says whether it explains how they differ. A rule that explains nothing in a run
of all statements fails that run.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from answers import Answer, Statement


@dataclass(frozen=True)
class Rule:
    """`explains` is asked only about statements whose answers differ."""

    reason: str
    explains: Callable[[Statement, Answer, Answer], bool]


def same_but_for(equal: Callable[[bytes | None, bytes | None, str], bool]) -> Callable[[Statement, Answer, Answer], bool]:
    """Both answered with the same columns and as many rows, and each pair of values is the same or `equal`."""

    def explains(_: Statement, reference: Answer, quiver: Answer) -> bool:
        if reference.sqlstate or quiver.sqlstate or reference.types != quiver.types or len(reference.rows) != len(quiver.rows):
            return False
        return all(
            a == b or equal(a, b, ty)
            for one, other in zip(reference.rows, quiver.rows)
            for a, b, ty in zip(one, other, reference.types)
        )

    return explains


NUMBER = re.compile(rb"-?\d+(\.\d+)?")


def number(text: bytes) -> Decimal | None:
    try:
        return Decimal(text.decode())
    except (InvalidOperation, UnicodeDecodeError):
        return None


def same_number(a: bytes | None, b: bytes | None, ty: str) -> bool:
    """Equal to 20 digits after the point."""
    if a is None or b is None or not ty.startswith("numeric"):
        return False
    if ty.startswith("numeric[]"):
        parts = [it.strip(b"{}").split(b",") for it in (a, b)]
        return len(parts[0]) == len(parts[1]) and all(x == y or same_number(x, y, "numeric") for x, y in zip(*parts))
    one, other = number(a), number(b)
    return one is not None and other is not None and abs(one - other) <= Decimal("1e-20")


RULES: list[Rule] = [
    Rule("numeric without precision: no trailing zeros, 20 digits after the point", same_but_for(same_number)),
]
