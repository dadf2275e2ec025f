"""Django's transactions: atomic blocks and savepoints, row locks, server-side cursors, errors, raw cursors."""

import threading

import pytest
from django.db import DataError, IntegrityError, OperationalError, ProgrammingError, connections, transaction
from django.db.models import F

from django_setup import alias, connection, schema  # noqa: F401
from django_app.models import Item

pytestmark = pytest.mark.usefixtures("schema")


class Undone(Exception):
    pass


def names():
    return sorted(Item.objects.values_list("name", flat=True))


def test_atomic_and_savepoints(alias):
    done = []
    with transaction.atomic(using=alias):
        Item.objects.create(name="kept")
        transaction.on_commit(lambda: done.append("committed"), using=alias)
        with pytest.raises(Undone), transaction.atomic(using=alias):
            Item.objects.create(name="undone")
            raise Undone
        with pytest.raises(IntegrityError), transaction.atomic(using=alias):
            Item.objects.create(name="kept")
        with transaction.atomic(using=alias):
            Item.objects.create(name="inner", embedding=[1, 2, 3])
        mark = transaction.savepoint(using=alias)
        Item.objects.all().delete()
        transaction.savepoint_rollback(mark, using=alias)
        assert done == []
    assert done == ["committed"] and names() == ["inner", "kept"]
    with pytest.raises(Undone), transaction.atomic(using=alias, durable=True):
        Item.objects.update(stock=5)
        raise Undone
    assert set(Item.objects.values_list("stock", flat=True)) == {0}


def test_a_failed_block_refuses_queries(alias):
    with pytest.raises(transaction.TransactionManagementError), transaction.atomic(using=alias):
        try:
            Item.objects.create(name="x" * 61)
        except DataError as error:
            assert error.__cause__.sqlstate == "22001"
        Item.objects.count()
    assert names() == []


def test_row_locks(alias, server):
    Item.objects.create(name="a")
    Item.objects.create(name="b")
    locked, release, problems = threading.Event(), threading.Event(), []

    def hold():
        try:
            with transaction.atomic(using=alias):
                Item.objects.using(alias).select_for_update().get(name="a")
                locked.set()
                release.wait(20)
                Item.objects.using(alias).filter(name="a").update(stock=F("stock") + 10)
        except Exception as problem:
            problems.append(problem)
        finally:
            locked.set()
            connections[alias].close()

    other = threading.Thread(target=hold)
    other.start()
    assert locked.wait(20)
    try:
        with pytest.raises(OperationalError) as caught, transaction.atomic(using=alias):
            Item.objects.select_for_update(nowait=True).get(name="a")
        assert caught.value.__cause__.sqlstate == "55P03"
        with transaction.atomic(using=alias):
            assert [item.name for item in Item.objects.select_for_update(skip_locked=True)] == ["b"]
        with transaction.atomic(using=alias):
            free = Item.objects.select_for_update(skip_locked=True, of=("self",)).filter(name__in=["a", "b"]).first()
            assert free.name == "b"
    finally:
        release.set()
    with transaction.atomic(using=alias):
        waited = Item.objects.select_for_update(no_key=True).get(name="a")
        waited.stock += 1
        waited.save()
    other.join(20)
    assert not problems and not other.is_alive()
    assert Item.objects.get(name="a").stock == 11
    with pytest.raises(transaction.TransactionManagementError):
        Item.objects.select_for_update().get(name="a")


@pytest.mark.parametrize("inside", [False, True], ids=["autocommit", "atomic"])
def test_server_side_cursors(alias, connection, inside):
    Item.objects.bulk_create(Item(name=str(n), stock=n, embedding=[n, 0, 0]) for n in range(1000))

    def read():
        total = 0
        for n, item in enumerate(Item.objects.filter(stock__gte=100).order_by("stock").iterator(chunk_size=64)):
            assert item.embedding == [item.stock, 0, 0]
            total += item.stock
            if n == 0 and connection.pool is None:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT statement LIKE '%NO SCROLL CURSOR%', is_holdable FROM pg_cursors")
                    assert cursor.fetchall() == [(True, not inside)]
        return total

    if inside:
        with transaction.atomic(using=alias):
            assert read() == sum(range(100, 1000))
    else:
        assert read() == sum(range(100, 1000))
    some = Item.objects.order_by("pk").iterator(chunk_size=10)
    assert next(some).name == "0"
    some.close()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_cursors WHERE name LIKE '_django%'")
        assert cursor.fetchone() == (0,)


def test_raw_cursors(connection):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shelf_item (name, category, stock, embedding) VALUES (%s, %s, %s, %s)", ["r", "c", 1, "[1,2,3]"])
        assert cursor.rowcount == 1
        cursor.executemany("INSERT INTO shelf_item (name, category, stock) VALUES (%s, %s, %s)", [["s", "c", 2], ["t", "c", 3]])
        cursor.execute("SELECT name, embedding <-> %s::vector FROM shelf_item WHERE stock < %s ORDER BY name", ["[1,2,4]", 3])
        assert cursor.fetchall() == [("r", 1.0), ("s", None)]
        assert [column.name for column in cursor.description] == ["name", "?column?"]
        cursor.execute("SELECT 7 % 4, '100%'")
        assert cursor.fetchone() == (3, "100%")
        with cursor.copy("COPY shelf_item (name, category, stock) FROM STDIN") as copy:
            copy.write_row(["u", "c", 4])
        cursor.execute("SELECT count(*) FROM shelf_item")
        assert cursor.fetchone() == (4,)


def test_errors(connection):
    for statement, kind, state in [
        ("SELECT * FROM missing", ProgrammingError, "42P01"),
        ("SELECT 1/0", DataError, "22012"),
        ("SELECT '[1,2]'::vector(3)", DataError, "22000"),
        ("SELECT embedding <-> '[1,2]' FROM shelf_item", DataError, "22000"),
        ("INSERT INTO shelf_item (name) VALUES ('x')", IntegrityError, "23502"),
    ]:
        Item.objects.all().delete()
        Item.objects.create(name="one", embedding=[1, 2, 3])
        with pytest.raises(kind) as caught, connection.cursor() as cursor:
            cursor.execute(statement)
        assert caught.value.__cause__.sqlstate == state, statement
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '200ms'")
        with pytest.raises(OperationalError) as caught:
            cursor.execute("SELECT pg_sleep(10)")
        assert caught.value.__cause__.sqlstate == "57014"


def test_connection(connection):
    assert connection.is_usable() and connection.pg_version == 160014
    assert connection.features.supports_index_column_ordering
    with connection.cursor() as cursor:
        cursor.execute("SHOW TimeZone")
        assert cursor.fetchone() == ("UTC",)
    with connection.temporary_connection() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
