"""pg8000: a driver in plain Python, text for most types, through its native and its DB-API interface."""

import datetime as dt
import io
import json

import pg8000.dbapi
import pg8000.native
import pytest

from samples import DOCUMENT, SAMPLES, column_names, column_values, create_table


def arguments(server):
    return {
        "user": server.user, "host": server.host, "port": server.port,
        "database": server.database, "password": server.password,
    }  # fmt: skip


@pytest.fixture
def connection(server):
    with pg8000.native.Connection(**arguments(server)) as connection:
        yield connection


@pytest.fixture
def dbapi(server):
    connection = pg8000.dbapi.connect(**arguments(server))
    yield connection
    connection.close()


def state(caught) -> str:
    return caught.value.args[0]["C"]


def test_every_type_as_parameter_and_result(connection):
    connection.run(create_table())
    marks = ", ".join(f"CAST(:{name} AS {kind})" for name, kind, _ in SAMPLES)
    values = dict((name, value) for name, _, value in SAMPLES)
    document = json.dumps(DOCUMENT)
    connection.run(f"INSERT INTO samples VALUES (:id, {marks}, :j, :j2)", id=1, j=document, j2=document, **values)
    (found,) = connection.run("SELECT * FROM samples")
    assert [column["name"] for column in connection.columns] == column_names()
    for (name, _, wanted), got in zip(SAMPLES, found[1:]):
        assert got == wanted, name
    assert found[-2:] == [DOCUMENT, DOCUMENT]


def test_parameters_without_casts(connection):
    connection.run("CREATE TABLE t (id bigint, body text, day date, n numeric(8,2), tags text[], ok boolean)")
    rows = connection.run(
        "INSERT INTO t VALUES (:id, :body, :day, :n, :tags, :ok) RETURNING id, body, day, tags, ok",
        id=2**40, body="ü", day=dt.date(2024, 2, 29), n="1.50", tags=["a", None], ok=False,
    )  # fmt: skip
    assert rows == [[2**40, "ü", dt.date(2024, 2, 29), ["a", None], False]]
    assert connection.row_count == 1


def test_transactions_and_savepoints(connection):
    connection.run("CREATE TABLE t (id int PRIMARY KEY)")
    connection.run("START TRANSACTION")
    connection.run("INSERT INTO t VALUES (1)")
    connection.run("SAVEPOINT s")
    with pytest.raises(pg8000.native.DatabaseError) as caught:
        connection.run("INSERT INTO t VALUES (1)")
    assert state(caught) == "23505"
    connection.run("ROLLBACK TO SAVEPOINT s")
    connection.run("INSERT INTO t VALUES (2)")
    connection.run("COMMIT")
    assert connection.run("SELECT id FROM t ORDER BY id") == [[1], [2]]


def test_prepared_statement(connection):
    prepared = connection.prepare("SELECT CAST(:v AS int) * 2")
    assert [prepared.run(v=value) for value in (1, 2, 3)] == [[[2]], [[4]], [[6]]]
    prepared.close()


def test_copy(connection):
    connection.run("CREATE TABLE t (id int, body text)")
    connection.run("COPY t FROM STDIN WITH (FORMAT csv)", stream=io.StringIO("1,one\n2,\n"))
    assert connection.row_count == 2
    out = io.BytesIO()
    connection.run("COPY t TO STDOUT", stream=out)
    assert out.getvalue() == b"1\tone\n2\t\\N\n"


def test_dbapi(dbapi):
    cursor = dbapi.cursor()
    cursor.execute("CREATE TABLE t (id int PRIMARY KEY, body text)")
    cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(1, "a"), (2, "b"), (3, None)])
    dbapi.commit()
    cursor.execute("SELECT * FROM t WHERE id >= %s ORDER BY id", (2,))
    assert [column[0] for column in cursor.description] == ["id", "body"]
    assert list(cursor.fetchall()) == [[2, "b"], [3, None]]
    cursor.execute("DELETE FROM t")
    assert cursor.rowcount == 3
    dbapi.rollback()
    cursor.execute("SELECT count(*) FROM t")
    assert cursor.fetchone() == [3]
    with pytest.raises(pg8000.dbapi.DatabaseError) as caught:
        cursor.execute("SELECT * FROM missing")
    assert state(caught) == "42P01"


ERRORS = [
    ("SELECT missing", "42703"),
    ("SELEC", "42601"),
    ("SELECT 1 / 0", "22012"),
    ("SELECT 'x'::int", "22P02"),
    ("INSERT INTO t VALUES (NULL)", "23502"),
    ("CREATE TABLE t (id int)", "42P07"),
]


@pytest.mark.parametrize("statement, code", ERRORS, ids=[statement for statement, _ in ERRORS])
def test_error_codes(connection, statement, code):
    connection.run("CREATE TABLE t (id int PRIMARY KEY)")
    with pytest.raises(pg8000.native.DatabaseError) as caught:
        connection.run(statement)
    assert state(caught) == code
    assert connection.run("SELECT 1") == [[1]]
