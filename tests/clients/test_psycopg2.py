"""psycopg2: values written into the statement's text, COPY, named cursors, errors, batches."""

import io

import psycopg2
import psycopg2.extras
import pytest
from psycopg2 import errors, extensions, sql

from samples import DOCUMENT, SAMPLES, column_names, column_values, create_table

psycopg2.extras.register_uuid()


@pytest.fixture
def connection(server):
    connection = psycopg2.connect(server.url())
    connection.autocommit = True
    yield connection
    connection.close()


@pytest.fixture
def cursor(connection):
    with connection.cursor() as cursor:
        yield cursor


def as_python(value):
    return bytes(value) if isinstance(value, memoryview) else value


def insert_samples(cursor, key):
    row = [key, *column_values(), psycopg2.extras.Json(DOCUMENT), psycopg2.extras.Json(DOCUMENT)]
    casts = ["%s"] + [f"CAST(%s AS {kind})" for _, kind, _ in SAMPLES] + ["%s", "%s"]
    cursor.execute(f"INSERT INTO samples VALUES ({', '.join(casts)})", row)


def test_every_type_as_parameter_and_result(connection, cursor):
    psycopg2.extras.register_uuid(conn_or_curs=connection)
    cursor.execute(create_table())
    insert_samples(cursor, 1)
    cursor.execute("SELECT * FROM samples")
    found = cursor.fetchone()
    assert [column.name for column in cursor.description] == column_names()
    for (name, _, wanted), got in zip(SAMPLES, found[1:]):
        assert as_python(got) == wanted, name
    assert found[-2:] == (DOCUMENT, DOCUMENT)


def test_nulls(cursor):
    cursor.execute(create_table())
    cursor.execute("INSERT INTO samples (id) VALUES (1)")
    cursor.execute("SELECT * FROM samples")
    assert cursor.fetchone() == (1,) + (None,) * (len(SAMPLES) + 2)


def test_literals_are_quoted_as_the_server_reads_them(cursor):
    cursor.execute("SELECT %s, %s, %s", ["it's", "back\\slash", "line\nbreak"])
    assert cursor.fetchone() == ("it's", "back\\slash", "line\nbreak")
    cursor.execute("SELECT %s, %s, %s", [float("nan"), float("inf"), b"\x00\\\xff"])
    nan, infinite, data = cursor.fetchone()
    assert (str(nan), infinite, bytes(data)) == ("nan", float("inf"), b"\x00\\\xff")
    cursor.execute("SELECT 1 IN %s, 'b' = ANY(%s), %s", [(1, 2), ["a", "b"], [None, "NULL", 'q"']])
    assert cursor.fetchone() == (True, True, [None, "NULL", 'q"'])


def test_description(cursor):
    cursor.execute("SELECT 1 AS n, 'a'::varchar(7) AS v, 1::numeric(9,3) AS d, now() AS t")
    assert [(column.name, column.type_code) for column in cursor.description] == [
        ("n", 23), ("v", 1043), ("d", 1700), ("t", 1184)
    ]  # fmt: skip
    assert (cursor.description[2].precision, cursor.description[2].scale) == (9, 3)
    assert cursor.statusmessage == "SELECT 1"


def test_transactions_and_savepoints(server):
    connection = psycopg2.connect(server.url())
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY)")
        cursor.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(errors.UniqueViolation) as caught:
        with connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (2)")
            cursor.execute("INSERT INTO t VALUES (1)")
    assert caught.value.pgcode == "23505"
    assert caught.value.diag.constraint_name == "t_pkey"
    assert connection.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE
    with connection, connection.cursor() as cursor:
        cursor.execute("SAVEPOINT one")
        with pytest.raises(errors.UndefinedTable):
            cursor.execute("SELECT * FROM missing")
        with pytest.raises(errors.InFailedSqlTransaction):
            cursor.execute("SELECT 1")
        cursor.execute("ROLLBACK TO SAVEPOINT one")
        cursor.execute("INSERT INTO t VALUES (3)")
        cursor.execute("RELEASE SAVEPOINT one")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM t ORDER BY id")
        assert cursor.fetchall() == [(1,), (3,)]
    connection.close()


def test_session_characteristics(connection, cursor):
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True, autocommit=False)
    cursor.execute("SHOW transaction_isolation")
    assert cursor.fetchone() == ("repeatable read",)
    with pytest.raises(errors.ReadOnlySqlTransaction):
        cursor.execute("CREATE TABLE t (id int)")
    connection.rollback()
    connection.set_session(isolation_level="DEFAULT", readonly="DEFAULT", autocommit=True)


ERRORS = [
    ("SELECT * FROM missing", errors.UndefinedTable, psycopg2.ProgrammingError),
    ("SELECT missing", errors.UndefinedColumn, psycopg2.ProgrammingError),
    ("SELEC", errors.SyntaxError, psycopg2.ProgrammingError),
    ("INSERT INTO t VALUES (1, 'x')", errors.UniqueViolation, psycopg2.IntegrityError),
    ("INSERT INTO t VALUES (2, NULL)", errors.NotNullViolation, psycopg2.IntegrityError),
    ("SELECT 1 / 0", errors.DivisionByZero, psycopg2.DataError),
    ("SELECT 'x'::int", errors.InvalidTextRepresentation, psycopg2.DataError),
]


@pytest.mark.parametrize("statement, kind, base", ERRORS, ids=[statement for statement, _, _ in ERRORS])
def test_error_classes(cursor, statement, kind, base):
    cursor.execute("CREATE TABLE t (id int PRIMARY KEY, body text NOT NULL)")
    cursor.execute("INSERT INTO t VALUES (1, 'one')")
    with pytest.raises(kind) as caught:
        cursor.execute(statement)
    assert isinstance(caught.value, base)
    assert caught.value.diag.severity == "ERROR"


def test_batches(cursor):
    cursor.execute("CREATE TABLE t (id int PRIMARY KEY, body text)")
    cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(1, "a"), (2, "b")])
    psycopg2.extras.execute_batch(cursor, "INSERT INTO t VALUES (%s, %s)", [(n, str(n)) for n in range(10, 260)])
    rows = psycopg2.extras.execute_values(
        cursor, "INSERT INTO t VALUES %s RETURNING id", [(n, str(n)) for n in range(300, 550)], fetch=True
    )
    assert rows == [(n,) for n in range(300, 550)]
    cursor.execute("SELECT count(*), min(id), max(id) FROM t")
    assert cursor.fetchone() == (502, 1, 549)


def test_copy(cursor):
    cursor.execute("CREATE TABLE t (id int, body text, amount numeric(10,2))")
    cursor.copy_from(io.StringIO("1\tone\t1.50\n2\t\\N\t-0.01\n"), "t", columns=("id", "body", "amount"))
    assert cursor.rowcount == 2
    cursor.copy_expert("COPY t FROM STDIN WITH (FORMAT csv, HEADER)", io.StringIO('id,body,amount\n3,"a, ""b""",\n'))
    out = io.StringIO()
    cursor.copy_to(out, "t", sep="|", null="-")
    assert out.getvalue() == '1|one|1.50\n2|-|-0.01\n3|a, "b"|-\n'
    out = io.StringIO()
    cursor.copy_expert("COPY (SELECT id, body FROM t ORDER BY id DESC) TO STDOUT WITH CSV HEADER", out)
    assert out.getvalue() == 'id,body\n3,"a, ""b"""\n2,\n1,one\n'
    with pytest.raises(errors.BadCopyFileFormat):
        cursor.copy_from(io.StringIO("1\n"), "t", columns=("id", "body"))


def test_named_cursors(server):
    connection = psycopg2.connect(server.url())
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 1000) g")
    with connection, connection.cursor("stream") as cursor:
        cursor.itersize = 64
        cursor.execute("SELECT id FROM t WHERE id > %s ORDER BY id", [10])
        assert cursor.fetchone() == (11,)
        assert cursor.fetchmany(2) == [(12,), (13,)]
        assert len(list(cursor)) == 987
    with connection, connection.cursor("back", scrollable=True) as cursor:
        cursor.execute("SELECT id FROM t ORDER BY id")
        cursor.scroll(99, mode="absolute")
        assert cursor.fetchone() == (100,)
        cursor.scroll(-51)
        assert cursor.fetchone() == (50,)
    connection.close()


def test_several_statements_at_once(cursor):
    cursor.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2); SELECT count(*) FROM t")
    assert cursor.fetchone() == (2,)


def test_dictionary_rows_and_composed_sql(connection):
    with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute(sql.SQL("SELECT 1 AS {}, {} AS b").format(sql.Identifier("A b"), sql.Literal("it's")))
        assert cursor.fetchall() == [{"A b": 1, "b": "it's"}]


def test_notices(connection, cursor):
    cursor.execute("DROP TABLE IF EXISTS missing")
    assert connection.notices == ['NOTICE:  table "missing" does not exist, skipping\n']


def test_cancel(server, connection, cursor):
    import threading

    timer = threading.Timer(0.3, connection.cancel)
    timer.start()
    with pytest.raises(errors.QueryCanceled):
        cursor.execute("SELECT pg_sleep(30)")
    timer.join()
    cursor.execute("SELECT 1")
    assert cursor.fetchone() == (1,)
