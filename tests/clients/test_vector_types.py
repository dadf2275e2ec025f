"""pgvector-python's halfvec, sparsevec and bit through psycopg, psycopg2 and pg8000: parameters, results, arrays, operators, COPY."""

import numpy as np
import pg8000.native
import pgvector.pg8000
import pgvector.psycopg
import pgvector.psycopg2
import psycopg
import psycopg2
import psycopg2.extras
import pytest
from pgvector import Bit, HalfVector, SparseVector, Vector
from psycopg import errors

# (type, with its size, values, a query). The distances of the query to the values stand in DISTANCES.
KINDS = {
    "vector": ("vector(3)", [Vector([1, 0, 0]), Vector([0, 2, 0.5]), Vector([-1, 0.25, 1])], Vector([1, 1, 0])),
    "halfvec": ("halfvec(3)", [HalfVector([1, 0, 0]), HalfVector([0, 2, 0.5]), HalfVector([-1, 0.25, 1])], HalfVector([1, 1, 0])),
    "sparsevec": (
        "sparsevec(3)",
        [SparseVector({0: 1}, 3), SparseVector({1: 2, 2: 0.5}, 3), SparseVector([-1, 0.25, 1])],
        SparseVector({0: 1, 1: 1}, 3),
    ),
}
DISTANCES = {
    "<->": [1.0, 1.5, 2.358495283014151],
    "<#>": [-1.0, -2.0, 0.75],
    "<=>": [0.2928932188134524, 0.31400565254962866, 1.3692744729379982],
    "<+>": [1.0, 2.5, 3.75],
}
BITS = [Bit("11100"), Bit("10011"), Bit("00000")]
BIT_QUERY = Bit("10101")
BIT_DISTANCES = {"<~>": [2.0, 2.0, 3.0], "<%>": [0.5, 0.5, 1.0]}

every_kind = pytest.mark.parametrize("kind", KINDS)


def text(value):
    """A vector in a form that can be compared: SparseVector has no equality."""
    if isinstance(value, (list, tuple)):
        return [text(each) for each in value]
    return value.to_text() if hasattr(value, "to_text") else value


def by_distance(distances):
    """The ids, which count from 1, in the order of their distances; equal ones by id."""
    return [key for _, key in sorted((distance, key) for key, distance in enumerate(distances, 1))]


@pytest.fixture
def connection(server):
    with psycopg.connect(server.url(), autocommit=True) as connection:
        pgvector.psycopg.register_vector(connection)
        yield connection


@pytest.fixture(params=[False, True], ids=["text", "binary"])
def binary(request):
    return request.param


@every_kind
@pytest.mark.parametrize("mark", ["%s", "%t", "%b"])
def test_psycopg_round_trip(connection, binary, mark, kind):
    sized, values, _ = KINDS[kind]
    connection.execute(f"CREATE TABLE t (id int, v {sized}, anything {kind}, many {sized}[])")
    cursor = connection.cursor(binary=binary)
    for key, value in enumerate(values):
        cursor.execute(f"INSERT INTO t VALUES ({key}, {mark}, {mark}, {mark})", [value, value, [value, values[0]]])
    cursor.execute(f"INSERT INTO t VALUES (9, {mark}, {mark}, {mark})", [None, None, None])
    cursor.execute(f"INSERT INTO t VALUES (10, NULL, NULL, {mark})", [[None, values[1]]])
    cursor.execute("SELECT v, anything, many FROM t ORDER BY id")
    wanted = [[value, value, [value, values[0]]] for value in values]
    assert text(cursor.fetchall()) == text([*wanted, [None, None, None], [None, None, [None, values[1]]]])
    cursor.execute(f"SELECT {mark}::{kind}[], ARRAY[]::{kind}[]", [values])
    assert text(cursor.fetchone()) == [text(values), []]


@every_kind
@pytest.mark.parametrize("mark", ["%s", "%t", "%b"])
def test_psycopg_operators(connection, binary, mark, kind):
    sized, values, query = KINDS[kind]
    connection.execute(f"CREATE TABLE t (id int, v {sized})")
    connection.cursor().executemany("INSERT INTO t VALUES (%s, %s)", list(enumerate([*values, None], 1)))
    for operator, distances in DISTANCES.items():
        cursor = connection.cursor(binary=binary)
        cursor.execute(f"SELECT id FROM t ORDER BY v {operator} {mark}, id LIMIT 3", [query])
        assert [key for (key,) in cursor] == by_distance(distances), operator
        cursor.execute(f"SELECT v {operator} {mark} FROM t ORDER BY id", [query])
        assert [found for (found,) in cursor] == [*[pytest.approx(value, rel=1e-6) for value in distances], None], operator
        cursor.execute(f"SELECT id FROM t WHERE v {operator} {mark} < %s ORDER BY id", [query, distances[0] + 1e-3])
        assert [key for (key,) in cursor] == [key for key, value in enumerate(distances, 1) if value < distances[0] + 1e-3]
    cursor = connection.cursor(binary=binary)
    cursor.execute(f"SELECT id FROM t WHERE v = {mark}", [values[1]])
    assert cursor.fetchall() == [(2,)]
    cursor.execute(f"SELECT id FROM t ORDER BY v <-> {mark} LIMIT 1", [None])
    assert len(cursor.fetchall()) == 1


@every_kind
def test_psycopg_index(connection, kind):
    sized, values, query = KINDS[kind]
    connection.execute(f"CREATE TABLE t (id int, v {sized})")
    connection.cursor().executemany("INSERT INTO t VALUES (%s, %s)", list(enumerate(values, 1)))
    for operator, name in [("<->", "l2"), ("<#>", "ip"), ("<=>", "cosine"), ("<+>", "l1")]:
        connection.execute(f"CREATE INDEX ON t USING hnsw (v {kind}_{name}_ops)")
        found = connection.execute(f"SELECT id FROM t ORDER BY v {operator} %s LIMIT 3", [query])
        assert [key for (key,) in found] == by_distance(DISTANCES[operator]), operator


@pytest.mark.parametrize("mark", ["%s", "%t", "%b"])
def test_psycopg_bits(connection, binary, mark):
    connection.execute("CREATE TABLE t (id int, b bit(5), v varbit, many bit(5)[])")
    cursor = connection.cursor(binary=binary)
    for key, value in enumerate(BITS, 1):
        cursor.execute(f"INSERT INTO t VALUES (%s, {mark}, {mark}, {mark})", [key, value, value, [value, BITS[0]]])
    cursor.execute(f"INSERT INTO t VALUES (4, NULL, {mark}, {mark})", [Bit("1"), [None]])
    cursor.execute("SELECT b::text, v::text, many::text[] FROM t ORDER BY id")
    wanted = [(text(value), text(value), [text(value), text(BITS[0])]) for value in BITS]
    assert cursor.fetchall() == [*wanted, (None, "1", [None])]
    # The driver has no loader: text is given as it is, and bytes are as well.
    cursor.execute("SELECT b FROM t WHERE id = 1")
    (found,) = cursor.fetchone()
    assert (Bit.from_binary(found) if binary else Bit(found)) == BITS[0]
    for operator, distances in BIT_DISTANCES.items():
        operator = operator.replace("%", "%%")
        cursor.execute(f"SELECT id, b {operator} {mark} FROM t WHERE b IS NOT NULL ORDER BY b {operator} {mark}, id", [BIT_QUERY] * 2)
        assert cursor.fetchall() == [(key, distances[key - 1]) for key in by_distance(distances)], operator
    connection.execute("CREATE INDEX ON t USING hnsw (b bit_hamming_ops)")
    cursor.execute(f"SELECT b <~> {mark} FROM t ORDER BY b <~> {mark} LIMIT 3", [BIT_QUERY] * 2)
    assert cursor.fetchall() == [(2.0,), (2.0,), (3.0,)]


@pytest.mark.parametrize("style", ["TEXT", "BINARY"])
def test_psycopg_copy(connection, style):
    connection.execute("CREATE TABLE t (id int, v vector(3), h halfvec(3), s sparsevec(3), b bit(5), hs halfvec(3)[])")
    rows = [
        (key + 1, KINDS["vector"][1][key], KINDS["halfvec"][1][key], KINDS["sparsevec"][1][key], BITS[key], [None, HalfVector([key, 0, 1])])
        for key in range(3)
    ]
    rows.append((4, None, None, None, None, None))
    types = ["int4", "vector", "halfvec", "sparsevec", "bit", "halfvec[]"]
    with connection.cursor().copy(f"COPY t FROM STDIN (FORMAT {style})") as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
    found = connection.execute("SELECT id, v, h, s, b, hs FROM t ORDER BY id").fetchall()
    assert text(found) == text(rows)
    with connection.cursor().copy(f"COPY (SELECT id, v, h, s, hs FROM t ORDER BY id) TO STDOUT (FORMAT {style})") as copy:
        copy.set_types([kind for kind in types if kind != "bit"])
        found = list(copy.rows())
    assert text(found) == text([row[:4] + row[5:] for row in rows])


def test_psycopg_limits(connection, binary):
    cursor = connection.cursor(binary=binary)
    cursor.execute("SELECT %b", [HalfVector([65504, -65504, 6e-8])])
    assert cursor.fetchone()[0].to_list()[:2] == [65504.0, -65504.0]
    cursor.execute("SELECT %b", [SparseVector({0: 1, 999_999_999: 2}, 1_000_000_000)])
    assert cursor.fetchone()[0].to_text() == "{1:1.0,1000000000:2.0}/1000000000"
    wide = np.random.default_rng(3).random(16000, dtype=np.float32)
    cursor.execute("SELECT %b, %b", [HalfVector(wide), Vector(wide)])
    half, whole = cursor.fetchone()
    assert np.array_equal(whole.to_numpy(), wide) and np.array_equal(half.to_numpy(), wide.astype(np.float16))
    cursor.execute("CREATE TABLE t (h halfvec(3), s sparsevec(3), b bit(3))")
    for column, value, kind in [
        ("h", HalfVector([1, 2]), errors.DataException),
        ("s", SparseVector({0: 1}, 4), errors.DataException),
        ("b", Bit("11"), errors.StringDataLengthMismatch),
    ]:
        with pytest.raises(kind):
            cursor.execute(f"INSERT INTO t ({column}) VALUES (%s)", [value])
    with pytest.raises(errors.DataException, match="different halfvec dimensions 3 and 2"):
        cursor.execute("SELECT %s <-> %s", [HalfVector([1, 2, 3]), HalfVector([1, 2])])
    with pytest.raises(errors.DataException, match="NaN not allowed in halfvec"):
        cursor.execute("SELECT %b", [HalfVector([float("nan")])])


@every_kind
def test_psycopg2_types(server, kind):
    sized, values, query = KINDS[kind]
    connection = psycopg2.connect(server.url())
    pgvector.psycopg2.register_vector(connection)
    with connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE t (id int, v {sized}, many {sized}[])")
        rows = [(key, value, [value, None]) for key, value in enumerate(values, 1)]
        template = f"(%s, %s, %s::{kind}[])"
        psycopg2.extras.execute_values(cursor, "INSERT INTO t VALUES %s", [*rows, (4, None, None)], template=template)
        cursor.execute("SELECT * FROM t ORDER BY id")
        assert text(cursor.fetchall()) == text([*rows, (4, None, None)])
        for operator, distances in DISTANCES.items():
            cursor.execute(f"SELECT id, v {operator} %s FROM t WHERE v IS NOT NULL ORDER BY v {operator} %s, id", [query] * 2)
            wanted = [(key, pytest.approx(distances[key - 1], rel=1e-6)) for key in by_distance(distances)]
            assert cursor.fetchall() == wanted, operator
    connection.close()


def test_psycopg2_bits(server):
    connection = psycopg2.connect(server.url())
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int, b bit(5))")
        rows = [(key, value.to_text()) for key, value in enumerate(BITS, 1)]
        psycopg2.extras.execute_values(cursor, "INSERT INTO t VALUES %s", rows)
        for operator, distances in BIT_DISTANCES.items():
            operator = operator.replace("%", "%%")
            cursor.execute(f"SELECT id, b FROM t ORDER BY b {operator} %s, id", [BIT_QUERY.to_text()])
            assert cursor.fetchall() == [rows[key - 1] for key in by_distance(distances)]
    connection.close()


@pytest.fixture
def native(server):
    with pg8000.native.Connection(
        server.user, host=server.host, port=server.port, database=server.database, password=server.password
    ) as connection:
        pgvector.pg8000.register_vector(connection)
        yield connection


@every_kind
def test_pg8000_types(native, kind):
    sized, values, query = KINDS[kind]
    native.run(f"CREATE TABLE t (id int, v {sized})")
    for key, value in enumerate([*values, None], 1):
        native.run("INSERT INTO t VALUES (:id, :v)", id=key, v=value)
    assert text(native.run("SELECT v FROM t ORDER BY id")) == text([[value] for value in [*values, None]])
    assert native.columns[0]["name"] == "v"
    for operator, distances in DISTANCES.items():
        found = native.run(f"SELECT id, v {operator} :q FROM t WHERE v IS NOT NULL ORDER BY v {operator} :q, id", q=query)
        assert found == [[key, pytest.approx(distances[key - 1], rel=1e-6)] for key in by_distance(distances)], operator
    # The driver knows no arrays of them: text in, and the server's text out.
    listed = "{" + ",".join(f'"{value.to_text()}"' for value in values) + "}"
    ((found,),) = native.run(f"SELECT CAST(:many AS {kind}[])", many=listed)
    assert found == listed.replace(".0", "")


def test_pg8000_bits(native):
    native.run("CREATE TABLE t (id int, b bit(5))")
    for key, value in enumerate(BITS, 1):
        native.run("INSERT INTO t VALUES (:id, :b)", id=key, b=value.to_text())
    for operator, distances in BIT_DISTANCES.items():
        found = native.run(f"SELECT id, b FROM t ORDER BY b {operator} :q, id", q=BIT_QUERY.to_text())
        assert found == [[key, BITS[key - 1].to_text()] for key in by_distance(distances)], operator
