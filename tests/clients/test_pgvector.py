"""pgvector-python's adapters: vectors as parameters, results and arrays through each driver, and searches with filters."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import numpy as np
import pg8000.native
import pgvector.asyncpg
import pgvector.pg8000
import pgvector.psycopg
import pgvector.psycopg2
import psycopg
import psycopg2
import psycopg2.extras
import pytest
from pgvector import Vector
from psycopg import errors

ROWS = [
    (1, "de", [1, 0, 0]),
    (2, "en", [0.9, 0.1, 0]),
    (3, "de", [0.5, 0.5, 0]),
    (4, "en", [0, 1, 0.25]),
    (5, "de", [-1, 0, 1e-7]),
]
CREATE = "CREATE TABLE items (id bigint PRIMARY KEY, lang text, embedding vector(3))"


@pytest.fixture
def connection(server):
    with psycopg.connect(server.url(), autocommit=True) as connection:
        pgvector.psycopg.register_vector(connection)
        yield connection


@pytest.fixture(params=[False, True], ids=["text", "binary"])
def binary(request):
    return request.param


def fill(connection):
    connection.execute(CREATE)
    with connection.cursor() as cursor:
        rows = [(key, lang, Vector(embedding)) for key, lang, embedding in ROWS]
        cursor.executemany("INSERT INTO items VALUES (%s, %s, %s)", rows)


@pytest.mark.parametrize("mark", ["%s", "%t", "%b"])
def test_psycopg_round_trip(connection, binary, mark):
    connection.execute("CREATE TABLE items (id int, embedding vector(3), anything vector, many vector(3)[])")
    cursor = connection.cursor(binary=binary)
    given = [Vector([1.5, -2, 3e-7]), np.array([1, 2, 3, 4], dtype=np.float32), [Vector([1, 2, 3]), Vector([4, 5, 6])]]
    cursor.execute(f"INSERT INTO items VALUES (1, {mark}, {mark}, {mark})", given)
    cursor.execute("INSERT INTO items VALUES (2, NULL, NULL, NULL)")
    cursor.execute("SELECT embedding, anything, many FROM items ORDER BY id")
    first, second = cursor.fetchall()
    assert first == (Vector([1.5, -2, 3e-7]), Vector([1, 2, 3, 4]), [Vector([1, 2, 3]), Vector([4, 5, 6])])
    assert second == (None, None, None)


def test_psycopg_search(connection, binary):
    fill(connection)
    cursor = connection.cursor(binary=binary)
    query = Vector([1, 0, 0])
    cursor.execute("SELECT id FROM items ORDER BY embedding <-> %s LIMIT 3", [query])
    assert cursor.fetchall() == [(1,), (2,), (3,)]
    cursor.execute("SELECT id FROM items WHERE lang = %s ORDER BY embedding <-> %s LIMIT 2", ["en", query])
    assert cursor.fetchall() == [(2,), (4,)]
    cursor.execute("SELECT id, embedding <=> %(q)s AS d FROM items ORDER BY embedding <=> %(q)s LIMIT 1", {"q": query})
    assert cursor.fetchone() == (1, 0.0)
    cursor.execute("SELECT id FROM items WHERE embedding <-> %s < %s ORDER BY id", [query, 0.2])
    assert cursor.fetchall() == [(1,), (2,)]
    cursor.execute("SELECT embedding <#> %s, embedding <+> %s FROM items WHERE id = 4", [query, query])
    assert cursor.fetchone() == (-0.0, 2.25)
    cursor.execute("SELECT avg(embedding), sum(embedding) FROM items WHERE lang = 'en'")
    mean, total = cursor.fetchone()
    assert np.allclose(mean.to_numpy(), [0.45, 0.55, 0.125])
    assert np.allclose(total.to_numpy(), [0.9, 1.1, 0.25])
    cursor.execute("SELECT id FROM items ORDER BY embedding <-> '[1,0,0]' LIMIT 1 OFFSET 1")
    assert cursor.fetchone() == (2,)


def test_psycopg_index(connection):
    fill(connection)
    connection.execute("CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)")
    with connection.transaction():
        connection.execute("SET LOCAL hnsw.ef_search = 100")
        cursor = connection.execute("SELECT id FROM items ORDER BY embedding <-> %s LIMIT 2", [Vector([1, 0, 0])])
        assert cursor.fetchall() == [(1,), (2,)]


@pytest.mark.parametrize("method", ["hnsw", "ivfflat"])
def test_psycopg_index_progress(connection, server, method):
    """While CREATE INDEX runs, another session sees how far it is, in pgvector's phases."""
    connection.execute("CREATE TABLE items (id bigint, embedding vector(64))")
    vectors = np.random.default_rng(6).random((20_000, 64), dtype=np.float32)
    with connection.cursor().copy("COPY items FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["int8", "vector"])
        for index, vector in enumerate(vectors):
            copy.write_row((index, Vector(vector)))
    seen = []
    with psycopg.connect(server.url(), autocommit=True) as watcher, ThreadPoolExecutor() as pool:
        build = pool.submit(connection.execute, f"CREATE INDEX items_at ON items USING {method} (embedding vector_l2_ops)")
        while not build.done():
            query = "SELECT relid::regclass::text, index_relid::regclass::text, phase, tuples_done, tuples_total"
            seen += watcher.execute(f"{query} FROM pg_stat_progress_create_index").fetchall()
        build.result()
        assert watcher.execute("SELECT count(*) FROM pg_stat_progress_create_index").fetchone() == (0,)
    assert {row[:2] for row in seen} == {("items", "items_at")}
    phases = ["loading tuples"] if method == "hnsw" else ["performing k-means", "assigning tuples"]
    assert f"building index: {phases[0]}" in {row[2] for row in seen}
    assert all(0 <= done <= total == len(vectors) for _, _, _, done, total in seen)
    assert [row[3] for row in seen] == sorted(row[3] for row in seen)


@pytest.mark.parametrize("style", ["TEXT", "BINARY"])
def test_psycopg_copy(connection, style):
    connection.execute("CREATE TABLE items (id bigint, embedding vector(16))")
    vectors = np.random.default_rng(5).random((500, 16), dtype=np.float32)
    with connection.cursor().copy(f"COPY items FROM STDIN (FORMAT {style})") as copy:
        copy.set_types(["int8", "vector"])
        for index, vector in enumerate(vectors):
            copy.write_row((index, Vector(vector)))
    found = connection.cursor(binary=True).execute("SELECT embedding FROM items ORDER BY id").fetchall()
    assert np.array_equal(np.array([row[0].to_numpy() for row in found]), vectors)
    nearest = connection.execute("SELECT id FROM items ORDER BY embedding <-> %s LIMIT 1", [Vector(vectors[77])])
    assert nearest.fetchone() == (77,)
    with connection.cursor().copy(f"COPY items TO STDOUT (FORMAT {style})") as copy:
        copy.set_types(["int8", "vector"])
        assert dict(copy.rows())[3] == Vector(vectors[3])


def test_psycopg_errors(connection):
    connection.execute("CREATE TABLE items (embedding vector(3))")
    with pytest.raises(errors.DataException, match="expected 3 dimensions, not 2"):
        connection.execute("INSERT INTO items VALUES (%s)", [Vector([1, 2])])
    with pytest.raises(errors.DataException, match="different vector dimensions 3 and 2"):
        connection.execute("SELECT %s <-> %s", [Vector([1, 2, 3]), Vector([1, 2])])
    with pytest.raises(errors.DataException, match="NaN not allowed in vector"):
        connection.execute("SELECT %b", [Vector([float("nan")])])
    with pytest.raises(errors.InvalidTextRepresentation, match="invalid input syntax for type vector"):
        connection.execute("SELECT '[1,a]'::vector")


def test_psycopg_asynchronous(server):
    async def work():
        async with await psycopg.AsyncConnection.connect(server.url()) as connection:
            await pgvector.psycopg.register_vector_async(connection)
            await connection.execute(CREATE)
            await connection.execute("INSERT INTO items VALUES (1, 'de', %s)", [Vector([1, 2, 3])])
            return await (await connection.execute("SELECT embedding FROM items")).fetchone()

    assert asyncio.run(work()) == (Vector([1, 2, 3]),)


def test_psycopg2_vectors(server):
    connection = psycopg2.connect(server.url())
    pgvector.psycopg2.register_vector(connection)
    with connection, connection.cursor() as cursor:
        cursor.execute(CREATE)
        rows = [(key, lang, Vector(embedding)) for key, lang, embedding in ROWS]
        psycopg2.extras.execute_values(cursor, "INSERT INTO items VALUES %s", rows)
        cursor.execute("SELECT id, embedding FROM items ORDER BY embedding <-> %s LIMIT 2", [np.array([1, 0, 0])])
        assert cursor.fetchall() == [(1, Vector([1, 0, 0])), (2, Vector([0.9, 0.1, 0]))]
        cursor.execute("SELECT id FROM items WHERE lang = 'de' AND id <> %s ORDER BY embedding <=> %s LIMIT 1", [1, Vector([1, 0, 0])])
        assert cursor.fetchone() == (3,)
        cursor.execute("SELECT %s::vector[]", [[Vector([1, 2]), Vector([3])]])
        assert cursor.fetchone() == ([Vector([1, 2]), Vector([3])],)
    connection.close()


def test_asyncpg_vectors(server):
    async def work():
        connection = await asyncpg.connect(server.url())
        await pgvector.asyncpg.register_vector(connection)
        await connection.execute(CREATE)
        rows = [(key, lang, Vector(embedding)) for key, lang, embedding in ROWS]
        await connection.executemany("INSERT INTO items VALUES ($1, $2, $3)", rows[:2])
        await connection.copy_records_to_table("items", records=rows[2:])
        query = "SELECT id, embedding FROM items WHERE lang = $2 ORDER BY embedding <-> $1 LIMIT 2"
        found = await connection.fetch(query, np.array([1, 0, 0]), "en")
        assert [tuple(row) for row in found] == [(2, Vector([0.9, 0.1, 0])), (4, Vector([0, 1, 0.25]))]
        assert await connection.fetchval("SELECT $1::vector", [1, 2]) == Vector([1, 2])
        assert (await connection.fetchval("SELECT avg(embedding) FROM items WHERE id < 3")).to_list()[0] == pytest.approx(0.95)
        await connection.close()

    asyncio.run(work())


def test_asyncpg_pool_registers_every_connection(server):
    async def work():
        async with asyncpg.create_pool(
            server.url(), min_size=2, max_size=2, init=pgvector.asyncpg.register_vector
        ) as pool:
            return await asyncio.gather(*[pool.fetchval("SELECT $1::vector", Vector([n])) for n in range(8)])

    assert asyncio.run(work()) == [Vector([n]) for n in range(8)]


def test_pg8000_vectors(server):
    with pg8000.native.Connection(
        server.user, host=server.host, port=server.port, database=server.database, password=server.password
    ) as connection:
        pgvector.pg8000.register_vector(connection)
        connection.run(CREATE)
        for key, lang, embedding in ROWS:
            connection.run("INSERT INTO items VALUES (:id, :lang, :e)", id=key, lang=lang, e=Vector(embedding))
        query = "SELECT id, embedding FROM items WHERE lang = :lang ORDER BY embedding <-> :q LIMIT 2"
        found = connection.run(query, lang="de", q=np.array([1, 0, 0]))
        assert found == [[1, Vector([1, 0, 0])], [3, Vector([0.5, 0.5, 0])]]
