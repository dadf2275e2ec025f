"""Makes statements from the reference's own catalog: its operators, casts, functions and aggregates over the types of edges.py.

What is made depends on the catalog and the seed alone. Every statement is one that PostgreSQL answers or refuses; which of the
two, and how, is for the reference to say.
"""

import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import replace

from answers import Statement
from edges import BY_CATALOG_NAME, EDGES, INPUTS, MILD, UNSTORED, constant, quoted

OPERATORS = """
SELECT o.oprname, l.typname, r.typname
FROM pg_operator o JOIN pg_type r ON r.oid = o.oprright LEFT JOIN pg_type l ON l.oid = o.oprleft
WHERE (o.oprleft = 0 OR l.typname = ANY ($1::text[])) AND r.typname = ANY ($1::text[]) ORDER BY 1, 2, 3"""
FUNCTIONS = """
SELECT p.proname, array_to_string(ARRAY(SELECT t.typname FROM unnest(p.proargtypes) WITH ORDINALITY a(oid, n)
    JOIN pg_type t USING (oid) ORDER BY n), ' '), p.prokind::text, p.proretset, p.provariadic <> 0
FROM pg_proc p LEFT JOIN pg_aggregate g ON g.aggfnoid = p.oid
WHERE p.prokind IN ('f', 'a') AND p.provolatile <> 'v' AND coalesce(g.aggkind = 'n', true)
  AND NOT EXISTS (SELECT 1 FROM unnest(p.proargtypes) a(oid) JOIN pg_type t USING (oid) WHERE t.typname <> ALL ($1::text[]))
  AND EXISTS (SELECT 1 FROM pg_type t WHERE t.oid = p.prorettype AND t.typname = ANY ($1::text[]))
  AND NOT EXISTS (SELECT 1 FROM pg_operator WHERE oprcode = p.oid) ORDER BY 1, 2"""

# Functions that the catalog has for its own use, those about the server, and those of the clock.
INTERNAL = re.compile(
    r"""^(pg_|has_|lo_|loread|lowrite|gin_|hash|xml|txid_|inet_|numeric_(?!abs)|float8_|float[48]+(cmp|send|larger|smaller)|
    int\d+(_|inc|dec|int4_|larger|smaller|send)|in_range|like$|notlike|textlen|d(round|trunc|log1|log10|exp)$|btarraycmp|bt.*cmp|
    current_|now$|clock_|statement_|transaction_|timeofday|version|lastval|row_security|system_user|getdatabase|any_value_t|
    array_(sample|shuffle|larger|smaller)|vector_(avg|cmp)|halfvec_(avg|cmp)|json_populate|jsonb_populate|pi$|random|bool(and|or)_|
    similar_escape|date_(cmp|larger|smaller|send)|unknown|set_config|gen_random)
    |_(send|recv|accum|combine|larger|smaller|subdiff|cmp|hash|hash_extended|transfn|finalfn|statefunc)(_\w+)?$
    |(send|larger|smaller|cmp|percent)$""",
    re.VERBOSE,
)
POLYMORPHIC = {
    "any": ["int4", "text", "numeric"],
    "anyelement": ["int4", "text", "timestamp"],
    "anynonarray": ["int4", "text", "bool", "numeric", "date"],
    "anycompatible": ["int4", "text", "float8"],
    "anycompatiblenonarray": ["int4", "text", "float8"],
    "anyarray": ["int4[]", "text[]", "float8[]"],
    "anycompatiblearray": ["int4[]", "text[]", "numeric[]"],
}
# Names that the grammar has for itself: casts by another name, and functions with words between their arguments.
GRAMMAR = {*BY_CATALOG_NAME, "bit", "extract", "normalize", "overlaps", "position"}
# What some functions want to be asked, by name; texts in place of the edges of text.
WORDS: dict[str, list[str]] = {
    "date_trunc": ["hour", "month", "decade", "century", "week", "quarter", "milliseconds", "nonsense"],
    "date_part": ["hour", "month", "epoch", "dow", "isodow", "doy", "week", "isoyear", "century", "julian", "microseconds", "timezone", "nonsense"],
    "timezone": ["UTC", "America/New_York", "+05:30", "EST", "Nowhere/Land"],
    "to_char": ["YYYY-MM-DD HH24:MI:SS.US", "FMDay, DDth Mon YYYY", "9999.99", "FM0000.00", "S9G999D99", "RN", "Q WW IW J", "9.99EEEE", ""],
    "encode": ["hex", "base64", "escape", "rot13"],
    "decode": ["hex", "base64", "escape", "YWJj", "616263"],
    "format": ["%s", "%I %L", "%2$s %1$s", "%5s|", "%%", "%z"],
    "to_date": ["2024-02-29", "YYYY-MM-DD", "29 Feb 2024", "DD Mon YYYY"],
    "to_timestamp": ["2024-02-29 12:34:56", "YYYY-MM-DD HH24:MI:SS", "12", "HH12"],
    "to_number": ["1,234.50", "9G999D99", "-12", "S99"],
    "regexp_replace": ["abcabc", "b+", "(.)", "[\\1]", "gi", "x*"],
    "regexp_match": ["abcabc", "b(c)(a)", "(?i)B", "^$", "["],
    "string_to_array": ["a,b,,c", ",", "", "b"],
    "split_part": ["a,b,,c", ",", ""],
    "normalize": ["ünï", "NFC", "NFD"],
}
SMALL = {"int4": ["0", "1", "2", "-1", "3", "10"], "int8": ["0", "1", "2", "-1", "3", "10"]}


def corpus(reference, seed: int) -> Iterator[Statement]:
    """Every statement, in an order that the seed does not change."""
    names = "{" + ",".join([*BY_CATALOG_NAME, *POLYMORPHIC]) + "}"
    yield from operators(reference.run(Statement(OPERATORS, "", parameters=(names.encode(),))), seed)
    yield from casts()
    functions_answer = reference.run(Statement(FUNCTIONS, "", parameters=(names.encode(),)))
    yield from functions(functions_answer, seed)
    yield from grammar()
    yield from clauses(seed)
    yield from untyped(functions_answer)


def tables() -> Iterator[str]:
    """DDL and rows that statements read: a table edge_N of each type, and one that takes values of every type."""
    for number, (ty, literals) in enumerate(EDGES.items()):
        yield f"DROP TABLE IF EXISTS edge_{number}"
        yield f"CREATE TABLE edge_{number} (id int PRIMARY KEY, v {ty})"
        rows = ", ".join(f"({i}, {quoted(it)})" for i, it in enumerate(literals) if stored(ty, it))
        yield f"INSERT INTO edge_{number} VALUES {rows}, (100, NULL)"
    columns = ", ".join(f"c{number} {ty}" for number, ty in enumerate(EDGES))
    yield "DROP TABLE IF EXISTS target"
    yield f"CREATE TABLE target (id int, {columns})"


def stored(ty: str, text: str) -> bool:
    return text not in UNSTORED.get(ty, ())


NUMBERS = {ty: number for number, ty in enumerate(EDGES)}


def pick(seed: int, what: str, items: list, count: int) -> list:
    """So many of the items, by a seed of their own: what else is generated makes no difference."""
    if len(items) <= count:
        return items
    return random.Random(f"{seed} {what}").sample(items, count)


def operands(seed: int, what: str, types: list[str], count: int, words: list[str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Expressions of the types, as constants or as columns of their tables, with the FROM clause that they need."""
    lists = [(words or EDGES[ty]) if ty == "text" else EDGES[ty] for ty in types]
    indices = pick(seed, what, list(itertools.product(*[range(len(it)) for it in lists])), count)
    for position, chosen in enumerate(indices):
        expressions, sources, conditions = [], [], []
        for argument, (ty, i) in enumerate(zip(types, chosen)):
            if position % 2 and not (words and ty == "text") and stored(ty, lists[argument][i]):
                sources.append(f"edge_{NUMBERS[ty]} t{argument}")
                conditions.append(f"t{argument}.id = {100 if position % 7 == 6 else i}")
                expressions.append(f"t{argument}.v")
            else:
                expressions.append(constant(ty, lists[argument][i]))
        source = f" FROM {', '.join(sources)} WHERE {' AND '.join(conditions)}" if sources else ""
        yield source, expressions


def operators(found, seed: int) -> Iterator[Statement]:
    for row in found.rows:
        symbol, left, right = (it.decode() if it is not None else None for it in row)
        lefts = POLYMORPHIC.get(left, [BY_CATALOG_NAME.get(left)]) if left else [None]
        rights = POLYMORPHIC.get(right, [BY_CATALOG_NAME.get(right)])
        for a, b in zip(lefts, rights) if len(lefts) == len(rights) else itertools.product(lefts, rights):
            topic = f"operator {a or ''} {symbol} {b}"
            for source, them in operands(seed, topic, [it for it in (a, b) if it], 12):
                expression = f"{them[0]} {symbol} {them[1]}" if a else f"{symbol} {them[0]}"
                # A text of its own form: one value in eight is compared as bytes in binary form.
                binary = len(source + expression) % 8 == 0
                yield Statement(f"SELECT {expression}{source}", topic, binary)
            if a:
                mild = constant(a, EDGES[a][0])
                for text in pick(seed, topic, INPUTS, 3):
                    yield Statement(f"SELECT {mild} {symbol} {quoted(text)}", topic + " untyped")
                yield Statement(f"SELECT {mild} {symbol} NULL, NULL {symbol} {constant(b, EDGES[b][0])}", topic + " null")
                yield Statement(f"SELECT {mild} {symbol} $1", topic + " parameter", describe=True)


def casts() -> Iterator[Statement]:
    for ty in EDGES:
        for text in INPUTS:
            yield Statement(f"SELECT {constant(ty, text)}", f"input of {ty}", len(text) % 3 == 0)
        yield Statement(f"SELECT v FROM edge_{NUMBERS[ty]} ORDER BY id", f"output of {ty}")
        yield Statement(f"SELECT v FROM edge_{NUMBERS[ty]} ORDER BY id", f"output of {ty}", True)
    for source, target in itertools.product(EDGES, EDGES):
        topic = f"cast {source} to {target}"
        for i, text in enumerate(EDGES[source]):
            value = constant(source, text) if i % 2 or not stored(source, text) else f"v FROM edge_{NUMBERS[source]} WHERE id = {i}"
            if " FROM " in value:
                column, rest = value.split(" ", 1)
                yield Statement(f"SELECT {column}::{target} {rest}", topic)
            else:
                yield Statement(f"SELECT {value}::{target}", topic)
        for text in EDGES[source][:2]:
            value = constant(source, text)
            yield Statement(f"INSERT INTO target (c{NUMBERS[target]}) VALUES ({value}) RETURNING c{NUMBERS[target]}", topic + " assigned")
            if source != target:
                other = constant(target, EDGES[target][0])
                yield Statement(f"SELECT {value} UNION ALL SELECT {other}", topic + " union")
                yield Statement(f"SELECT coalesce({value}, {other}), CASE WHEN false THEN {other} ELSE {value} END", topic + " unified")
                yield Statement(f"SELECT {value} = {other}", topic + " compared")


def functions(found, seed: int) -> Iterator[Statement]:
    for row in found.rows:
        name, arguments, kind, returns_set, variadic = (it.decode() for it in row)
        if INTERNAL.search(name) or name in GRAMMAR:
            continue
        wanted = arguments.split()
        rounds = 3 if any(it in POLYMORPHIC for it in wanted) else 1
        for turn in range(rounds):
            types = [POLYMORPHIC[it][turn % len(POLYMORPHIC[it])] if it in POLYMORPHIC else BY_CATALOG_NAME[it] for it in wanted]
            topic = f"{'aggregate' if kind == 'a' else 'function'} {name}({', '.join(types)})"
            if kind == "a":
                yield from aggregate(name, types, topic)
            else:
                for statement in function(name, types, topic, seed, variadic == "t" and wanted[-1] != "any"):
                    # Some series never end.
                    limited = returns_set == "t" and not statement.describe
                    yield replace(statement, text=f"{statement.text} LIMIT 20") if limited else statement


def function(name: str, types: list[str], topic: str, seed: int, variadic: bool) -> Iterator[Statement]:
    words = WORDS.get(name) or next((it for key, it in WORDS.items() if name.startswith(key[:6])), None)
    count = 8 if len(types) < 2 else 14
    for position, (source, them) in enumerate(operands(seed, topic, types, count, words)):
        if len(types) > 1:
            small = random.Random(f"{topic} {position}")
            # Counts and positions are small numbers; a string of two billion spaces is no test.
            them = [constant(ty, small.choice(SMALL[ty])) if i and ty in SMALL else it for i, (it, ty) in enumerate(zip(them, types))]
        if name == "generate_series" and "numeric" in types:
            # Quiver makes a series in a select list whole, LIMIT or not: long ones take long here.
            them = [constant(ty, ("1.5", "10", "0.75")[i]) for i, ty in enumerate(types)]
        if variadic:
            them[-1] = "VARIADIC " + them[-1]
        source = source if all(f"t{i}." in "".join(them) or f" t{i}" not in source for i in range(len(types))) else used(source, them)
        yield Statement(f"SELECT {name}({', '.join(them)}){source}", topic, position % 5 == 0)
    if types and not variadic:
        first = [constant(ty, (words if ty == "text" and words else EDGES[ty])[0]) for ty in types]
        for i in range(len(types)):
            yield Statement(f"SELECT {name}({', '.join(first[:i] + ['NULL'] + first[i + 1:])})", topic + " null")
        yield Statement(f"SELECT {name}({', '.join(f'${i + 1}' for i in range(len(types)))})", topic + " parameter", describe=True)


def used(source: str, them: list[str]) -> str:
    """The FROM clause without the tables that no argument reads any more."""
    tables_part, conditions = source.removeprefix(" FROM ").split(" WHERE ")
    keep = [i for i, it in enumerate(tables_part.split(", ")) if it.split()[1] + "." in " ".join(them)]
    if not keep:
        return ""
    choose = lambda text, by: by.join(text.split(by)[i] for i in keep)
    return f" FROM {choose(tables_part, ', ')} WHERE {choose(conditions, ' AND ')}"


def aggregate(name: str, types: list[str], topic: str) -> Iterator[Statement]:
    first = types[0] if types else None
    table = f"edge_{NUMBERS[first]}" if first else "edge_1"
    arguments = ", ".join("v" if i == 0 else constant(ty, EDGES[ty][0]) if ty != first else "v" for i, ty in enumerate(types)) or "*"
    order = " ORDER BY id" if types else ""
    forms = [f"{name}({arguments})", f"{name}({arguments}{order})"]
    for call in forms:
        for where in (f"id < {MILD}", "id < 2 OR id = 100", "id = 100", "false"):
            if call == forms[0] and "agg" in name:
                continue
            yield Statement(f"SELECT {call} FROM {table} WHERE {where}", topic, where == "false")
    if types:
        yield Statement(f"SELECT {name}(DISTINCT v{''.join(', ' + it for it in arguments.split(', ')[1:])}) FROM {table} WHERE id < 2 OR id = 100", topic + " distinct")
        yield Statement(f"SELECT id % 2 AS k, {name}({arguments}) FILTER (WHERE id <> 1) FROM {table} WHERE id < 3 GROUP BY k ORDER BY k", topic + " grouped")
        yield Statement(f"SELECT id, {name}({arguments}) OVER (ORDER BY id ROWS 1 PRECEDING) FROM {table} WHERE id < 4 ORDER BY id", topic + " window")


FIELDS = ["year", "month", "day", "hour", "minute", "second", "epoch", "dow", "isodow", "doy", "week", "isoyear", "quarter", "decade", "century",
          "millennium", "julian", "milliseconds", "microseconds", "timezone", "timezone_hour", "nonsense"]


def grammar() -> Iterator[Statement]:
    """Functions with words between their arguments, and those without parentheses."""
    for ty in ("date", "time", "timestamp", "timestamptz", "interval"):
        for field, text in itertools.product(FIELDS, EDGES[ty]):
            yield Statement(f"SELECT extract({field} FROM {constant(ty, text)})", f"extract from {ty}")
        for text in EDGES[ty]:
            yield Statement(f"SELECT {constant(ty, text)} AT TIME ZONE 'America/New_York'", f"time zone of {ty}")
            yield Statement(f"SELECT ({constant(ty, text)})::{ty}(0), ({constant(ty, text)})::{ty}(2)", f"precision of {ty}")
    for ty, a, b in [("text", "abcabc", "ca"), ("bytea", "\\x616263", "\\x62"), ("bit(3)", "101", "01"), ("text", "", ""), ("text", "日本語", "本")]:
        a, b = constant(ty, a), constant(ty.split("(")[0] if ty != "bit(3)" else "varbit", b)
        for call in [f"position({b} IN {a})", f"substring({a} FROM 2)", f"substring({a} FROM 0 FOR 2)", f"substring({a} FROM 2 FOR -1)", f"substring({a} FROM -1 FOR 3)",
                     f"substring({a} FROM '.(b.)')", f"substring({a} SIMILAR '%#\"b#\"%' ESCAPE '#')", f"overlay({a} PLACING {b} FROM 2)", f"overlay({a} PLACING {b} FROM 2 FOR 0)",
                     f"overlay({a} PLACING {b} FROM 0)", f"trim({b} FROM {a})", f"trim(LEADING {b} FROM {a})", f"trim(TRAILING FROM {a})", f"trim(BOTH 'a' FROM {a})",
                     f"{a} LIKE 'a%'", f"{a} NOT LIKE '_b%'", f"{a} ILIKE 'A%'", f"{a} SIMILAR TO '(a|b)%'", f"{a} LIKE 'a!%' ESCAPE '!'", f"{a} LIKE 'a%' ESCAPE 'xx'"]:
            yield Statement(f"SELECT {call}", f"grammar over {ty}")
    for one, other in itertools.product(EDGES["timestamp"][:4], repeat=2):
        a, b = constant("timestamp", one), constant("timestamp", other)
        yield Statement(f"SELECT ({a}, {b}) OVERLAPS ({b}, interval '1 day'), age({a}, {b}), {a} - {b}", "overlaps")


def clauses(seed: int) -> Iterator[Statement]:
    for ty, literals in EDGES.items():
        table, topic = f"edge_{NUMBERS[ty]}", f"clauses over {ty}"
        a, b = constant(ty, literals[0]), constant(ty, literals[min(1, len(literals) - 1)])
        for text in [
            f"SELECT id FROM {table} ORDER BY v, id",
            f"SELECT id FROM {table} ORDER BY v DESC NULLS LAST, id",
            f"SELECT DISTINCT v FROM {table} ORDER BY v",
            f"SELECT v, count(*) FROM {table} GROUP BY v ORDER BY v",
            f"SELECT count(DISTINCT v) FROM {table}",
            f"SELECT id FROM {table} WHERE v IN ({a}, {b}) ORDER BY id",
            f"SELECT id FROM {table} WHERE v NOT IN ({a}, {b}) ORDER BY id",
            f"SELECT id FROM {table} WHERE v IN ({quoted(literals[0])}, NULL) ORDER BY id",
            f"SELECT id FROM {table} WHERE v BETWEEN {a} AND {b} ORDER BY id",
            f"SELECT id FROM {table} WHERE v BETWEEN SYMMETRIC {a} AND {b} ORDER BY id",
            f"SELECT id FROM {table} WHERE v = ANY (ARRAY[{a}, {b}]) ORDER BY id",
            f"SELECT id FROM {table} WHERE v IS DISTINCT FROM {a} ORDER BY id",
            f"SELECT id FROM {table} WHERE v IN (SELECT v FROM {table} WHERE id < 2) ORDER BY id",
            f"SELECT l.id, r.id FROM {table} l JOIN {table} r ON l.v = r.v ORDER BY 1, 2",
            f"SELECT l.id, r.id FROM {table} l JOIN {table} r ON l.v < r.v ORDER BY 1, 2",
            f"SELECT l.id, r.id FROM {table} l LEFT JOIN {table} r USING (v) ORDER BY 1, 2",
            f"SELECT greatest({a}, {b}), least({a}, {b}), greatest({a}, NULL)",
            f"SELECT nullif({a}, {b}), nullif({a}, {a}), coalesce(NULL, {a}), coalesce(NULL, {quoted(literals[0])}, {b})",
            f"SELECT CASE {a} WHEN {b} THEN 1 WHEN {a} THEN 2 ELSE 3 END, CASE WHEN true THEN {a} END",
            f"SELECT v FROM {table} UNION SELECT v FROM {table} ORDER BY 1",
            f"SELECT v FROM {table} INTERSECT SELECT v FROM {table} WHERE id < 2 ORDER BY 1",
            f"SELECT v FROM {table} EXCEPT SELECT v FROM {table} WHERE id < 2 ORDER BY 1",
            f"SELECT min(v), max(v) FROM {table}",
            f"SELECT array_agg(v ORDER BY id) FROM {table}",
            f"SELECT ARRAY[{a}, {b}], ARRAY[{a}, NULL]",
            f"SELECT id, rank() OVER (ORDER BY v), lag(v) OVER (ORDER BY id), first_value(v) OVER (PARTITION BY v ORDER BY id) FROM {table} ORDER BY id",
            f"SELECT id, row_number() OVER (PARTITION BY v ORDER BY id) FROM {table} ORDER BY id",
            f"SELECT pg_typeof({a}), pg_typeof(v) FROM {table} WHERE id = 0",
            f"SELECT {a} IS NULL, {a} IS NOT NULL, ({a}) IN (NULL)",
            f"SELECT to_json({a}), to_jsonb({a}), json_build_object('k', {a}), {a}::text || 'x'",
            f"SELECT to_jsonb(v) FROM {table} ORDER BY id",
            f"WITH w AS (SELECT v FROM {table}) SELECT * FROM w ORDER BY 1 LIMIT 3 OFFSET 1",
            f"UPDATE {table} SET v = {b} WHERE id = -1 RETURNING v",
            f"DELETE FROM {table} WHERE v = {a} AND id = -1 RETURNING *",
            f"SELECT (SELECT v FROM {table} WHERE id = 0), EXISTS (SELECT 1 FROM {table} WHERE v = {a})",
            f"SELECT * FROM (VALUES ({a}), ({b}), (NULL)) x (v) WHERE v = {a}",
            f"SELECT ({a})::text, cast({a} AS varchar), ({a})::text::{ty}",
            f"VALUES ({a}, 1), ({quoted(literals[-1])}, NULL)",
        ]:
            yield Statement(text, topic)
        for text in [f"SELECT $1 = v FROM {table}", f"SELECT id FROM {table} WHERE v IN ($1, $2) AND id = $3 LIMIT $4", f"INSERT INTO {table} VALUES ($1, $2)",
                     f"UPDATE {table} SET v = $1 WHERE id = $2", f"SELECT coalesce($1, v), CASE WHEN $2 THEN v ELSE $3 END FROM {table}",
                     f"SELECT $1::{ty}, greatest($2, {a})"]:
            yield Statement(text, f"parameters beside {ty}", describe=True)


def untyped(found) -> Iterator[Statement]:
    """Calls with untyped literals only, where overloads are told apart by PostgreSQL's rules for `unknown`."""
    counts = sorted({(row[0].decode(), len(row[1].split())) for row in found.rows if row[2] == b"f" and row[3] == b"f" and not INTERNAL.search(row[0].decode())})
    counts = [(name, count) for name, count in counts if name not in GRAMMAR]
    for name, count in counts:
        for text in ("1", "abc", "2024-02-29", "[1,2]"):
            yield Statement(f"SELECT {name}({', '.join([quoted(text)] * count)})", f"untyped {name}")
