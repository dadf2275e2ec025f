"""SQLAlchemy Core over every driver: types, statements, transactions, errors, vectors."""

import datetime as dt
from decimal import Decimal

import pytest
import sqlalchemy as sa
from pgvector.sqlalchemy import VECTOR, avg
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from engines import Database, every_driver, plain_drivers
from samples import DOCUMENT, ONE_ID, UTC

metadata = sa.MetaData()
everything = sa.Table(
    "everything",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("flag", sa.Boolean),
    sa.Column("small", sa.SmallInteger),
    sa.Column("big", sa.BigInteger),
    sa.Column("real", sa.REAL),
    sa.Column("double", sa.Double),
    sa.Column("amount", sa.Numeric(12, 3)),
    sa.Column("name", sa.String(30)),
    sa.Column("body", sa.Text),
    sa.Column("data", sa.LargeBinary),
    sa.Column("day", sa.Date),
    sa.Column("hour", sa.Time),
    sa.Column("stamp", sa.DateTime),
    sa.Column("zoned", sa.DateTime(timezone=True)),
    sa.Column("span", sa.Interval),
    sa.Column("key", sa.Uuid),
    sa.Column("document", sa.JSON),
    sa.Column("documents", pg.JSONB),
    sa.Column("numbers", pg.ARRAY(sa.Integer)),
    sa.Column("words", pg.ARRAY(sa.Text)),
    sa.Column("embedding", VECTOR(3)),
)
ROW = {
    "id": 1,
    "flag": True,
    "small": -7,
    "big": 2**40,
    "real": 1.5,
    "double": 0.1,
    "amount": Decimal("12.345"),
    "name": "Zoë",
    "body": "line\n'quoted' \"text\" \\",
    "data": b"\x00\xff",
    "day": dt.date(2024, 2, 29),
    "hour": dt.time(12, 30, 1, 5),
    "stamp": dt.datetime(2000, 1, 1, 0, 0, 1),
    "zoned": dt.datetime(2024, 6, 1, 12, tzinfo=UTC),
    "span": dt.timedelta(days=2, seconds=3),
    "key": ONE_ID,
    "document": DOCUMENT,
    "documents": DOCUMENT,
    "numbers": [1, None, 3],
    "words": ["a", "b,c", ""],
    "embedding": [1.0, 2.5, -3.0],
}
items = sa.Table(
    "items",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("lang", sa.String, nullable=False, server_default="en"),
    sa.Column("n", sa.Integer, sa.CheckConstraint("n >= 0", name="n_not_negative")),
    sa.Column("embedding", VECTOR(3)),
    sa.UniqueConstraint("lang", "n", name="items_lang_n"),
)


@plain_drivers
def test_every_type(server, driver):
    def work(connection):
        metadata.create_all(connection)
        connection.execute(sa.insert(everything), [ROW])
        connection.execute(sa.insert(everything).values(id=2))
        first, second = connection.execute(sa.select(everything).order_by(everything.c.id)).mappings().all()
        for name, wanted in ROW.items():
            assert first[name] == wanted, name
        assert [value for value in second.values() if value is not None] == [2]
        for column in everything.columns:
            if column.name not in ("document", "real"):
                found = connection.scalar(sa.select(everything.c.id).where(column == ROW[column.name]))
                assert found == 1, column.name

    Database(server, driver).run(work)


@plain_drivers
def test_statements(server, driver):
    def work(connection):
        metadata.create_all(connection)
        rows = [{"id": n, "n": n, "lang": "de" if n % 2 else "en", "embedding": [n, 0, 1]} for n in range(1, 201)]
        connection.execute(sa.insert(items), rows)
        returned = connection.execute(
            sa.insert(items).returning(items.c.id, items.c.lang), [{"id": 1001, "n": 0}, {"id": 1002, "n": 1}]
        )
        assert sorted(returned.all()) == [(1001, "en"), (1002, "en")]
        updated = connection.execute(sa.update(items).where(items.c.id > 1000).values(n=items.c.n + 5000))
        assert updated.rowcount == 2
        assert connection.execute(sa.delete(items).where(items.c.id.in_([1001, 1002]))).rowcount == 2
        count = sa.func.count().label("count")
        grouped = sa.select(items.c.lang, count, sa.func.sum(items.c.n)).group_by(items.c.lang).order_by(items.c.lang)
        assert connection.execute(grouped).all() == [("de", 100, 10000), ("en", 100, 10100)]
        assert connection.scalars(sa.select(items.c.id).where(items.c.id.in_([5, 6, 999])).order_by(items.c.id)).all() == [5, 6]
        assert connection.scalars(sa.select(items.c.id).order_by(items.c.id.desc()).limit(2).offset(1)).all() == [199, 198]
        window = sa.func.row_number().over(partition_by=items.c.lang, order_by=items.c.id.desc())
        ranked = sa.select(items.c.id, window.label("rank")).subquery()
        best = sa.select(ranked.c.id).where(ranked.c.rank == 1).order_by(ranked.c.id)
        assert connection.scalars(best).all() == [199, 200]
        other = items.alias()
        joined = sa.select(items.c.id, other.c.id).join(other, other.c.n == items.c.n + 1).where(items.c.id == 10)
        assert connection.execute(joined).all() == [(10, 11)]
        cte = sa.select(items.c.n).where(items.c.n < 5).cte("few")
        assert connection.scalar(sa.select(sa.func.max(cte.c.n))) == 4
        union = sa.union_all(sa.select(sa.literal(1).label("x")), sa.select(sa.literal(2))).order_by("x")
        assert connection.scalars(union).all() == [1, 2]
        case = sa.case((items.c.n > 100, "high"), else_="low")
        assert connection.scalar(sa.select(case).where(items.c.id == 150)) == "high"
        assert connection.scalar(sa.select(sa.exists().where(items.c.n == 77)))
        like = sa.select(sa.func.count()).where(sa.cast(items.c.id, sa.String).ilike("%99"))
        assert connection.scalar(like) == 2

    Database(server, driver).run(work)


@every_driver
def test_upsert(server, driver):
    def work(connection):
        metadata.create_all(connection)
        for n in (1, 2):
            statement = pg.insert(items).values(id=7, n=n)
            statement = statement.on_conflict_do_update(
                index_elements=[items.c.id], set_={"n": statement.excluded.n + 10}
            ).returning(items.c.n)
            assert connection.scalar(statement) == (1 if n == 1 else 12)
        ignored = pg.insert(items).values(id=7, n=3).on_conflict_do_nothing().returning(items.c.id)
        assert connection.scalars(ignored).all() == []

    Database(server, driver).run(work)


@plain_drivers
def test_json_and_arrays(server, driver):
    def work(connection):
        metadata.create_all(connection)
        connection.execute(sa.insert(everything), [ROW])
        inner = everything.c.documents["name"].astext
        assert connection.scalar(sa.select(inner)) == "ü"
        assert connection.scalar(sa.select(everything.c.id).where(everything.c.documents.contains({"name": "ü"}))) == 1
        assert connection.scalar(sa.select(everything.c.id).where(everything.c.documents.has_key("list"))) == 1
        assert connection.scalar(sa.select(everything.c.id).where(everything.c.words.contains(["a"]))) == 1
        assert connection.scalar(sa.select(everything.c.id).where(sa.literal("b,c") == everything.c.words.any_())) == 1
        assert connection.scalar(sa.select(sa.func.array_length(everything.c.numbers, 1))) == 3
        assert connection.scalar(sa.select(everything.c.words[2])) == "b,c"

    Database(server, driver).run(work)


@every_driver
def test_transactions(server, driver):
    database = Database(server, driver)

    def work(connection):
        metadata.create_all(connection)
        connection.execute(sa.insert(items).values(id=1, n=1))
        with pytest.raises(IntegrityError):
            with connection.begin_nested():
                connection.execute(sa.insert(items).values(id=2, n=2))
                connection.execute(sa.insert(items).values(id=1, n=3))
        with connection.begin_nested() as savepoint:
            connection.execute(sa.insert(items).values(id=4, n=4))
            savepoint.rollback()

    database.run(work)

    class Leave(Exception):
        pass

    def fails(connection):
        connection.execute(sa.insert(items).values(id=5, n=5))
        raise Leave

    with pytest.raises(Leave):
        database.run(fails)
    assert database.run(lambda connection: connection.scalars(sa.select(items.c.id)).all()) == [1]


@every_driver
def test_isolation_levels(server, driver):
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]:
        database = Database(server, driver, isolation_level=level)
        shown = database.run(lambda connection: connection.scalar(sa.text("SHOW transaction_isolation")))
        assert shown == level.lower()


STATES = [
    (sa.text("SELECT * FROM missing"), ProgrammingError, "42P01"),
    (sa.text("SELECT missing"), ProgrammingError, "42703"),
    (sa.insert(items).values(id=1, n=2), IntegrityError, "23505"),
    (sa.insert(items).values(id=2, n=1), IntegrityError, "23505"),
    (sa.insert(items).values(id=2, n=-1), IntegrityError, "23514"),
    (sa.insert(items).values(id=2, lang=None), IntegrityError, "23502"),
    (sa.text("SELECT 1 / 0"), DBAPIError, "22012"),
]


@every_driver
@pytest.mark.parametrize("statement, kind, state", STATES, ids=[f"{state}-{index}" for index, (_, _, state) in enumerate(STATES)])
def test_errors(server, driver, statement, kind, state):
    def work(connection):
        metadata.create_all(connection)
        connection.execute(sa.insert(items).values(id=1, n=1))
        with pytest.raises(DBAPIError) as caught, connection.begin_nested():
            connection.execute(statement)
        original = caught.value.orig
        found = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None) or original.args[0]["C"]
        assert found == state
        # pg8000 has one class of error for all.
        assert isinstance(caught.value, kind) or driver == "pg8000"

    Database(server, driver).run(work)


@plain_drivers
def test_vectors(server, driver):
    def work(connection):
        metadata.create_all(connection)
        rows = [{"id": n, "n": n, "lang": "de" if n % 2 else "en", "embedding": [n, 0, 1]} for n in range(1, 51)]
        connection.execute(sa.insert(items), rows)
        nearest = sa.select(items.c.id).order_by(items.c.embedding.l2_distance([10, 0, 1]), items.c.id).limit(3)
        assert connection.scalars(nearest).all() == [10, 9, 11]
        filtered = (
            sa.select(items.c.id, items.c.embedding.l2_distance([10, 0, 1]).label("d"))
            .where(items.c.lang == "de", items.c.n > 9)
            .order_by("d")
            .limit(2)
        )
        assert connection.execute(filtered).all() == [(11, 1.0), (13, 3.0)]
        within = sa.select(sa.func.count()).where(items.c.embedding.l2_distance([10, 0, 1]) < 2.5)
        assert connection.scalar(within) == 5
        distances = sa.select(
            items.c.embedding.max_inner_product([1, 1, 1]), items.c.embedding.l1_distance([0, 0, 0])
        ).where(items.c.id == 4)
        assert connection.execute(distances).one() == (-5.0, 5.0)
        similarity = sa.select(1 - items.c.embedding.cosine_distance([7, 0, 1])).where(items.c.id == 7)
        assert connection.scalar(similarity) == pytest.approx(1.0)
        assert connection.scalar(sa.select(avg(items.c.embedding)).where(items.c.id <= 3)) == [2.0, 0.0, 1.0]
        assert connection.scalar(sa.select(items.c.embedding).where(items.c.id == 2)) == [2.0, 0.0, 1.0]

    Database(server, driver).run(work)


@pytest.mark.parametrize("driver", ["psycopg2", "asyncpg"])
def test_streaming(server, driver):
    def work(connection):
        numbers = sa.select(sa.func.generate_series(1, 1000).label("n")).subquery()
        result = connection.execution_options(stream_results=True, max_row_buffer=50).execute(sa.select(numbers.c.n))
        assert sum(row.n for row in result) == 500500

    Database(server, driver).run(work)
