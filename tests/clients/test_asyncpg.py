"""asyncpg: everything in binary, cursors, COPY in binary, pools."""

import asyncio
import datetime as dt
import io

import asyncpg
import pytest

from samples import UTC


@pytest.fixture
def run(server):
    """Runs a coroutine function with a connection."""

    def runner(work):
        async def connected():
            connection = await asyncpg.connect(server.url())
            try:
                return await work(connection)
            finally:
                await connection.close()

        return asyncio.run(connected())

    return runner


def test_server_version(run):
    async def work(connection):
        return connection.get_server_version(), connection.get_settings().server_encoding

    version, encoding = run(work)
    assert (version.major, encoding) == (16, "UTF8")


def test_intervals_and_times_at_their_ends(run):
    async def work(connection):
        return await connection.fetchrow(
            "SELECT $1::interval, $2::timestamptz, $3::date, $4::timestamp, $5::time, "
            "'1 year 2 mons'::interval",
            dt.timedelta(days=-1, seconds=1),
            dt.datetime(9999, 12, 30, tzinfo=UTC),
            dt.date.min,
            dt.datetime.min,
            dt.time(0),
        )

    row = run(work)
    assert row[0] == dt.timedelta(days=-1, seconds=1)
    assert (row[1], row[2], row[3], row[4]) == (
        dt.datetime(9999, 12, 30, tzinfo=UTC), dt.date.min, dt.datetime.min, dt.time(0)
    )  # fmt: skip
    assert row[5] == dt.timedelta(days=425)


def test_transactions_and_savepoints(run):
    async def work(connection):
        await connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(asyncpg.UniqueViolationError) as caught:
                async with connection.transaction():
                    await connection.execute("INSERT INTO t VALUES (2)")
                    await connection.execute("INSERT INTO t VALUES (1)")
            assert (caught.value.sqlstate, caught.value.constraint_name) == ("23505", "t_pkey")
            async with connection.transaction():
                await connection.execute("INSERT INTO t VALUES (3)")
        transaction = connection.transaction(isolation="repeatable_read", readonly=True)
        await transaction.start()
        assert await connection.fetchval("SHOW transaction_isolation") == "repeatable read"
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("INSERT INTO t VALUES (4)")
        await transaction.rollback()
        return await connection.fetch("SELECT id FROM t ORDER BY id")

    assert run(work) == [(1,), (3,)]


ERRORS = [
    ("SELECT * FROM missing", asyncpg.UndefinedTableError),
    ("SELECT missing", asyncpg.UndefinedColumnError),
    ("SELECT missing()", asyncpg.UndefinedFunctionError),
    ("SELEC", asyncpg.PostgresSyntaxError),
    ("INSERT INTO t VALUES (1, 'x')", asyncpg.UniqueViolationError),
    ("INSERT INTO t VALUES (2, NULL)", asyncpg.NotNullViolationError),
    ("INSERT INTO t VALUES (-1, 'x')", asyncpg.CheckViolationError),
    ("SELECT 1 / 0", asyncpg.DivisionByZeroError),
    ("CREATE TABLE t (id int)", asyncpg.DuplicateTableError),
]


@pytest.mark.parametrize("statement, kind", ERRORS, ids=[statement for statement, _ in ERRORS])
def test_error_classes(run, statement, kind):
    async def work(connection):
        await connection.execute("CREATE TABLE t (id int PRIMARY KEY CHECK (id > 0), body text NOT NULL)")
        await connection.execute("INSERT INTO t VALUES (1, 'one')")
        with pytest.raises(kind):
            await connection.execute(statement)
        with pytest.raises(kind):
            await connection.fetch(statement)
        assert await connection.fetchval("SELECT 1") == 1

    run(work)


def test_executemany(run):
    async def work(connection):
        await connection.execute("CREATE TABLE t (id int PRIMARY KEY, body text)")
        await connection.executemany("INSERT INTO t VALUES ($1, $2)", [(n, f"row {n}") for n in range(1000)])
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.executemany("INSERT INTO t VALUES ($1, $2)", [(2000, "a"), (1, "b")])
        found = await connection.fetchmany("SELECT body FROM t WHERE id = $1", [(1,), (999,)])
        assert [row["body"] for row in found] == ["row 1", "row 999"]
        return await connection.fetchval("SELECT count(*) FROM t")

    assert run(work) == 1000


def test_cursors(run):
    async def work(connection):
        async with connection.transaction():
            query = "SELECT g FROM generate_series(1, 500) g WHERE g > $1 ORDER BY g"
            rows = [row["g"] async for row in connection.cursor(query, 100, prefetch=30)]
            assert rows == list(range(101, 501))
            cursor = await connection.cursor(query, 490)
            assert [row["g"] for row in await cursor.fetch(3)] == [491, 492, 493]
            assert await cursor.forward(2) == 2
            assert (await cursor.fetchrow())["g"] == 496
            assert len(await cursor.fetch(100)) == 4

    run(work)


def test_copy(run):
    async def work(connection):
        await connection.execute("CREATE TABLE t (id int8, body text, at timestamptz, tags text[], n numeric(12,3))")
        rows = [
            (n, f"row {n}" if n % 3 else None, dt.datetime(2024, 1, 1, n % 24, tzinfo=UTC), ["a", str(n)], n)
            for n in range(2000)
        ]
        assert await connection.copy_records_to_table("t", records=rows) == "COPY 2000"
        found = await connection.fetch("SELECT id, body, at, tags, n FROM t ORDER BY id")
        assert [tuple(row) for row in found] == rows
        out = io.BytesIO()
        assert await connection.copy_from_query(
            "SELECT id, body FROM t WHERE id < $1 ORDER BY id", 4, output=out, format="csv", header=True
        ) == "COPY 4"  # fmt: skip
        assert out.getvalue() == b"id,body\n0,\n1,row 1\n2,row 2\n3,\n"
        await connection.execute("CREATE TABLE again (id int8, body text)")
        result = await connection.copy_to_table("again", source=io.BytesIO(out.getvalue()), format="csv", header=True)
        assert result == "COPY 4"
        binary = io.BytesIO()
        assert await connection.copy_from_table("t", output=binary, format="binary") == "COPY 2000"
        await connection.execute("TRUNCATE t")
        binary.seek(0)
        assert await connection.copy_to_table("t", source=binary, format="binary") == "COPY 2000"
        assert await connection.fetch("SELECT id, body, at, tags, n FROM t ORDER BY id") == found
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.copy_records_to_table("missing", records=rows)

    run(work)


def test_pool_and_reset(server):
    async def work():
        async with asyncpg.create_pool(server.url(), min_size=1, max_size=3) as pool:
            async with pool.acquire() as connection:
                await connection.execute("SET work_mem = '77MB'")
                await connection.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
                await connection.execute("INSERT INTO t VALUES (1, 0)")
            async with pool.acquire() as connection:
                assert await connection.fetchval("SHOW work_mem") != "77MB"
            add = "UPDATE t SET n = n + 1 WHERE id = 1"
            await asyncio.gather(*[pool.execute(add) for _ in range(30)])
            return await pool.fetchval("SELECT n FROM t")

    assert asyncio.run(work()) == 30


def test_timeout_cancels_the_statement(run):
    async def work(connection):
        with pytest.raises(asyncio.TimeoutError):
            await connection.fetch("SELECT pg_sleep(30)", timeout=0.3)
        return await connection.fetchval("SELECT 1")

    assert run(work) == 1
