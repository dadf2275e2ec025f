"""Peewee: models, queries, transactions, migrations, vectors."""

import datetime as dt
import uuid
from decimal import Decimal

import peewee
import pytest
from peewee import fn
from pgvector.peewee import VectorField
from playhouse.migrate import PostgresqlMigrator, migrate
from playhouse.postgres_ext import ArrayField, BinaryJSONField, DateTimeTZField

from samples import UTC

database = peewee.DatabaseProxy()


class Item(peewee.Model):
    name = peewee.CharField(max_length=40, unique=True)
    lang = peewee.FixedCharField(max_length=2, default="en", index=True)
    price = peewee.DecimalField(max_digits=8, decimal_places=2, null=True)
    ratio = peewee.DoubleField(default=0.5)
    count = peewee.BigIntegerField(default=0)
    active = peewee.BooleanField(default=True)
    body = peewee.TextField(null=True)
    blob = peewee.BlobField(null=True)
    key = peewee.UUIDField(null=True)
    day = peewee.DateField(null=True)
    stamp = peewee.DateTimeField(null=True)
    zoned = DateTimeTZField(null=True)
    tags = ArrayField(peewee.TextField, null=True, index=False)
    data = BinaryJSONField(null=True, index=False)
    embedding = VectorField(dimensions=3, null=True)

    class Meta:
        database = database
        table_name = "items"


@pytest.fixture(autouse=True)
def connected(server):
    real = peewee.PostgresqlDatabase(
        server.database, user=server.user, host=server.host, port=server.port, password=server.password
    )
    database.initialize(real)
    with real.connection_context():
        real.create_tables([Item])
        yield real


def test_round_trip():
    values = {
        "name": "one",
        "lang": "de",
        "price": Decimal("12.50"),
        "ratio": 0.25,
        "count": 2**40,
        "active": False,
        "body": "it's 'quoted'",
        "blob": b"\x00\xff",
        "key": uuid.uuid4(),
        "day": dt.date(2024, 2, 29),
        "stamp": dt.datetime(2024, 1, 1, 12, 30, 0, 5),
        "zoned": dt.datetime(2024, 1, 1, 12, tzinfo=UTC),
        "tags": ["a", "b,c"],
        "data": {"x": [1, None]},
        "embedding": [1.0, 2.0, -0.5],
    }
    item = Item.create(**values)
    assert item.id == 1
    found = Item.get_by_id(1)
    for name, wanted in values.items():
        got = getattr(found, name)
        assert (bytes(got) if name == "blob" else got) == wanted, name


def fill():
    rows = [
        {"name": f"item {n}", "lang": "de" if n % 2 else "en", "count": n, "embedding": [n, 0, 1]} for n in range(1, 31)
    ]
    Item.insert_many(rows).execute()


def test_queries(connected):
    fill()
    assert Item.select().count() == 30
    assert [item.count for item in Item.select().order_by(Item.count.desc()).paginate(2, 3)] == [27, 26, 25]
    grouped = Item.select(Item.lang, fn.COUNT(Item.id), fn.SUM(Item.count)).group_by(Item.lang).order_by(Item.lang)
    assert list(grouped.tuples()) == [("de", 15, 225), ("en", 15, 240)]
    assert Item.update(count=Item.count + 100).where(Item.lang == "de").execute() == 15
    returned = Item.update(active=False).where(Item.count > 125).returning(Item.id, Item.active)
    assert sorted((item.id, item.active) for item in returned) == [(27, False), (29, False)]
    assert Item.delete().where(Item.name.in_(["item 1", "item 2", "none"])).execute() == 2
    upsert = Item.insert(name="item 3", count=1).on_conflict(
        conflict_target=[Item.name], update={Item.count: peewee.EXCLUDED.count + 1}
    )
    upsert.execute()
    assert Item.get(Item.name == "item 3").count == 2
    other = Item.alias()
    pairs = Item.select(Item.id, other.id).join(other, on=(other.count == Item.count + 2)).where(Item.count == 4)
    assert list(pairs.tuples()) == [(4, 6)]
    assert Item.select().where(fn.UPPER(Item.name).contains("ITEM 3")).count() == 2


def test_arrays_and_json():
    Item.create(name="a", tags=["x", "y"], data={"k": {"n": 5}})
    Item.create(name="b", tags=["z"], data={"k": {"n": 6}})
    assert [item.name for item in Item.select().where(Item.tags.contains("x"))] == ["a"]
    assert [item.name for item in Item.select().where(Item.data["k"]["n"] == "6")] == ["b"]
    assert [item.name for item in Item.select().where(Item.data.contains({"k": {"n": 5}}))] == ["a"]


def test_transactions(connected):
    with connected.atomic():
        Item.create(name="one")
        with pytest.raises(peewee.IntegrityError):
            with connected.atomic():
                Item.create(name="two")
                Item.create(name="one")
        with connected.atomic() as inner:
            Item.create(name="three")
            inner.rollback()
    assert [item.name for item in Item.select()] == ["one"]
    with pytest.raises(peewee.ProgrammingError):
        connected.execute_sql("SELECT * FROM missing")
    connected.rollback()


def test_migrations(connected):
    fill()
    migrator = PostgresqlMigrator(connected)
    with connected.atomic():
        migrate(
            migrator.add_column("items", "score", peewee.IntegerField(default=3)),
            migrator.rename_column("items", "body", "content"),
            migrator.drop_not_null("items", "ratio"),
            migrator.add_index("items", ("lang", "count"), False),
            migrator.drop_column("items", "blob"),
        )
    names = [column.name for column in connected.get_columns("items")]
    assert "content" in names and "score" in names and "blob" not in names
    assert connected.execute_sql("SELECT min(score), max(score) FROM items").fetchone() == (3, 3)


def test_vectors():
    fill()
    nearest = Item.select().order_by(Item.embedding.l2_distance([10, 0, 1])).limit(1)
    assert [item.count for item in nearest] == [10]
    filtered = (
        Item.select(Item, Item.embedding.l2_distance([10, 0, 1]).alias("d"))
        .where(Item.lang == "de", Item.count > 10)
        .order_by(peewee.SQL("d"))
        .limit(2)
    )
    assert [(item.count, item.d) for item in filtered] == [(11, 1.0), (13, 3.0)]
    assert Item.select().where(Item.embedding.l2_distance([10, 0, 1]) < 1.5).count() == 3
    assert [item.count for item in Item.select().order_by(Item.embedding.max_inner_product([1, 0, 0])).limit(1)] == [30]
    assert Item.select(fn.AVG(Item.embedding)).where(Item.count <= 3).scalar() == "[2,0,1]"
    Item._meta.database.execute_sql("CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)")
    assert [item.count for item in Item.select().order_by(Item.embedding.l2_distance([10, 0, 1])).limit(1)] == [10]
