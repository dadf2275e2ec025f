"""asyncpg and types it does not know by itself: what it asks of the catalog, vectors and bit strings with and without codecs."""

import asyncio
import json
import struct

import asyncpg
import pgvector.asyncpg
import pytest
from asyncpg.types import BitString
from pgvector import HalfVector, SparseVector, Vector

# (type, the value's text, a second value's text)
SAMPLES = [
    ("vector", "[1,-2.5,3]", "[0,0,1e-07]"),
    ("halfvec", "[0.5,2]", "[-65504,0]"),
    ("sparsevec", "{1:1.5,4:-2}/5", "{}/3"),
]
every_vector = pytest.mark.parametrize("kind, first, second", SAMPLES, ids=[kind for kind, _, _ in SAMPLES])


@pytest.fixture
def run(server):
    """Runs a coroutine function with a connection, registered for vectors or not."""

    def runner(work, register=False):
        async def connected():
            connection = await asyncpg.connect(server.url())
            try:
                if register:
                    await pgvector.asyncpg.register_vector(connection)
                return await work(connection)
            finally:
                await connection.close()

        return asyncio.run(connected())

    return runner


@every_vector
def test_unregistered_types_are_text(run, kind, first, second):
    async def work(connection):
        assert await connection.fetchval(f"SELECT '{first}'::{kind}") == first
        assert await connection.fetchval(f"SELECT $1::{kind}", first) == first
        assert await connection.fetchval(f"SELECT $1::{kind}", None) is None
        await connection.execute(f"CREATE TABLE t (id int, v {kind}, many {kind}[])")
        await connection.execute("INSERT INTO t VALUES (1, $1, $2), (2, NULL, NULL)", first, [first, None, second])
        await connection.executemany("INSERT INTO t VALUES ($1, $2, $3)", [(3, second, []), (4, None, [second])])
        rows = await connection.fetch("SELECT v, many FROM t ORDER BY id")
        assert [tuple(row) for row in rows] == [
            (first, [first, None, second]), (None, None), (second, []), (None, [second])
        ]  # fmt: skip
        with pytest.raises(asyncpg.DataError):
            await connection.fetchval(f"SELECT $1::{kind}", "no")

    run(work)


@every_vector
def test_arrays_of_unregistered_types(run, kind, first, second):
    async def work(connection):
        # The array comes first: its type is looked up, then its elements' type.
        assert await connection.fetchval(f"SELECT ARRAY['{first}', NULL, '{second}']::{kind}[]") == [first, None, second]
        assert await connection.fetchval(f"SELECT $1::{kind}[]", [second, first]) == [second, first]
        count = await connection.fetchval(f"SELECT count(*) FROM unnest($1::{kind}[]) u WHERE u IS NOT NULL", [first, None])
        assert count == 1

    run(work)


def test_distances_of_unregistered_types(run):
    async def work(connection):
        await connection.execute(
            "CREATE TABLE t (id int, v vector(2), h halfvec(2), s sparsevec(3), b bit(4));"
            "INSERT INTO t SELECT g, ARRAY[g, 1], ARRAY[g, 2], ('{1:' || g || '}/3')::sparsevec, g::bit(4) "
            "FROM generate_series(1, 9) g"
        )
        for column, kind, query in [("v", "vector", "[5,1]"), ("h", "halfvec", "[5,2]"), ("s", "sparsevec", "{1:5}/3")]:
            found = await connection.fetch(f"SELECT id, {column} <-> $1 FROM t ORDER BY {column} <-> $1, id LIMIT 3", query)
            assert [tuple(row) for row in found] == [(5, 0.0), (4, 1.0), (6, 1.0)], kind
        found = await connection.fetch("SELECT id FROM t ORDER BY b <~> $1, id LIMIT 2", BitString("0101"))
        assert [row["id"] for row in found] == [5, 1]

    run(work)


def test_registered_types(run):
    values = {
        "vector": (Vector([1.5, -2, 3e-7]), Vector([0, 0, 1])),
        "halfvec": (HalfVector([0.5, -2]), HalfVector([65504, 0])),
        "sparsevec": (SparseVector({0: 1.5, 3: -2}, 5), SparseVector({}, 3)),
    }

    async def work(connection):
        for kind, (first, second) in values.items():
            # SparseVector has no equality.
            def text(value):
                return value if value is None else value.to_text()

            assert text(await connection.fetchval(f"SELECT $1::{kind}", first)) == first.to_text()
            found = await connection.fetchval(f"SELECT $1::{kind}[]", [first, None, second])
            assert [text(value) for value in found] == [first.to_text(), None, second.to_text()]
            table = f"t_{kind}"
            await connection.execute(f"CREATE TABLE {table} (id int, v {kind}, many {kind}[])")
            rows = [(1, first, [second]), (2, None, None), (3, second, [first, None])]
            assert await connection.copy_records_to_table(table, records=rows) == "COPY 3"
            await connection.executemany(f"INSERT INTO {table} VALUES ($1, $2, $3)", [(4, first, []), (5, None, [None])])
            found = await connection.fetch(f"SELECT v, many FROM {table} ORDER BY id")
            assert [text(row["v"]) for row in found] == [first.to_text(), None, second.to_text(), first.to_text(), None]
            shown = [row["many"] and [text(value) for value in row["many"]] for row in found]
            assert shown == [[second.to_text()], None, [first.to_text(), None], [], [None]]

    run(work, register=True)


def test_bit_strings(run):
    async def work(connection):
        await connection.execute("CREATE TABLE t (id int, b bit(10), v varbit, many bit(3)[], vs varbit[])")
        rows = [
            (1, BitString("0000000101"), BitString("1"), [BitString("101"), None], [BitString("1111000011")]),
            (2, None, BitString(""), [], None),
        ]
        assert await connection.copy_records_to_table("t", records=rows) == "COPY 2"
        await connection.executemany("INSERT INTO t VALUES ($1 + 2, $2, $3, $4, $5)", rows)
        found = await connection.fetch("SELECT * FROM t ORDER BY id")
        assert [tuple(row)[1:] for row in found] == [row[1:] for row in rows] * 2
        assert await connection.fetchval("SELECT $1::bit(3) <~> $2::bit(3)", BitString("101"), BitString("010")) == 3.0

    run(work)


def test_prepared_statements_tell_types(run):
    async def work(connection):
        await connection.execute(
            "CREATE TABLE t (id bigint, name varchar(9), v vector(3), h halfvec(3), s sparsevec(3), b bit(3), many vector(3)[])"
        )
        prepared = await connection.prepare("SELECT *, v <-> $1 AS d, $2 || name FROM t WHERE many = $3 AND b = $4 LIMIT $5")
        shown = [(each.name, each.kind, each.schema) for each in prepared.get_parameters()]
        assert shown == [
            ("vector", "scalar", "public"), ("text", "scalar", "pg_catalog"), ("vector[]", "array", "public"),
            ("bit", "scalar", "pg_catalog"), ("int8", "scalar", "pg_catalog"),
        ]  # fmt: skip
        attributes = [(each.name, each.type.name, each.type.kind) for each in prepared.get_attributes()]
        assert attributes == [
            ("id", "int8", "scalar"), ("name", "varchar", "scalar"), ("v", "vector", "scalar"), ("h", "halfvec", "scalar"),
            ("s", "sparsevec", "scalar"), ("b", "bit", "scalar"), ("many", "vector[]", "array"), ("d", "float8", "scalar"),
            ("?column?", "text", "scalar"),
        ]  # fmt: skip
        assert prepared.get_statusmsg() is None
        assert await prepared.fetch("[1,2,3]", "x", ["[1,2,3]"], BitString("101"), 5) == []
        assert prepared.get_statusmsg() == "SELECT 0"
        again = await connection.prepare("INSERT INTO t (v, many) VALUES ($1, $2) RETURNING v, many")
        assert await again.fetchrow("[1,2,3]", ["[4,5,6]"]) == ("[1,2,3]", ["[4,5,6]"])
        found = await again.fetchmany([("[1,2,3]", None), (None, [])])
        assert [tuple(row) for row in found] == [("[1,2,3]", None), (None, [])]

    run(work)


def test_other_types_that_are_looked_up(run):
    async def work(connection):
        assert await connection.fetchval("SELECT ARRAY['pg_type'::regclass]::regclass[]::text[]") == ["pg_type"]
        assert await connection.fetchval("SELECT array_agg(typname ORDER BY typname) FROM pg_type WHERE typname LIKE 'halfv%'") == [
            "halfvec"
        ]
        row = await connection.fetchrow("SELECT 'pg_type'::regclass, 'vector'::regtype, 1::oid, ARRAY[1, 2]::oid[], 'n'::name")
        assert (row[2], row[3], row[4]) == (1, [1, 2], "n")
        assert (row[0], row[1]) == ("pg_type", "vector")
        found = await connection.fetch("SELECT relname, relkind, reloptions, relacl FROM pg_class WHERE relname = 'pg_type'")
        assert found[0]["relkind"] == b"r"
        # An empty "char" has a byte all the same.
        row = await connection.fetchrow("SELECT attgenerated, attidentity, attgenerated = $1::\"char\" FROM pg_attribute LIMIT 1", b"\x00")
        assert tuple(row) == (b"\x00", b"\x00", True)

    run(work)


def test_type_codecs(run):
    async def work(connection):
        # Text, with the type's own words.
        await connection.set_type_codec(
            "vector", schema="public", encoder=lambda value: json.dumps(value), decoder=json.loads, format="text"
        )
        assert await connection.fetchval("SELECT $1::vector", [1, 2.5]) == [1, 2.5]
        assert await connection.fetchval("SELECT ARRAY['[1,2]', '[3]']::vector[]") == [[1, 2], [3]]

        # Binary, with its bytes.
        def encode(value):
            return struct.pack(f">HH{len(value)}f", len(value), 0, *value)

        def decode(data):
            size, _ = struct.unpack_from(">HH", data)
            return struct.unpack_from(f">{size}f", data, 4)

        await connection.set_type_codec("vector", schema="public", encoder=encode, decoder=decode, format="binary")
        assert await connection.fetchval("SELECT $1::vector", [1, 2.5]) == (1.0, 2.5)
        assert await connection.fetchval("SELECT ARRAY['[1,2]', '[3]']::vector[]") == [(1.0, 2.0), (3.0,)]
        await connection.execute("CREATE TABLE t (v vector(2))")
        await connection.copy_records_to_table("t", records=[([1, 2],), (None,)])
        assert [row["v"] for row in await connection.fetch("SELECT v FROM t")] == [(1.0, 2.0), None]
        await connection.reset_type_codec("vector", schema="public")
        assert await connection.fetchval("SELECT $1::vector", "[1,2]") == "[1,2]"
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
        assert await connection.fetchval("SELECT $1::jsonb", {"a": [1, None]}) == {"a": [1, None]}
        with pytest.raises(ValueError, match="unknown type: public.missing"):
            await connection.set_type_codec("missing", schema="public", encoder=str, decoder=str)

    run(work)


def test_cursors_over_vectors(run):
    async def work(connection):
        await connection.execute("CREATE TABLE t (id int, v vector(2))")
        await connection.executemany("INSERT INTO t VALUES ($1, $2)", [(n, f"[{n},1]") for n in range(100)])
        async with connection.transaction():
            query = "SELECT id, v FROM t WHERE id >= $2 ORDER BY v <-> $1"
            rows = [tuple(row) async for row in connection.cursor(query, "[50,1]", 50, prefetch=7)]
            assert rows == [(n, f"[{n},1]") for n in range(50, 100)]
            cursor = await connection.cursor(query, "[99,1]", 97)
            assert [row["id"] for row in await cursor.fetch(2)] == [99, 98]
            assert await cursor.forward(1) == 1
            assert await cursor.fetchrow() is None

    run(work)


def test_types_after_the_extension_is_made_again(run):
    async def work(connection):
        assert await connection.fetchval("SELECT '[1,2]'::vector") == "[1,2]"
        await connection.execute("DROP EXTENSION vector CASCADE; CREATE EXTENSION vector")
        await connection.reload_schema_state()
        return await connection.fetchval("SELECT ARRAY['[1,2]']::vector[]")

    assert run(work) == ["[1,2]"]
