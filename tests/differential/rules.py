"""The differences that have a reason: each is a line of docs/compatibility.md, and is as narrow as can be said.

A rule looks at one statement and both answers and says whether it explains how they differ. A rule that explains nothing in a run
of all statements fails that run.
"""

import math
import re
import struct
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


def number(value: bytes) -> Decimal | None:
    """Of a numeric in either form."""
    if len(value) >= 8 and len(value) == 8 + 2 * int.from_bytes(value[:2]):
        count, weight, sign, _ = struct.unpack(">HhHH", value[:8])
        digits = struct.unpack(f">{count}H", value[8:])
        total = sum(Decimal(digit).scaleb(4 * (weight - place)) for place, digit in enumerate(digits))
        return -total if sign else Decimal(total)
    try:
        return Decimal(value.decode())
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


def refused(pattern: str, sqlstate: str, message: str = "") -> Callable[[Statement, Answer, Answer], bool]:
    """Quiver refuses statements of this text with this SQLSTATE and a message that begins so."""
    matcher = re.compile(pattern)

    def explains(statement: Statement, _: Answer, quiver: Answer) -> bool:
        said = quiver.sqlstate == sqlstate and (quiver.message or "").startswith(message)
        return said and matcher.search(statement.text) is not None

    return explains


STATISTICS = re.compile(r"\b(stddev|variance|var)(_pop|_samp)?\(")


def statistics(statement: Statement, reference: Answer, quiver: Answer) -> bool:
    """The same figures, as doubles."""
    if reference.sqlstate or quiver.sqlstate or not STATISTICS.search(statement.text):
        return False
    figures = [it for it, ty in enumerate(reference.types) if (ty, quiver.types[it]) == ("numeric", "double precision")]
    if not figures or len(reference.rows) != len(quiver.rows):
        return False
    return all(close(a[i], b[i]) if i in figures else a[i] == b[i] for a, b in zip(reference.rows, quiver.rows) for i in range(len(a)))


def close(a: bytes | None, b: bytes | None) -> bool:
    if a is None or b is None:
        return a is b
    return abs(float(a) - float(b)) <= 1e-12 * max(abs(float(a)), 1e-300)


CUBE_ROOT = re.compile(r"\bcbrt\(|\|\|/")


def cube_root(statement: Statement, reference: Answer, quiver: Answer) -> bool:
    """The nearest double; PostgreSQL's is what the C library gives, which may be the one beside it."""
    return CUBE_ROOT.search(statement.text) is not None and beside_or_same_number(statement, reference, quiver)


def beside(a: bytes | None, b: bytes | None, ty: str) -> bool:
    if a is None or b is None or ty != "double precision":
        return same_number(a, b, ty)
    try:
        one, other = float(a), float(b)
    except ValueError:
        if len(a) != 8 or len(b) != 8:
            return False
        (one,), (other,) = struct.unpack(">d", a), struct.unpack(">d", b)
    return abs(one - other) <= math.ulp(one)


beside_or_same_number = same_but_for(beside)

def shown_scale(statement: Statement, reference: Answer, quiver: Answer) -> bool:
    """The same text, but for the zeros at the end of numbers and what fills the width."""
    if reference.sqlstate or quiver.sqlstate or reference.types != quiver.types or len(reference.rows) != len(quiver.rows):
        return False
    bare = lambda value: value and re.sub(rb"(\.\d*?)0+(?!\d)", rb"\1", value).replace(b" ", b"").replace(b".,", b",")
    if not re.search(r"numeric|edge_6\b|\d\.\d*0\b", statement.text):
        return False
    return all(bare(a) == bare(b) for one, other in zip(reference.rows, quiver.rows) for a, b in zip(one, other))


ZEROS = {b"0", b"-0"}


def sign_of_zero(a: bytes | None, b: bytes | None, ty: str) -> bool:
    return ty in ("real", "double precision") and a in ZEROS and b in ZEROS


def merged_integers(statement: Statement, reference: Answer, quiver: Answer) -> bool:
    """The same rows with a column of another integer type."""
    if reference.rows != quiver.rows or not re.search(r"\b(USING|NATURAL)\b", statement.text):
        return False
    differ = [pair for pair in zip(reference.types, quiver.types) if pair[0] != pair[1]]
    return bool(differ) and all(pair == ("bigint", "integer") for pair in differ)


RULES: list[Rule] = [
    Rule("numeric without precision: no trailing zeros, 20 digits after the point", same_but_for(same_number)),
    Rule("stddev, variance and their kin of integers and numeric: double precision", statistics),
    Rule("cbrt: the nearest double", cube_root),
    Rule("numeric: no NaN, no infinity", refused("", "0A000", "the numeric value ")),
    Rule("dates and timestamps: no infinity", refused("infinity", "22007", "invalid input syntax for type ")),
    Rule("timestamps end before the year 294247", refused("294276-12-31", "22008")),
    Rule("to_timestamp: no infinity", refused("to_timestamp", "22008", 'timestamp out of range: "')),
    Rule("VARIADIC", refused(r"VARIADIC", "42601")),
    Rule("numeric as text: trailing zeros are not shown", shown_scale),
    Rule("numeric: 76 digits", refused("factorial", "22003", "value overflows numeric format")),
    Rule("the sign of a zero", same_but_for(sign_of_zero)),
    Rule("arrays of more than one dimension", refused("", "0A000", "an array of more than one dimension")),
    Rule("DISTINCT, UNION and GROUP BY over intervals", refused("", "0A000", "DISTINCT or UNION of intervals")),
    Rule("DISTINCT in sums of intervals", refused("DISTINCT", "0A000", "an aggregate of different values of intervals")),
    Rule("generate_series: 50,000,000 items in a select list", refused("generate_series", "54000")),
    Rule("to_char of infinity", refused("to_char", "0A000", "to_char of ")),
    Rule("templates of to_date with words that are no fields", refused("to_date|to_timestamp", "0A000", "the template ")),
    Rule("texts that are no dates", refused("'1_000'", "22007", "invalid input syntax for type timestamp")),
    Rule("full text search", refused("@@", "42883", "operator does not exist: ")),
    Rule("normalize, to_ascii", refused(r"\b(is_normalized|to_ascii)\(", "42883")),
    Rule("functions for PostgreSQL's own use", refused(r"\binterval_avg\(", "42883")),
    Rule("time with time zone", refused("time AT TIME ZONE", "0A000", "the type time with time zone")),
    Rule("regular expressions: { that begins no bound", refused(r"~.*\{", "2201B")),
    Rule("substring SIMILAR, trim without characters", refused(r"substring\(.* SIMILAR|trim\(TRAILING FROM", "42601")),
    Rule("EXCLUDE in a frame", refused(r"\bEXCLUDE\b", "42601")),
    Rule("DISTINCT in an aggregate of two arguments", refused(r"\w+\(DISTINCT \w+, ", "0A000", "DISTINCT ")),
    Rule("row_to_json", refused("row_to_json", "42883")),
    Rule("merged columns of int and bigint", merged_integers),
]
