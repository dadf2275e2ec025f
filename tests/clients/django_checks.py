"""What test_django.py checks, in a process of its own, since Django is set up once for a process."""

import datetime as dt
import io
import json
import sys
from decimal import Decimal


def configure(given):
    import django
    from django.conf import settings

    if given["driver"] == "psycopg2":
        # Django takes psycopg 3 when it is there.
        sys.modules["psycopg"] = None
    options = {"server_side_binding": True} if given["server_side"] else {}
    settings.configure(
        INSTALLED_APPS=["django.contrib.postgres", "shop.apps.ShopConfig"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": given["database"],
                "USER": given["user"],
                "PASSWORD": given["password"],
                "HOST": given["host"],
                "PORT": given["port"],
                "OPTIONS": options,
            }
        },
        USE_TZ=True,
        TIME_ZONE="UTC",
    )
    django.setup()
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    assert is_psycopg3 == (given["driver"] == "psycopg")


def manage(*arguments, **options) -> str:
    from django.core.management import call_command

    out = io.StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


def check_migrate():
    from django.db import connection

    assert "CREATE TABLE" in manage("sqlmigrate", "shop", "0001")
    assert "Applying shop.0001_initial... OK" in manage("migrate", "shop", "0001")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO shop_product (title, slug, code, price, stock, active, description, created, data, tags) "
            "VALUES ('old', 'old', gen_random_uuid(), 1, 0, true, '', now(), '{}', '{}')"
        )
    assert "Applying shop.0002_changes... OK" in manage("migrate")
    assert "[X] 0002_changes" in manage("showmigrations", "shop")
    manage("makemigrations", "--check", "--dry-run")
    from shop.models import Product

    (old,) = Product.objects.all()
    assert (old.name, old.slug, old.lang) == ("old", f"old-{old.pk}", "en")
    Product.objects.all().delete()


def check_introspection():
    from django.db import connection

    text = manage("inspectdb", "shop_product")
    for wanted in [
        "name = models.CharField(max_length=60)",
        "price = models.DecimalField(max_digits=10, decimal_places=2)",
        "slug = models.CharField(unique=True, max_length=50)",
        "data = models.JSONField()",
        "unique_together = (('name', 'lang'),)",
    ]:
        assert wanted in text, f"{wanted}\n{text}"
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "shop_product")
    assert found["shop_embedding"]["type"] == "hnsw" and found["shop_embedding"]["index"]
    assert found["shop_lang_price"]["orders"] == ["ASC", "DESC"]
    assert found["shop_name_lang"]["unique"] and found["shop_name_lang"]["columns"] == ["name", "lang"]
    assert found["shop_price_positive"]["check"]


def check_round_trip():
    from shop.models import Product

    values = {
        "name": "Füller 'x'",
        "slug": "pen",
        "price": Decimal("12.50"),
        "stock": 3,
        "rating": 0.1,
        "active": False,
        "released": dt.date(2024, 2, 29),
        "opens": dt.time(8, 30),
        "span": dt.timedelta(days=1, seconds=5),
        "data": {"a": [1, {"b": None}], "color": "blue"},
        "tags": ["ink", "b,c"],
        "embedding": [1.0, 0.5, -2.0],
    }
    made = Product.objects.create(blob=b"\x00\xff", **values)
    found = Product.objects.get(pk=made.pk)
    for name, wanted in values.items():
        assert getattr(found, name) == wanted, name
    assert bytes(found.blob) == b"\x00\xff" and found.code == made.code
    assert abs(dt.datetime.now(dt.timezone.utc) - found.created) < dt.timedelta(minutes=5)
    found.delete()


def check_queries():
    from django.db.models import Avg, Case, Count, Exists, F, OuterRef, Q, Subquery, Sum, Value, When, Window
    from django.db.models.functions import Lower, RowNumber, TruncMonth

    from shop.models import Product

    Product.objects.bulk_create(
        [
            Product(
                name=f"item {n}",
                slug=f"item-{n}",
                price=n,
                stock=n % 7,
                lang="de" if n % 2 else "en",
                released=dt.date(2024, 1 + n % 3, 1),
                tags=["even"] if n % 2 == 0 else ["odd", str(n)],
                data={"n": n, "nested": {"third": n % 3 == 0}},
                embedding=[n, 0, 1],
            )
            for n in range(1, 101)
        ],
        batch_size=40,
    )
    products = Product.objects
    assert products.count() == 100
    assert products.filter(lang="de", price__gt=90).count() == 5
    assert list(products.filter(name__in=["item 3", "item 5"]).values_list("price", flat=True)) == [3, 5]
    assert products.filter(name__icontains="ITEM 1").count() == 12
    assert products.filter(name__iregex=r"^ITEM \d$").count() == 9
    assert products.filter(Q(price__lt=3) | Q(slug__endswith="-100")).count() == 3
    assert products.exclude(stock=0).filter(price__range=(1, 10)).count() == 9
    grouped = products.values("lang").annotate(n=Count("id"), total=Sum("price")).order_by("lang")
    assert list(grouped) == [{"lang": "de", "n": 50, "total": 2500}, {"lang": "en", "n": 50, "total": 2550}]
    assert products.aggregate(mean=Avg("price"))["mean"] == Decimal("50.5")
    months = products.annotate(month=TruncMonth("released")).values("month").annotate(n=Count("id")).order_by("month")
    assert [row["n"] for row in months] == [33, 34, 33]
    assert products.filter(released__year=2024, released__month=2).count() == 34
    assert products.filter(data__nested__third=True).count() == 33
    assert products.filter(data__n__gte=99).count() == 2
    assert products.filter(data__contains={"n": 7}).get().price == 7
    assert products.filter(data__has_key="n").count() == 100
    assert products.filter(tags__contains=["even"]).count() == 50
    assert products.filter(tags__overlap=["7", "9"]).count() == 2
    assert products.filter(tags__len=2).count() == 50
    assert products.filter(tags__0="odd").count() == 50
    kinds = products.annotate(kind=Case(When(price__gt=50, then=Value("high")), default=Value("low")))
    assert kinds.filter(kind="high").count() == 50
    newest = products.filter(lang=OuterRef("lang")).order_by("-price").values("price")[:1]
    assert {p.top for p in products.annotate(top=Subquery(newest))[:5]} == {99, 100}
    dearer = products.filter(lang=OuterRef("lang"), price__gt=OuterRef("price"))
    assert products.filter(~Exists(dearer)).count() == 2
    ranked = products.annotate(rank=Window(RowNumber(), partition_by="lang", order_by=F("price").desc()))
    assert sorted(p.price for p in ranked.filter(rank=1)) == [99, 100]
    assert products.order_by(Lower("name").desc()).first().name == "item 99"
    assert products.filter(price__lte=3).update(stock=F("stock") + 10) == 3
    assert sorted(products.filter(stock__gte=10).values_list("stock", flat=True)) == [11, 12, 13]
    one, made = products.get_or_create(slug="item-1", defaults={"name": "x", "price": 1})
    assert (one.name, made) == ("item 1", False)
    one, made = products.update_or_create(slug="item-1", defaults={"description": "changed"})
    assert (one.description, made) == ("changed", False)
    one.stock = 77
    products.bulk_update([one], ["stock"])
    one.refresh_from_db()
    assert one.stock == 77
    products.bulk_create(
        [Product(name="item 2", slug="item-2", price=222)],
        update_conflicts=True,
        update_fields=["price"],
        unique_fields=["slug"],
    )
    assert products.get(slug="item-2").price == 222
    products.bulk_create([Product(name="item 2", slug="item-2", price=5)], ignore_conflicts=True)
    assert products.count() == 100
    assert sum(1 for _ in products.iterator(chunk_size=30)) == 100
    assert list(products.order_by("price").values_list("price", flat=True)[10:13]) == [12, 13, 14]
    both = products.filter(price=5).union(products.filter(price=6)).order_by("price")
    assert [p.price for p in both] == [5, 6]
    assert products.filter(price__gt=98).delete()[0] == 3
    assert len(products.raw("SELECT * FROM shop_product WHERE price < %s", [5])) == 3
    assert products.explain()


def check_vectors():
    from django.db.models import Avg
    from pgvector.django import CosineDistance, L1Distance, L2Distance, MaxInnerProduct

    from shop.models import Product

    near = Product.objects.order_by(L2Distance("embedding", [10, 0, 1]))
    assert [p.slug for p in near[:1]] == ["item-10"]
    found = Product.objects.filter(lang="de", stock__gt=0).alias(d=L2Distance("embedding", [10, 0, 1]))
    assert [p.slug for p in found.filter(d__lt=4).order_by("d", "id")] == ["item-9", "item-11", "item-13"]
    first = Product.objects.annotate(
        l1=L1Distance("embedding", [0, 0, 0]), ip=MaxInnerProduct("embedding", [1, 1, 1]), d=CosineDistance("embedding", [5, 0, 1])
    ).get(slug="item-5")
    assert (first.l1, first.ip) == (6, -6) and abs(first.d) < 1e-6
    assert Product.objects.filter(price__lte=5).aggregate(mean=Avg("embedding"))["mean"] == [3.25, 0.0, 1.0]


def check_transactions():
    from django.db import DataError, IntegrityError, ProgrammingError, connection, transaction

    from shop.models import Product

    class Undo(Exception):
        pass

    try:
        with transaction.atomic():
            Product.objects.create(name="gone", slug="gone", price=1)
            raise Undo
    except Undo:
        pass
    assert not Product.objects.filter(slug="gone").exists()
    done = []
    with transaction.atomic():
        transaction.on_commit(lambda: done.append(True))
        for values in [{"slug": "item-5", "name": "new"}, {"slug": "minus", "name": "minus", "price": -1}]:
            try:
                with transaction.atomic():
                    Product.objects.create(**{"price": 1, **values})
                raise AssertionError(values)
            except IntegrityError:
                pass
        Product.objects.select_for_update().get(slug="item-5")
        Product.objects.create(name="kept", slug="kept", price=1)
    assert done and Product.objects.filter(slug="kept").exists()
    for statement, kind in [("SELECT * FROM missing", ProgrammingError), ("SELECT 1 / 0", DataError)]:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)
            raise AssertionError(statement)
        except kind:
            pass


def check_backwards():
    from django.db import connection

    manage("flush", interactive=False)
    manage("migrate", "shop", "0001")
    manage("migrate", "shop", "zero")
    assert connection.introspection.table_names() == ["django_migrations"]


if __name__ == "__main__":
    configure(json.loads(sys.argv[1]))
    for check in [
        check_migrate, check_introspection, check_round_trip, check_queries, check_vectors, check_transactions,
        check_backwards,
    ]:  # fmt: skip
        check()
