"""Peewee's introspection (playhouse.reflection, Database.get_…), migrations of every kind, and pgvector.peewee's fields."""

import peewee
import pytest
from peewee import fn
from pgvector import SparseVector
from pgvector.peewee import FixedBitField, HalfVectorField, SparseVectorField, VectorField
from playhouse.migrate import PostgresqlMigrator, migrate
from playhouse.postgres_ext import ArrayField, BinaryJSONField, JSONField
from playhouse.reflection import Introspector, generate_models, print_model

SCHEMA = """
    CREATE TABLE items (
        id serial PRIMARY KEY, name varchar(40) NOT NULL UNIQUE, lang char(2) DEFAULT 'en', price numeric(8,2), ratio float8,
        small smallint, count bigint, active boolean, body text, blob bytea, key uuid, day date, hour time, stamp timestamp,
        zoned timestamptz, real real, document json, documents jsonb, tags text[], numbers integer[], embedding vector(3),
        half halfvec(3), sparse sparsevec(3), code bit(5)
    );
    CREATE INDEX items_lang_count ON items (lang, count DESC);
    CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops);
    CREATE TABLE pairs (a integer, b integer, "Odd Name" text, PRIMARY KEY (b, a));
    CREATE TABLE counted (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n integer);
    CREATE VIEW cheap AS SELECT id, name FROM items WHERE price < 10;
    CREATE SCHEMA near;
    CREATE TABLE near.items (only_here integer PRIMARY KEY);
"""


@pytest.fixture
def database(server):
    database = peewee.PostgresqlDatabase(
        server.database, user=server.user, host=server.host, port=server.port, password=server.password
    )
    with database.connection_context():
        yield database


@pytest.fixture
def schema(admin, database):
    admin.execute("DROP SCHEMA IF EXISTS near CASCADE")
    for statement in filter(str.strip, SCHEMA.split(";\n")):
        database.execute_sql(statement)
    yield
    database.execute_sql("DROP VIEW IF EXISTS cheap")
    database.execute_sql("DROP SCHEMA near CASCADE")


def test_tables_and_views(database, schema):
    assert database.get_tables() == ["counted", "items", "pairs"]
    assert database.get_tables("near") == ["items"]
    (view,) = database.get_views()
    assert view.name == "cheap" and "price <" in view.sql
    assert database.table_exists("items") and not database.table_exists("cheap")
    assert database.table_exists("items", schema="near") and not database.table_exists("pairs", schema="near")
    assert database.sequence_exists("items_id_seq") and not database.sequence_exists("items_seq")
    assert database.sequence_exists("items_id_seq", "public") and not database.sequence_exists("items_id_seq", "near")


def test_columns(database, schema):
    columns = database.get_columns("items")
    shown = [(each.name, each.data_type, each.null, each.primary_key, each.default) for each in columns]
    assert shown == [
        ("id", "integer", False, True, "nextval('items_id_seq'::regclass)"),
        ("name", "character varying", False, False, None),
        ("lang", "character", True, False, "'en'::bpchar"),
        ("price", "numeric", True, False, None),
        ("ratio", "double precision", True, False, None),
        ("small", "smallint", True, False, None),
        ("count", "bigint", True, False, None),
        ("active", "boolean", True, False, None),
        ("body", "text", True, False, None),
        ("blob", "bytea", True, False, None),
        ("key", "uuid", True, False, None),
        ("day", "date", True, False, None),
        ("hour", "time without time zone", True, False, None),
        ("stamp", "timestamp without time zone", True, False, None),
        ("zoned", "timestamp with time zone", True, False, None),
        ("real", "real", True, False, None),
        ("document", "json", True, False, None),
        ("documents", "jsonb", True, False, None),
        ("tags", "ARRAY", True, False, None),
        ("numbers", "ARRAY", True, False, None),
        ("embedding", "USER-DEFINED", True, False, None),
        ("half", "USER-DEFINED", True, False, None),
        ("sparse", "USER-DEFINED", True, False, None),
        ("code", "bit", True, False, None),
    ]
    assert {each.table for each in columns} == {"items"}
    assert [each.name for each in database.get_columns("items", "near")] == ["only_here"]
    assert [each.name for each in database.get_columns("cheap")] == ["id", "name"]
    assert database.get_columns("missing") == []


def test_keys_and_indexes(database, schema):
    assert database.get_primary_keys("items") == ["id"]
    assert database.get_primary_keys("pairs") == ["b", "a"]
    assert database.get_primary_keys("cheap") == []
    assert database.get_foreign_keys("items") == []
    found = [(each.name, each.columns, each.unique, each.sql) for each in database.get_indexes("items")]
    assert found == [
        ("items_name_key", ["name"], True, "CREATE UNIQUE INDEX items_name_key ON public.items USING btree (name)"),
        ("items_pkey", ["id"], True, "CREATE UNIQUE INDEX items_pkey ON public.items USING btree (id)"),
        (
            "items_embedding", ["embedding"], False,
            "CREATE INDEX items_embedding ON public.items USING hnsw (embedding vector_l2_ops)",
        ),
        (
            "items_lang_count", ["lang", "count"], False,
            "CREATE INDEX items_lang_count ON public.items USING btree (lang, count DESC)",
        ),
    ]  # fmt: skip
    assert [each.columns for each in database.get_indexes("pairs")] == [["b", "a"]]


FIELDS = {
    "id": peewee.AutoField,
    "name": peewee.CharField,
    "lang": peewee.CharField,
    "price": peewee.DecimalField,
    "ratio": peewee.DoubleField,
    "small": peewee.SmallIntegerField,
    "count": peewee.BigIntegerField,
    "active": peewee.BooleanField,
    "body": peewee.TextField,
    "blob": peewee.BlobField,
    "key": peewee.UUIDField,
    "day": peewee.DateField,
    "hour": peewee.TimeField,
    "stamp": peewee.DateTimeField,
    "zoned": peewee.DateTimeField,
    "real": peewee.FloatField,
    "document": JSONField,
    "documents": BinaryJSONField,
    "tags": ArrayField,
    "numbers": ArrayField,
}


def test_generated_models(database, schema, capsys):
    models = generate_models(database)
    assert sorted(models) == ["counted", "items", "pairs"]
    fields = models["items"]._meta.fields
    assert {name: type(fields[name]) for name in FIELDS} == FIELDS
    assert set(fields) - set(FIELDS) == {"embedding", "half", "sparse", "code"}
    assert (fields["price"].null, fields["name"].null, fields["name"].unique) == (True, False, True)
    assert models["pairs"]._meta.primary_key.field_names == ("b", "a")
    assert models["items"]._meta.indexes == [(["lang", "count"], False)]
    item = models["items"].create(name="one", tags=["a", "b"], documents={"k": 1}, price="1.50")
    found = models["items"].get_by_id(item.id)
    assert (found.name, found.tags, found.documents, str(found.price), found.embedding) == ("one", ["a", "b"], {"k": 1}, "1.50", None)
    models["counted"].create(n=5)
    assert models["counted"].get(n=5).id == 1
    print_model(models["items"])
    assert "id AUTO" in capsys.readouterr().out
    assert list(generate_models(database, schema="near")) == ["items"]
    views = generate_models(database, include_views=True, table_names=["cheap"])
    assert list(views) == ["cheap"]
    introspected = Introspector.from_database(database).introspect(table_names=["pairs"])
    assert introspected.primary_keys == {"pairs": ["b", "a"]}
    assert sorted(introspected.columns["pairs"]) == ["Odd Name", "a", "b"]


def columns_of(database, table):
    return {each.name: (each.data_type, each.null, each.default) for each in database.get_columns(table)}


def test_migrations_of_columns(database, schema):
    migrator = PostgresqlMigrator(database)
    database.execute_sql("INSERT INTO items (name, small, body) VALUES ('a', 1, '7'), ('b', 2, NULL)")
    with database.atomic():
        migrate(
            migrator.add_column("items", "score", peewee.IntegerField(default=3)),
            migrator.add_column("items", "note", peewee.CharField(max_length=9, null=True)),
            migrator.add_column("items", "other", VectorField(dimensions=2, null=True)),
            migrator.rename_column("items", "ratio", "proportion"),
            migrator.drop_column("items", "blob"),
            migrator.add_not_null("items", "small"),
            migrator.drop_not_null("items", "name"),
            migrator.add_column_default("items", "count", 42),
            migrator.add_column_default("items", "body", "text's"),
            migrator.drop_column_default("items", "lang"),
            migrator.alter_column_type("items", "small", peewee.BigIntegerField()),
            migrator.alter_column_type("items", "lang", peewee.TextField(), "upper(lang)"),
        )
    columns = columns_of(database, "items")
    assert columns["score"] == ("integer", False, None)
    assert columns["note"] == ("character varying", True, None)
    assert columns["other"] == ("USER-DEFINED", True, None)
    assert "ratio" not in columns and "blob" not in columns and columns["proportion"][0] == "double precision"
    assert columns["small"] == ("bigint", False, None)
    assert columns["name"][1] and columns["lang"] == ("text", True, None)
    assert columns["count"][2] == "42" and columns["body"][2] == "'text''s'::text"
    found = database.execute_sql("SELECT name, small, score, body, lang FROM items ORDER BY id").fetchall()
    assert found == [("a", 1, 3, "7", "EN"), ("b", 2, 3, None, "EN")]


def test_migrations_of_tables_and_indexes(database, schema):
    database.execute_sql("DROP VIEW cheap")
    migrator = PostgresqlMigrator(database)
    migrate(
        migrator.add_index("items", ("day", "hour"), False),
        migrator.add_index("items", ("key",), True),
        migrator.add_constraint("items", "small_check", peewee.Check("small > 0")),
        migrator.add_unique("items", "small", "real"),
        migrator.drop_index("items", "items_lang_count"),
    )
    names = [(each.name, each.columns, each.unique) for each in database.get_indexes("items")]
    assert names == [
        ("items_key", ["key"], True), ("items_name_key", ["name"], True), ("items_pkey", ["id"], True),
        ("uniq_small_real", ["small", "real"], True), ("items_day_hour", ["day", "hour"], False), ("items_embedding", ["embedding"], False),
    ]  # fmt: skip
    with pytest.raises(peewee.IntegrityError), database.atomic():
        database.execute_sql("INSERT INTO items (name, small) VALUES ('x', 0)")
    migrate(migrator.drop_constraint("items", "small_check"))
    database.execute_sql("INSERT INTO items (name, small) VALUES ('x', 0)")
    database.execute_sql("INSERT INTO pairs VALUES (1, 2, 'before')")
    migrate(migrator.rename_table("pairs", "couples"))
    assert database.get_tables() == ["counted", "couples", "items"]
    migrate(migrator.sql("UPDATE couples SET \"Odd Name\" = %s WHERE a = %s", ("new", 1)), migrator.drop_table("counted"))
    assert database.execute_sql('SELECT "Odd Name" FROM couples').fetchall() == [("new",)]
    assert database.get_tables() == ["couples", "items"]
    with pytest.raises(peewee.ProgrammingError), database.atomic():
        migrate(migrator.drop_column("couples", "missing"))


VECTORS = [[1.0, 0.0, 0.0], [0.0, 2.0, 0.5], [-1.0, 0.25, 1.0]]
QUERY = [1, 1, 0]
DISTANCES = {
    "l2_distance": [1.0, 1.5, 2.358495283014151],
    "max_inner_product": [-1.0, -2.0, 0.75],
    "cosine_distance": [0.2928932188134524, 0.31400565254962866, 1.3692744729379982],
    "l1_distance": [1.0, 2.5, 3.75],
}


@pytest.fixture
def model(database):
    class Point(peewee.Model):
        vector = VectorField(dimensions=3, null=True)
        half = HalfVectorField(dimensions=3, null=True)
        sparse = SparseVectorField(dimensions=3, null=True)
        bit = FixedBitField(max_length=5, null=True)

        class Meta:
            table_name = "points"

    Point._meta.set_database(database)
    database.create_tables([Point])
    Point.add_index("vector vector_l2_ops", using="hnsw")
    for vector, bits in zip(VECTORS, ["11100", "10011", "00000"]):
        Point.create(vector=vector, half=vector, sparse=SparseVector(vector), bit=bits)
    Point.create()
    return Point


def test_vector_fields(model):
    found = list(model.select().order_by(model.id))
    assert [point.vector for point in found] == [*VECTORS, None]
    assert [point.half for point in found] == [*VECTORS, None]
    assert [point.sparse and point.sparse.to_list() for point in found] == [*VECTORS, None]
    assert [point.bit for point in found] == ["11100", "10011", "00000", None]
    model.insert_many([{"vector": [7, 8, 9], "half": [1, 1, 1]}, {"vector": None, "half": None}]).execute()
    assert model.get(model.id == 5).vector == [7.0, 8.0, 9.0]
    assert model.update(sparse=SparseVector({2: 4}, 3)).where(model.sparse.is_null()).execute() == 3
    assert model.get_by_id(6).sparse.to_list() == [0.0, 0.0, 4.0]
    with pytest.raises(peewee.DataError), model._meta.database.atomic():
        model.create(vector=[1, 2])


@pytest.mark.parametrize("name", ["vector", "half", "sparse"])
def test_distances_of_vector_fields(model, name):
    query = SparseVector(QUERY) if name == "sparse" else QUERY
    for method, distances in DISTANCES.items():
        distance = getattr(getattr(model, name), method)(query)
        wanted = [key for _, key in sorted((value, key) for key, value in enumerate(distances, 1))]
        assert [point.id for point in model.select().order_by(distance).limit(3)] == wanted, method
        rows = list(model.select(model.id, distance).where(model.id < 4).order_by(model.id).tuples())
        assert rows == [(key, pytest.approx(value, rel=1e-6)) for key, value in enumerate(distances, 1)], method


def test_bits_and_averages(model):
    for method, wanted in [("hamming_distance", [2.0, 2.0, 3.0]), ("jaccard_distance", [0.5, 0.5, 1.0])]:
        distance = getattr(model.bit, method)("10101")
        rows = list(model.select(model.id, distance).where(model.id < 4).order_by(distance, model.id).tuples())
        assert rows == list(enumerate(wanted, 1)), method
    assert model.select(fn.AVG(model.vector).coerce(True)).scalar() == [0.0, 0.75, 0.5]
    assert model.select(fn.SUM(model.half).coerce(True)).scalar() == [0.0, 2.25, 1.5]
