"""psycopg 3: text and binary parameters and results, prepared statements, pipeline, COPY, cursors, errors."""

import asyncio
import datetime as dt
from decimal import Decimal

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.rows import dict_row, namedtuple_row
from psycopg.types.json import Json, Jsonb
from psycopg.types.numeric import Int4, Int8

from samples import DOCUMENT, SAMPLES, UTC, column_names, column_values, create_table


@pytest.fixture
def connection(server):
    with psycopg.connect(server.url(), autocommit=True) as connection:
        yield connection


@pytest.fixture(params=[False, True], ids=["text", "binary"])
def binary(request):
    return request.param


def test_server_information(connection):
    info = connection.info
    assert info.server_version // 10000 == 16
    assert info.parameter_status("server_encoding") == "UTF8"
    assert info.parameter_status("standard_conforming_strings") == "on"
    assert info.parameter_status("integer_datetimes") == "on"
    assert info.encoding == "utf-8"
    assert info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert info.backend_pid > 0


@pytest.mark.parametrize("mark", ["%s", "%t", "%b"])
def test_every_type_as_parameter_and_result(connection, binary, mark):
    connection.execute(create_table())
    marks = ", ".join(["%s"] + [mark] * len(SAMPLES) + ["%s", "%s"])
    row = [1, *column_values(), Json(DOCUMENT), Jsonb(DOCUMENT)]
    connection.execute(f"INSERT INTO samples VALUES ({marks})", row)
    cursor = connection.cursor(binary=binary)
    found = cursor.execute("SELECT * FROM samples").fetchone()
    assert [column.name for column in cursor.description] == column_names()
    for (name, _, wanted), got in zip(SAMPLES, found[1:]):
        assert got == wanted and type(got) is type(wanted), name
    assert found[-2:] == (DOCUMENT, DOCUMENT)


def test_type_codes_and_modifiers(connection):
    cursor = connection.execute(
        "SELECT 1::int2, 1::int8, 'a'::varchar(7), 1::numeric(9,3), now(), '{1}'::int[], '{}'::jsonb, 'a'::text"
    )
    assert [column.type_code for column in cursor.description] == [21, 20, 1043, 1700, 1184, 1007, 3802, 25]
    assert cursor.description[2].display_size == 7
    assert (cursor.description[3].precision, cursor.description[3].scale) == (9, 3)


def test_nulls(connection, binary):
    connection.execute(create_table())
    connection.execute("INSERT INTO samples (id) VALUES (1)")
    marks = ", ".join(["%s"] * len(column_names()))
    connection.execute(f"INSERT INTO samples VALUES ({marks})", [2] + [None] * (len(SAMPLES) + 2))
    rows = connection.cursor(binary=binary).execute("SELECT * FROM samples ORDER BY id").fetchall()
    assert [row[1:] for row in rows] == [(None,) * (len(SAMPLES) + 2)] * 2


def test_special_values(connection, binary):
    cursor = connection.cursor(binary=binary)
    row = cursor.execute(
        "SELECT 'NaN'::float8, 'Infinity'::float8, '-Infinity'::real, '1e-300'::float8, 'infinity'::float4"
    ).fetchone()
    assert str(row[0]) == "nan"
    assert row[1:] == (float("inf"), float("-inf"), 1e-300, float("inf"))
    assert cursor.execute("SELECT ''::text, ''::bytea, '{}'::text[]").fetchone() == ("", b"", [])
    assert cursor.execute("SELECT '{NULL,a,\"NULL\"}'::text[]").fetchone() == ([None, "a", "NULL"],)


def test_numbers_from_python(connection, binary):
    cursor = connection.cursor(binary=binary)
    cursor.execute("CREATE TABLE numbers (i bigint, d numeric(30,10), f float8)")
    for value in [0, 1, -1, 2**15, 2**31, -(2**63), 2**63 - 1]:
        assert cursor.execute("INSERT INTO numbers (i) VALUES (%s) RETURNING i", [value]).fetchone() == (value,)
    for value in ["0", "1.5", "-123456789.0123456789", "12345678901234567890"]:
        row = cursor.execute("INSERT INTO numbers (d) VALUES (%b) RETURNING d", [Decimal(value)]).fetchone()
        assert row == (Decimal(value),)


def test_untyped_strings_take_the_columns_type(connection, binary):
    cursor = connection.cursor(binary=binary)
    cursor.execute("CREATE TABLE t (id bigint, day date, at timestamptz, amount numeric(8,2))")
    row = cursor.execute(
        "INSERT INTO t VALUES (%s, %s, %s, %s) RETURNING *", ["7", "2024-02-29", "2024-01-01 12:00+02", "3.50"]
    ).fetchone()
    assert row == (7, dt.date(2024, 2, 29), dt.datetime(2024, 1, 1, 10, tzinfo=UTC), Decimal("3.50"))


def test_time_zones(connection, binary):
    connection.execute("SET TimeZone TO 'Europe/Berlin'")
    cursor = connection.cursor(binary=binary)
    (summer,) = cursor.execute("SELECT '2024-07-01 12:00+00'::timestamptz").fetchone()
    assert summer.utcoffset() == dt.timedelta(hours=2)
    assert summer == dt.datetime(2024, 7, 1, 12, tzinfo=UTC)
    (winter,) = cursor.execute("SELECT %s::timestamptz", ["2024-01-01 12:00"]).fetchone()
    assert winter == dt.datetime(2024, 1, 1, 11, tzinfo=UTC)
    cursor.execute("SELECT %s::timestamptz AT TIME ZONE 'Asia/Kolkata'", [winter])
    assert cursor.fetchone() == (dt.datetime(2024, 1, 1, 16, 30),)


def test_parameter_types_given_and_inferred(connection):
    assert connection.execute("SELECT %s + %s", [Int8(2), Int8(3)]).fetchone() == (5,)
    assert connection.execute("SELECT %s::text || %s", ["a", "b"]).fetchone() == ("ab",)
    assert connection.execute("SELECT %(x)s::int + %(x)s", {"x": Int4(4)}).fetchone() == (8,)
    assert connection.execute("SELECT %s", ["text"]).fetchone() == ("text",)
    assert connection.execute("SELECT %s = ANY(%s)", [2, [1, 2, 3]]).fetchone() == (True,)


def test_prepared_statements(connection):
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, body text)")
    for index in range(10):
        connection.execute("INSERT INTO t VALUES (%s, %s)", [index, f"row {index}"], prepare=True)
    assert connection.execute("SELECT body FROM t WHERE id = %s", [7], prepare=True).fetchone() == ("row 7",)
    connection.execute("ALTER TABLE t ADD COLUMN more int")
    assert connection.execute("SELECT count(*) FROM t WHERE id < %s", [5], prepare=True).fetchone() == (5,)


def test_prepared_by_default_after_five_uses(connection):
    connection.prepare_threshold = 5
    for index in range(12):
        assert connection.execute("SELECT %s::int * 2", [index]).fetchone() == (index * 2,)


def test_transactions(server, connection):
    connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with psycopg.connect(server.url()) as other:
        other.execute("INSERT INTO t VALUES (1)")
        assert other.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
        other.rollback()
        other.execute("INSERT INTO t VALUES (2)")
        other.commit()
        assert connection.execute("SELECT id FROM t").fetchall() == [(2,)]


def test_failed_transaction(connection):
    connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with pytest.raises(errors.DivisionByZero):
        with connection.transaction():
            connection.execute("INSERT INTO t VALUES (1)")
            connection.execute("SELECT 1 / 0")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    connection.execute("BEGIN")
    with pytest.raises(errors.UndefinedTable):
        connection.execute("SELECT * FROM missing")
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
    with pytest.raises(errors.InFailedSqlTransaction):
        connection.execute("SELECT 1")
    connection.execute("ROLLBACK")
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_savepoints(connection):
    connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with connection.transaction():
        connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(errors.UniqueViolation):
            with connection.transaction():
                connection.execute("INSERT INTO t VALUES (2)")
                connection.execute("INSERT INTO t VALUES (1)")
        with connection.transaction("named"):
            connection.execute("INSERT INTO t VALUES (3)")
        with connection.transaction() as inner:
            connection.execute("INSERT INTO t VALUES (4)")
            raise psycopg.Rollback(inner)
    assert connection.execute("SELECT id FROM t ORDER BY id").fetchall() == [(1,), (3,)]


def test_isolation_levels(server):
    with psycopg.connect(server.url()) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        assert connection.execute("SHOW transaction_isolation").fetchone() == ("repeatable read",)
        connection.rollback()
        connection.read_only = True
        with pytest.raises(errors.ReadOnlySqlTransaction):
            connection.execute("CREATE TABLE t (id int)")


ERRORS = [
    ("SELECT * FROM missing", errors.UndefinedTable),
    ("SELECT missing FROM t", errors.UndefinedColumn),
    ("SELECT missing(1)", errors.UndefinedFunction),
    ("SELECT 'a'::missing", errors.UndefinedObject),
    ("SELEC 1", errors.SyntaxError),
    ("CREATE TABLE t (id int)", errors.DuplicateTable),
    ("ALTER TABLE t ADD COLUMN body text", errors.DuplicateColumn),
    ("INSERT INTO t VALUES (1, 'again')", errors.UniqueViolation),
    ("INSERT INTO t VALUES (NULL, 'x')", errors.NotNullViolation),
    ("INSERT INTO t VALUES (-1, 'x')", errors.CheckViolation),
    ("INSERT INTO t VALUES (2, 'longer than ten characters')", errors.StringDataRightTruncation),
    ("INSERT INTO t VALUES (99999999999, 'x')", errors.NumericValueOutOfRange),
    ("SELECT 'x'::int", errors.InvalidTextRepresentation),
    ("SELECT '2024-13-01'::date", errors.DatetimeFieldOverflow),
    ("SELECT 'nonsense'::date", errors.InvalidDatetimeFormat),
    ("SELECT 1 / 0", errors.DivisionByZero),
    ("SELECT 2147483647 + 1", errors.NumericValueOutOfRange),
    ("SELECT id, count(*) FROM t", errors.GroupingError),
    ("SELECT id FROM t a, t b", errors.AmbiguousColumn),
    ("SELECT (SELECT g FROM generate_series(1, 2) g)", errors.CardinalityViolation),
    ("SELECT 'a' + 'b'::text", errors.UndefinedFunction),
    ("SET missing_setting = 1", errors.UndefinedObject),
    ("SELECT '[1,2]'::vector <-> '[1,2,3]'::vector", errors.DataException),
    ("SELECT '[1,x]'::vector", errors.InvalidTextRepresentation),
]


@pytest.mark.parametrize("statement, kind", ERRORS, ids=[statement for statement, _ in ERRORS])
def test_error_classes(connection, statement, kind):
    connection.execute("CREATE TABLE t (id int PRIMARY KEY CHECK (id > 0), body varchar(10))")
    connection.execute("INSERT INTO t VALUES (1, 'one')")
    with pytest.raises(kind) as caught:
        connection.execute(statement)
    assert type(caught.value) is kind
    assert caught.value.diag.severity == "ERROR"
    assert caught.value.diag.sqlstate == kind.sqlstate


def test_error_fields(connection):
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, body text NOT NULL, CONSTRAINT positive CHECK (id > 0))")
    connection.execute("INSERT INTO t VALUES (1, 'one')")
    with pytest.raises(errors.UniqueViolation) as caught:
        connection.execute("INSERT INTO t VALUES (%s, %s)", [1, "again"])
    diag = caught.value.diag
    assert diag.message_primary == 'duplicate key value violates unique constraint "t_pkey"'
    assert diag.message_detail == "Key (id)=(1) already exists."
    assert (diag.schema_name, diag.table_name, diag.constraint_name) == ("public", "t", "t_pkey")
    with pytest.raises(errors.NotNullViolation) as caught:
        connection.execute("INSERT INTO t VALUES (2, NULL)")
    assert (caught.value.diag.table_name, caught.value.diag.column_name) == ("t", "body")
    with pytest.raises(errors.CheckViolation) as caught:
        connection.execute("INSERT INTO t VALUES (-1, 'x')")
    assert caught.value.diag.constraint_name == "positive"


@pytest.mark.parametrize(
    "statement, position",
    [
        ("SELECT 'é', nosuch FROM t", 13),
        ("  SELECT t.nosuch FROM t", 10),
        ("SELECT id\nFROM nosuch", 16),
        ("SELECT id FROM t WHERE body <-> id", 29),
        ("SELECT nosuch(id) FROM t", 8),
        ("SELECT id FROM t WHERE id = 'a'", 29),
        ("SELECT id, count(*) FROM t", 8),
        ("INSERT INTO t (nosuch) VALUES (1)", 16),
        ("UPDATE t SET nosuch = 1", 14),
        ("SELECT 1::nosuch", 11),
        ("SELECT 1; SELECT nosuch", 18),
        ("TRUNCATE nosuch", None),
    ],
)
def test_error_positions(connection, statement, position):
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, body text)")
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(statement)
    found = caught.value.diag.statement_position
    assert found == (None if position is None else str(position))


def test_missing_function_names_its_types(connection):
    with pytest.raises(errors.UndefinedFunction, match=r"function nosuch\(integer, unknown, text\) does not exist"):
        connection.execute("SELECT abs(nosuch(1, 'a', 'b'::text))")


def test_columns_say_their_table(connection):
    connection.execute("CREATE TABLE t (gone int, id int PRIMARY KEY, body text)")
    connection.execute("ALTER TABLE t DROP COLUMN gone")
    table = connection.execute("SELECT 't'::regclass::oid").fetchone()[0]

    def origins(statement):
        result = connection.execute(statement).pgresult
        return [(result.ftable(it), result.ftablecol(it)) for it in range(result.nfields)]

    assert origins("SELECT body AS b, id, id + 1, 't' FROM t ORDER BY 1") == [(table, 3), (table, 2), (0, 0), (0, 0)]
    inner = "(SELECT id, max(body) AS m FROM t GROUP BY id) s"
    assert origins(f"SELECT s.*, t.body FROM {inner} JOIN t USING (id)") == [(table, 2), (0, 0), (table, 3)]
    assert origins("SELECT id FROM t UNION SELECT id FROM t") == [(0, 0)]
    # A statement stays prepared when its table is made anew.
    connection.execute("SELECT id FROM t", prepare=True)
    connection.execute("DROP TABLE t")
    connection.execute("CREATE TABLE t (id int)")
    assert connection.execute("SELECT id FROM t", prepare=True).fetchall() == []


def test_executemany(connection):
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t (id int PRIMARY KEY, body text)")
    cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(index, f"row {index}") for index in range(100)])
    assert cursor.rowcount == 100
    cursor.executemany("DELETE FROM t WHERE id = %s RETURNING id", [(1,), (2,), (1000,)], returning=True)
    assert [result.fetchall() for result in cursor.results()] == [[(1,)], [(2,)], []]
    with pytest.raises(errors.UniqueViolation):
        cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(200, "a"), (3, "b"), (201, "c")])
    assert cursor.execute("SELECT count(*) FROM t WHERE id >= 200").fetchone() == (0,)


def test_pipeline(connection):
    with connection.pipeline() as pipeline:
        connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
        cursors = [connection.execute("INSERT INTO t VALUES (%s) RETURNING id", [index]) for index in range(20)]
        pipeline.sync()
        assert [cursor.fetchone() for cursor in cursors] == [(index,) for index in range(20)]
        connection.execute("INSERT INTO t VALUES (100)")
        with pytest.raises(errors.UniqueViolation):
            connection.execute("INSERT INTO t VALUES (1)")
            pipeline.sync()
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (20,)


def test_pipeline_with_transactions(connection):
    connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with connection.pipeline():
        with connection.transaction():
            connection.execute("INSERT INTO t VALUES (1)")
            with connection.transaction():
                connection.execute("INSERT INTO t VALUES (2)")
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)


@pytest.mark.parametrize("style", ["TEXT", "BINARY", "CSV"])
def test_copy_out_and_in(connection, style):
    connection.execute(create_table())
    marks = ", ".join(["%s"] * len(column_names()))
    connection.execute(f"INSERT INTO samples VALUES ({marks})", [1, *column_values(), Json(DOCUMENT), Jsonb(DOCUMENT)])
    connection.execute("INSERT INTO samples (id) VALUES (2)")
    with connection.cursor().copy(f"COPY samples TO STDOUT (FORMAT {style})") as out:
        data = [bytes(block) for block in out]
    connection.execute(create_table("again"))
    cursor = connection.cursor()
    with cursor.copy(f"COPY again FROM STDIN (FORMAT {style})") as into:
        for block in data:
            into.write(block)
    assert cursor.rowcount == 2
    compared = [name for name in column_names() if name != "c_json"]
    select = f"SELECT {', '.join(compared)}, c_json::text FROM "
    wanted = connection.execute(select + "samples ORDER BY id").fetchall()
    assert connection.execute(select + "again ORDER BY id").fetchall() == wanted


@pytest.mark.parametrize("style", ["TEXT", "BINARY"])
def test_copy_rows(connection, style):
    connection.execute("CREATE TABLE t (id int8, body text, at timestamptz, tags text[], data jsonb)")
    rows = [
        (index, f"row\t{index}\n", dt.datetime(2024, 1, 1, index % 24, tzinfo=UTC), ["a", f"b,{index}"], {"i": index})
        for index in range(1000)
    ]
    types = ["int8", "text", "timestamptz", "text[]", "jsonb"]
    with connection.cursor().copy(f"COPY t FROM STDIN (FORMAT {style})") as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row((*row[:4], Jsonb(row[4])))
    assert connection.execute("SELECT * FROM t ORDER BY id").fetchall() == rows
    with connection.cursor().copy(f"COPY (SELECT * FROM t ORDER BY id) TO STDOUT (FORMAT {style})") as copy:
        copy.set_types(types)
        assert list(copy.rows()) == rows


def test_copy_that_fails(connection):
    connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
    with pytest.raises(errors.InvalidTextRepresentation):
        with connection.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write("1\nx\n")
    with pytest.raises(ZeroDivisionError):
        with connection.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write_row([1])
            raise ZeroDivisionError
    with pytest.raises(errors.UniqueViolation):
        with connection.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write("1\n1\n")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_server_side_cursors(server, binary):
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE t (id int)")
        connection.execute("INSERT INTO t SELECT * FROM generate_series(1, 1000)")
        with connection.cursor("first", binary=binary) as cursor:
            cursor.itersize = 100
            cursor.execute("SELECT id FROM t ORDER BY id")
            assert cursor.fetchone() == (1,)
            assert cursor.fetchmany(3) == [(2,), (3,), (4,)]
            assert sum(row[0] for row in cursor) == sum(range(5, 1001))
        with connection.cursor("second", scrollable=True) as cursor:
            cursor.execute("SELECT id FROM t WHERE id > 500 ORDER BY id")
            cursor.scroll(10)
            assert cursor.fetchone() == (511,)
            cursor.scroll(-11)
            assert cursor.fetchone() == (501,)
            cursor.scroll(499, mode="absolute")
            assert cursor.fetchall() == [(1000,)]


def test_cursor_with_hold(connection):
    connection.execute("CREATE TABLE t (id int)")
    connection.execute("INSERT INTO t SELECT * FROM generate_series(1, 10)")
    cursor = connection.cursor("held", withhold=True)
    cursor.execute("SELECT id FROM t ORDER BY id")
    connection.execute("DELETE FROM t")
    assert [row[0] for row in cursor] == list(range(1, 11))
    cursor.close()


def test_streaming_single_rows(connection):
    rows = list(connection.cursor().stream("SELECT g FROM generate_series(1, 500) g"))
    assert rows == [(index,) for index in range(1, 501)]


def test_client_cursor_and_several_statements(connection):
    cursor = psycopg.ClientCursor(connection)
    cursor.execute(
        "CREATE TABLE t (id int, body text); INSERT INTO t VALUES (%s, %s); SELECT * FROM t; DELETE FROM t",
        [1, "it's \\ here"],
    )
    assert cursor.statusmessage == "CREATE TABLE"
    assert [cursor.nextset(), cursor.statusmessage] == [True, "INSERT 0 1"]
    assert [cursor.nextset(), cursor.fetchall()] == [True, [(1, "it's \\ here")]]
    assert [cursor.nextset(), cursor.statusmessage] == [True, "DELETE 1"]
    assert cursor.nextset() is None
    with pytest.raises(errors.DivisionByZero):
        cursor.execute("INSERT INTO t VALUES (2, 'b'); SELECT 1 / 0")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_row_factories_and_composed_sql(connection):
    connection.execute('CREATE TABLE "Mixed Case" ("Some Column" int, other text)')
    insert = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier("Mixed Case"), sql.Identifier("Some Column"), sql.Placeholder()
    )
    connection.execute(insert, [3])
    cursor = connection.cursor(row_factory=dict_row)
    assert cursor.execute('SELECT * FROM "Mixed Case"').fetchall() == [{"Some Column": 3, "other": None}]
    cursor = connection.cursor(row_factory=namedtuple_row)
    assert cursor.execute("SELECT 1 AS a, 'x' AS b").fetchone()._asdict() == {"a": 1, "b": "x"}


def test_json_operators(connection, binary):
    cursor = connection.cursor(binary=binary)
    cursor.execute("CREATE TABLE t (id int, data jsonb)")
    cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(1, Jsonb({"a": 1, "b": [1, 2]})), (2, Jsonb({"a": 2}))])
    assert cursor.execute("SELECT id FROM t WHERE data @> %s", [Jsonb({"a": 1})]).fetchall() == [(1,)]
    assert cursor.execute("SELECT data -> 'b' -> 1, data ->> 'a' FROM t WHERE id = 1").fetchone() == (2, "1")
    assert cursor.execute("SELECT id FROM t WHERE data ? 'b'").fetchall() == [(1,)]


def test_notices_and_cancel(server, connection):
    notices = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    connection.execute("DROP TABLE IF EXISTS missing")
    assert notices == ['table "missing" does not exist, skipping']
    connection.execute("SET statement_timeout = '100ms'")
    with pytest.raises(errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(30)")
    connection.execute("RESET statement_timeout")
    with pytest.raises(errors.QueryCanceled):
        asyncio.run(cancelled(server))


async def cancelled(server):
    async with await psycopg.AsyncConnection.connect(server.url()) as connection:
        task = asyncio.create_task(connection.execute("SELECT pg_sleep(30)"))
        await asyncio.sleep(0.2)
        await connection.cancel_safe()
        await task


def test_asynchronous_connection(server):
    async def work():
        async with await psycopg.AsyncConnection.connect(server.url()) as connection:
            await connection.execute("CREATE TABLE t (id int PRIMARY KEY, body text)")
            async with connection.cursor() as cursor:
                await cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(1, "a"), (2, "b")])
                await cursor.execute("SELECT * FROM t ORDER BY id")
                return await cursor.fetchall()

    assert asyncio.run(work()) == [(1, "a"), (2, "b")]


def test_upsert_and_returning(connection):
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0, body text)")
    upsert = (
        "INSERT INTO t (id, body) VALUES (%s, %s) ON CONFLICT (id) "
        "DO UPDATE SET body = EXCLUDED.body, n = t.n + 1 RETURNING id, n, body"
    )
    assert connection.execute(upsert, [1, "a"]).fetchone() == (1, 0, "a")
    assert connection.execute(upsert, [1, "b"]).fetchone() == (1, 1, "b")
    nothing = connection.execute("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING")
    assert (nothing.rowcount, nothing.statusmessage) == (0, "INSERT 0 0")
    updated = connection.execute("UPDATE t SET n = n * 10 WHERE id = %s RETURNING n", [1])
    assert updated.fetchall() == [(10,)]
