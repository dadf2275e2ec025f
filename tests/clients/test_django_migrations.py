"""Django's migrations with pgvector.django: there and back with rows in the tables, what they leave in the catalog, inspectdb."""

import io

import pytest
from django.core.management import call_command
from django.db import IntegrityError, ProgrammingError, transaction
from django.db.migrations.executor import MigrationExecutor
from pgvector.django import HnswIndex

from django_setup import alias, connection, migrate, schema  # noqa: F401
from django_app.models import Item

TABLES = ["django_migrations", "shelf_item", "shelf_record", "shelf_sale", "shelf_seat"]


def tables(connection):
    with connection.cursor() as cursor:
        return sorted(table.name for table in connection.introspection.get_table_list(cursor))


def columns(connection, table):
    """Kind, whether NULL may be in it, and default of each column. Django has no kind for arrays and vectors."""
    kinds = connection.introspection.data_types_reverse
    with connection.cursor() as cursor:
        return {
            column.name: (
                connection.introspection.get_field_type(column.type_code, column) if column.type_code in kinds else None,
                column.null_ok,
                column.default,
            )
            for column in connection.introspection.get_table_description(cursor, table)
        }


def constraints(connection, table):
    with connection.cursor() as cursor:
        return connection.introspection.get_constraints(cursor, table)


def old_models(connection):
    return MigrationExecutor(connection).loader.project_state(("shelf", "0001_initial")).apps


def test_the_migrations_lead_to_the_models(schema):
    out = io.StringIO()
    call_command("makemigrations", check=True, dry_run=True, stdout=out)
    assert out.getvalue() == "No changes detected\n"


def test_there_and_back_with_rows(alias, connection):
    assert "Applying shelf.0001_initial... OK" in migrate(alias, "0001")
    apps = old_models(connection)
    apps.get_model("shelf", "Item").objects.create(title="one", stock=None, embedding=[1, 2, 3])
    apps.get_model("shelf", "Item").objects.create(title="two", stock=2, legacy="kept?")
    apps.get_model("shelf", "Entry").objects.create(title="e", big=7, price="1.25")
    apps.get_model("shelf", "Sale").objects.create(region="north", day="2024-01-01", amount="2.50")
    out = migrate(alias)
    assert "Applying shelf.0002_changes... OK" in out and "Applying shelf.0003_concurrently... OK" in out
    assert list(Item.objects.values_list("name", "stock", "category")) == [("one", 0, "from-one"), ("two", 2, "from-two")]
    assert Item.objects.get(name="one").embedding == [1, 2, 3]
    with connection.cursor() as cursor:
        cursor.execute("SELECT title, big, price, tags, scores, document, state FROM shelf_record")
        title, big, price, tags, scores, document, state = cursor.fetchone()
    assert (title, big, str(price), tags, scores, state) == ("e", 7, "1.2500", [], None, "new")
    assert document in ({}, "{}")

    out = migrate(alias, "0001")
    assert "Unapplying shelf.0003_concurrently... OK" in out and "Unapplying shelf.0002_changes... OK" in out
    items = apps.get_model("shelf", "Item").objects.order_by("id")
    assert list(items.values_list("title", "stock", "legacy")) == [("one", 0, "old"), ("two", 2, "old")]
    assert "shelf_entry" in tables(connection) and "shelf_record" not in tables(connection)
    # The id column was widened and narrowed again; its sequence goes on.
    assert apps.get_model("shelf", "Sale").objects.create(region="n", day="2024-01-01", amount="1").id == 2
    migrate(alias, "zero")
    assert tables(connection) == ["django_migrations"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_extension WHERE extname = 'vector'")
        assert cursor.fetchone() == (0,)


def test_what_is_applied(alias, connection):
    migrate(alias, "0002")
    out = io.StringIO()
    call_command("showmigrations", "shelf", database=alias, no_color=True, stdout=out)
    assert out.getvalue() == "shelf\n [X] 0001_initial\n [X] 0002_changes\n [ ] 0003_concurrently\n"
    assert "No migrations to apply." not in migrate(alias)
    assert "No migrations to apply." in migrate(alias)


def test_columns_and_comments(connection, schema):
    assert tables(connection) == TABLES
    found = columns(connection, "shelf_record")
    assert found["id"] == ("UUIDField", False, None)
    assert found["price"] == ("DecimalField", False, None)
    assert found["big"] == ("BigIntegerField", False, None)
    assert found["moment"] == ("DateTimeField", True, None)
    assert found["span"] == ("DurationField", True, None)
    assert found["document"] == ("JSONField", False, None)
    assert found["data"] == ("BinaryField", True, None)
    assert found["stamped"][2] == "statement_timestamp()"
    assert found["state"][2] == "'new'::character varying"
    assert columns(connection, "shelf_item")["id"] == ("BigAutoField", False, None)
    with connection.cursor() as cursor:
        tables_ = {table.name: table.comment for table in connection.introspection.get_table_list(cursor)}
        columns_ = connection.introspection.get_table_description(cursor, "shelf_item")
        assert connection.introspection.get_sequences(cursor, "shelf_sale") == [
            {"name": "shelf_sale_id_seq", "table": "shelf_sale", "column": "id"}
        ]
        assert connection.introspection.get_primary_key_columns(cursor, "shelf_seat") == ["row", "number"]
        assert connection.introspection.get_relations(cursor, "shelf_item") == {}
    assert tables_["shelf_item"] == "things with vectors" and tables_["shelf_sale"] is None
    assert {column.name: column.comment for column in columns_}["stock"] == "pieces in the store"


def test_indexes_and_constraints(connection, schema):
    found = constraints(connection, "shelf_item")
    assert found["shelf_item_pkey"]["primary_key"] and found["shelf_item_pkey"]["columns"] == ["id"]
    hnsw = found["item_embedding_l2"]
    assert (hnsw["type"], hnsw["columns"], hnsw["options"]) == ("hnsw", ["embedding"], ["m=8", "ef_construction=32"])
    assert hnsw["index"] and not hnsw["unique"]
    assert (found["item_half_cosine"]["type"], found["item_half_cosine"]["options"]) == ("ivfflat", ["lists=2"])
    assert found["item_embedding_as_half"]["columns"] == []
    assert "(embedding)::halfvec(3)" in found["item_embedding_as_half"]["definition"]
    assert (found["item_embedding_ip"]["columns"], found["item_embedding_ip"]["type"]) == (["embedding"], "hnsw")
    mixed = found["item_category_stock"]
    assert (mixed["columns"], mixed["orders"], mixed["type"]) == (["category", "stock"], ["ASC", "DESC"], "idx")
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'shelf\\_item\\_%\\_like' ORDER BY indexdef")
        definitions = [definition for (definition,) in cursor.fetchall()]
    assert [definition.split(" USING ")[1] for definition in sorted(definitions)] == [
        "btree (category varchar_pattern_ops)",
        "btree (name varchar_pattern_ops)",
    ]
    assert [found[name]["columns"] for name in found if found[name]["check"]] == [["stock"]]

    found = constraints(connection, "shelf_record")
    assert found["record_price_positive"]["check"] and found["record_price_positive"]["columns"] == ["price"]
    assert found["record_title_day"]["unique"] and found["record_title_day"]["columns"] == ["title", "day"]


def test_inspectdb(alias, schema):
    out = io.StringIO()
    call_command("inspectdb", database=alias, stdout=out)
    lines = [line.strip() for line in out.getvalue().splitlines()]
    for line in [
        "id = models.BigAutoField(primary_key=True)",
        "name = models.CharField(unique=True, max_length=60)",
        "stock = models.IntegerField(db_comment='pieces in the store')",
        "embedding = models.TextField(blank=True, null=True)  # This field type is a guess.",
        "price = models.DecimalField(max_digits=12, decimal_places=4)",
        "id = models.UUIDField(primary_key=True)",
        "unique_together = (('title', 'day'),)",
        "unique_together = (('region', 'day', 'amount'),)",
        "reference = models.CharField(unique=True, max_length=20, blank=True, null=True)",
        "pk = models.CompositePrimaryKey('row', 'number')",
        "db_table_comment = 'things with vectors'",
    ]:
        assert line in lines, line
    assert out.getvalue().count("class ") == 2 * len(TABLES)


def test_a_migration_that_fails_leaves_nothing(connection, schema):
    with pytest.raises(ProgrammingError), connection.schema_editor() as editor:
        editor.remove_index(Item, HnswIndex(name="item_embedding_l2", fields=["embedding"], opclasses=["vector_l2_ops"]))
        editor.add_index(Item, HnswIndex(name="two", fields=["half"], opclasses=["halfvec_l2_ops"]))
        editor.execute("ALTER TABLE shelf_item ADD COLUMN name text")
    assert "item_embedding_l2" in constraints(connection, "shelf_item")
    assert "two" not in constraints(connection, "shelf_item")


def test_constraints_over_rows_that_break_them(alias, connection):
    migrate(alias, "0001")
    items = old_models(connection).get_model("shelf", "Item").objects
    items.create(title="same", stock=1)
    items.create(title="same", stock=1)
    with pytest.raises(IntegrityError) as caught:
        migrate(alias)
    assert caught.value.__cause__.sqlstate == "23505"
    items.filter(stock=1).update(title="other", stock=-1)
    items.filter(pk=items.first().pk).update(title="one")
    with pytest.raises(IntegrityError) as caught:
        migrate(alias)
    assert caught.value.__cause__.sqlstate == "23514"
    assert set(items.values_list("title", "stock")) == {("one", -1), ("other", -1)}
    items.update(stock=3)
    migrate(alias)
    assert set(Item.objects.values_list("name", "stock")) == {("one", 3), ("other", 3)}


def test_flush_and_sequences(alias, schema):
    first = Item.objects.create(name="a")
    Item.objects.create(name="b")
    call_command("flush", database=alias, interactive=False, verbosity=0)
    assert Item.objects.count() == 0
    assert Item.objects.create(name="c").pk == first.pk
    out = io.StringIO()
    call_command("sqlsequencereset", "shelf", database=alias, no_color=True, stdout=out)
    assert "setval(pg_get_serial_sequence('\"shelf_item\"','id')" in out.getvalue()


def test_dumpdata_and_loaddata(alias, schema, tmp_path):
    Item.objects.create(name="a", embedding=[1, 2, 3], half=[1, 2, 3], bits="1010")
    file = tmp_path / "items.json"
    call_command("dumpdata", "shelf.Item", database=alias, output=str(file), verbosity=0)
    Item.objects.all().delete()
    with transaction.atomic(using=alias):
        call_command("loaddata", str(file), database=alias, verbosity=0)
    loaded = Item.objects.get()
    assert (loaded.name, loaded.embedding, loaded.bits) == ("a", [1, 2, 3], "1010")
