"""Django's ORM with pgvector.django: values, queries, aggregates and functions; through psycopg 3, with values written into the
statements (Django's default) and with OPTIONS server_side_binding. Transactions are in test_django_transactions.py."""

import datetime as dt
import uuid
from decimal import Decimal

import pytest
from django.contrib.postgres.aggregates import ArrayAgg, BoolAnd, BoolOr, JSONBAgg, StringAgg
from django.db import models
from django.db import IntegrityError
from django.db.models import Avg, Case, Count, Exists, F, Max, Min, OuterRef, Q, StdDev, Subquery, Sum, Value, When, Window
from django.db.models import functions as f
from django.db.models.fields.json import KT
from django.utils import timezone
from pgvector import SparseVector
from pgvector.django import CosineDistance, HammingDistance, JaccardDistance, L1Distance, L2Distance, MaxInnerProduct

from django_setup import alias, connection, schema  # noqa: F401
from django_app.models import Item, Record, Sale, Seat

UTC = dt.timezone.utc
pytestmark = pytest.mark.usefixtures("schema")


@pytest.fixture
def items():
    Item.objects.bulk_create(
        [
            Item(name="a", category="x", stock=1, embedding=[1, 1, 1], half=[1, 1, 1], bits="0000"),
            Item(name="b", category="x", stock=2, embedding=[2, 2, 2], half=[2, 2, 2], bits="1011"),
            Item(name="c", category="y", stock=3, embedding=[1, 1, 2], half=[1, 1, 2], bits="1111"),
            Item(name="d", category="y", stock=4),
        ]
    )
    Item.objects.filter(name="a").update(sparse=SparseVector([1, 0, 0, 0, 1]))
    Item.objects.filter(name="b").update(sparse=SparseVector([2, 0, 0, 0, 0]))
    Item.objects.filter(name="c").update(sparse=SparseVector([0, 3, 0, 0, 1]))


@pytest.fixture
def sales():
    Sale.objects.bulk_create(
        Sale(region=region, day=dt.date(2024, month, day), amount=Decimal(amount), quantity=quantity)
        for region, month, day, amount, quantity in [
            ("north", 1, 1, "10.00", 1),
            ("north", 1, 15, "20.50", 2),
            ("north", 2, 1, "5.25", 1),
            ("south", 1, 2, "100.00", 10),
            ("south", 3, 9, "1.00", 3),
            ("west", 2, 29, "7.77", 7),
        ]
    )


def test_vectors_there_and_back():
    Item.objects.create(
        name="one", embedding=[1, 2.5, -3], half=[1, 2.5, -3], sparse=SparseVector({1: 0.5}, 5), bits="1010"
    )
    item = Item.objects.get(name="one")
    assert (item.embedding, item.half, item.bits) == ([1, 2.5, -3], [1, 2.5, -3], "1010")
    assert item.sparse == SparseVector([0, 0.5, 0, 0, 0])
    item.embedding = None
    item.save(update_fields=["embedding"])
    item.refresh_from_db()
    assert item.embedding is None and item.half == [1, 2.5, -3]


@pytest.mark.parametrize(
    "distance, column, to, wanted",
    [
        (L2Distance, "embedding", [1, 1, 1], [("a", 0.0), ("c", 1.0), ("b", 3**0.5)]),
        (MaxInnerProduct, "embedding", [1, 1, 1], [("b", -6.0), ("c", -4.0), ("a", -3.0)]),
        (CosineDistance, "embedding", [1, 1, 1], [("a", 0.0), ("b", 0.0), ("c", 1 - 4 / 18**0.5)]),
        (L1Distance, "embedding", [1, 1, 1], [("a", 0.0), ("c", 1.0), ("b", 3.0)]),
        (L2Distance, "half", [1, 1, 1], [("a", 0.0), ("c", 1.0), ("b", 3**0.5)]),
        (CosineDistance, "half", [1, 1, 2], [("c", 0.0), ("a", 1 - 4 / 18**0.5), ("b", 1 - 4 / 18**0.5)]),
        (L2Distance, "sparse", SparseVector([1, 0, 0, 0, 1]), [("a", 0.0), ("b", 2**0.5), ("c", 10**0.5)]),
        (L1Distance, "sparse", SparseVector([1, 0, 0, 0, 1]), [("a", 0.0), ("b", 2.0), ("c", 4.0)]),
        (HammingDistance, "bits", "1011", [("b", 0.0), ("c", 1.0), ("a", 3.0)]),
        (JaccardDistance, "bits", "1011", [("b", 0.0), ("c", 0.25), ("a", 1.0)]),
    ],
)
def test_distances(items, distance, column, to, wanted):
    near = distance(column, to)
    found = Item.objects.exclude(embedding=None).annotate(far=near).order_by("far", "name").values_list("name", "far")
    assert [name for name, _ in found] == [name for name, _ in wanted]
    assert [far for _, far in found] == pytest.approx([far for _, far in wanted])
    assert Item.objects.exclude(embedding=None).order_by(near)[0].name in [wanted[0][0], "b"]
    count = Item.objects.alias(far=near).filter(far__lt=wanted[1][1] + 1e-6).count()
    assert count == sum(far < wanted[1][1] + 1e-6 for _, far in wanted)


def test_distances_between_columns_and_to_subqueries(items):
    other = Item.objects.filter(name="b").values("embedding")[:1]
    found = Item.objects.exclude(embedding=None).order_by(L2Distance("embedding", Subquery(other)), "name")
    assert [item.name for item in found] == ["b", "c", "a"]
    same = Item.objects.exclude(embedding=None).annotate(far=L2Distance("embedding", F("embedding")))
    assert set(same.values_list("far", flat=True)) == {0.0}
    target = Item.objects.get(name="a").embedding
    nearest = Item.objects.filter(category="y", embedding__isnull=False).order_by(L2Distance("embedding", target))[:5]
    assert [item.name for item in nearest] == ["c"]
    as_half = L2Distance(f.Cast("embedding", Item._meta.get_field("half")), [1, 1, 1])
    assert [item.name for item in Item.objects.filter(stock__lt=4).order_by(as_half)] == ["a", "c", "b"]


def test_averages_and_sums_of_vectors(items):
    assert Item.objects.aggregate(Avg("embedding"))["embedding__avg"] == pytest.approx([4 / 3, 4 / 3, 5 / 3])
    assert Item.objects.aggregate(Sum("embedding"))["embedding__sum"] == [4, 4, 5]
    assert Item.objects.aggregate(sum=Sum("half"))["sum"] == [4, 4, 5]
    assert Item.objects.filter(name="d").aggregate(Avg("embedding"))["embedding__avg"] is None
    by_category = Item.objects.order_by("category").values("category").annotate(mean=Avg("embedding"), n=Count("id"))
    assert list(by_category) == [
        {"category": "x", "mean": [1.5, 1.5, 1.5], "n": 2},
        {"category": "y", "mean": [1, 1, 2], "n": 2},
    ]


def test_every_field_there_and_back():
    key = uuid.uuid4()
    moment = dt.datetime(2024, 7, 1, 12, 30, 15, 123456, tzinfo=UTC)
    values = dict(
        flag=True,
        small=-32768,
        integer=2147483647,
        big=-9223372036854775808,
        ratio=0.1,
        price=Decimal("12345678.1250"),
        title="grüße ' \" \\ %s 🙂",
        body="x" * 5000,
        data=b"\x00\xff%",
        day=dt.date(2024, 2, 29),
        clock=dt.time(23, 59, 59, 999999),
        moment=moment,
        span=dt.timedelta(days=-3, hours=4, microseconds=5),
        document={"a": [1, 2.5, None, "ü"], "b": {"c": True}},
        tags=["one", "", "q'\",{}", "NULL"],
        scores=[1, None, -3],
    )
    Record.objects.create(id=key, **values)
    record = Record.objects.get(pk=key)
    for name, wanted in values.items():
        got = getattr(record, name)
        assert (bytes(got) if name == "data" else got) == wanted, name
    assert record.moment.tzinfo is not None and record.state == "new"
    assert abs(record.created - record.stamped) < dt.timedelta(minutes=1)
    for name, wanted in values.items():
        if name not in ("data",):
            assert Record.objects.filter(**{name: wanted}).count() == 1, name
    Record.objects.filter(pk=key).update(integer=None, scores=None, span=None, document=None or {}, tags=[])
    record.refresh_from_db()
    assert (record.integer, record.scores, record.span, record.document, record.tags) == (None, None, None, {}, [])


def test_json_lookups():
    for n, document in enumerate(
        [{"kind": "a", "n": 1, "in": {"x": [10, 20]}}, {"kind": "b", "n": 2}, {"kind": None}, {}, {"n": "2"}]
    ):
        Record.objects.create(small=n, document=document)

    def numbers(*args, **lookup):
        return sorted(Record.objects.filter(*args, **lookup).values_list("small", flat=True))

    assert numbers(document__kind="a") == [0]
    assert numbers(document__n=2) == [1]
    assert numbers(document__n__gt=1) == [1]
    assert numbers(document__in__x__1=20) == [0]
    assert numbers(document__kind__in=["a", "b"]) == [0, 1]
    assert numbers(document__kind=None) == [2]
    assert numbers(document__kind__isnull=True) == [3, 4]
    assert numbers(document__has_key="kind") == [0, 1, 2]
    assert numbers(document__has_keys=["kind", "n"]) == [0, 1]
    assert numbers(document__has_any_keys=["in", "n"]) == [0, 1, 4]
    assert numbers(document__contains={"kind": "b"}) == [1]
    assert numbers(document__contained_by={"kind": "b", "n": 2, "z": 0}) == [1, 3]
    assert numbers(document__kind__icontains="A") == [0]
    assert numbers(~Q(document__kind="a")) == [1, 2]
    assert numbers(document={}) == [3]
    kinds = Record.objects.filter(small__lt=2).order_by("document__kind").values_list("document__kind", flat=True)
    assert list(kinds) == ["a", "b"]
    grouped = Record.objects.annotate(k=KT("document__kind")).values("k").annotate(n=Count("pk")).order_by(F("k").asc(nulls_last=True))
    assert [(row["k"], row["n"]) for row in grouped] == [("a", 1), ("b", 1), (None, 3)]


def test_array_lookups():
    for n, (tags, scores) in enumerate([(["a", "b"], [1, 2]), (["b"], []), ([], None), (["c", "b", "a"], [5, None, 7])]):
        Record.objects.create(small=n, tags=tags, scores=scores)

    def numbers(**lookup):
        return sorted(Record.objects.filter(**lookup).values_list("small", flat=True))

    assert numbers(tags=["a", "b"]) == [0]
    assert numbers(tags__contains=["a"]) == [0, 3]
    assert numbers(tags__contained_by=["a", "b"]) == [0, 1, 2]
    assert numbers(tags__overlap=["c", "b"]) == [0, 1, 3]
    assert numbers(tags__len=1) == [1]
    assert numbers(tags__0="b") == [1]
    assert numbers(tags__0_2=["c", "b"]) == [3]
    assert numbers(scores__0__gte=1) == [0, 3]
    assert numbers(scores__isnull=True) == [2]
    found = Record.objects.aggregate(all=ArrayAgg("small", order_by="-small"), titles=StringAgg("state", "-", distinct=True))
    assert found == {"all": [3, 2, 1, 0], "titles": "new"}


def test_text_lookups(items):
    Item.objects.create(name="Größe_50%", category="z")

    def names(**lookup):
        return sorted(Item.objects.filter(**lookup).values_list("name", flat=True))

    assert names(name__contains="_50%") == ["Größe_50%"]
    assert names(name__icontains="GRÖSSE") == []
    assert names(name__icontains="größe") == names(name__iexact="GRÖßE_50%") == ["Größe_50%"]
    assert names(name__startswith="Gr") == names(name__endswith="%") == names(name__istartswith="gR") == ["Größe_50%"]
    assert names(name__regex=r"^[a-b]$") == ["a", "b"]
    assert names(name__iregex=r"^G.*\d+") == ["Größe_50%"]
    assert names(name__in=["a", "d", "q"]) == ["a", "d"]
    assert names(name__range=("b", "d")) == ["b", "c", "d"]
    assert names(name__in=[]) == []
    assert names(category__contains=F("name")) == []


def test_times_and_zones():
    Record.objects.create(small=1, title="1", moment=dt.datetime(2024, 3, 31, 0, 30, tzinfo=UTC))
    Record.objects.create(small=2, title="2", moment=dt.datetime(2024, 3, 31, 22, 30, tzinfo=UTC))
    Record.objects.create(small=3, title="3", day=dt.date(2024, 12, 30), clock=dt.time(8, 15))
    # In Berlin the second is on the first of April.
    assert Record.objects.get(moment__date=dt.date(2024, 4, 1)).small == 2
    assert Record.objects.get(moment__month=3).small == 1
    assert Record.objects.get(moment__hour=0, moment__year=2024).small == 2
    assert Record.objects.get(day__week=1, day__iso_year=2025, day__quarter=4, day__week_day=2).small == 3
    assert Record.objects.get(clock__hour=8, clock__minute=15).small == 3
    assert list(Record.objects.filter(moment__isnull=False).dates("moment", "month")) == [dt.date(2024, 3, 1), dt.date(2024, 4, 1)]
    hours = Record.objects.filter(moment__isnull=False).datetimes("moment", "hour", order="DESC", tzinfo=UTC)
    assert list(hours) == [dt.datetime(2024, 3, 31, 22, tzinfo=UTC), dt.datetime(2024, 3, 31, 0, tzinfo=UTC)]
    months = (
        Record.objects.exclude(moment=None).annotate(m=f.TruncMonth("moment")).values("m").annotate(n=Count("pk")).order_by("m")
    )
    assert [(row["m"].isoformat(), row["n"]) for row in months] == [
        ("2024-03-01T00:00:00+01:00", 1),
        ("2024-04-01T00:00:00+02:00", 1),
    ]
    later = Record.objects.annotate(later=F("moment") + dt.timedelta(days=1, seconds=1)).get(small=1).later
    assert later == dt.datetime(2024, 4, 1, 0, 30, 1, tzinfo=UTC)
    apart = Record.objects.filter(small=2).annotate(
        apart=F("moment") - Value(dt.datetime(2024, 3, 31, tzinfo=UTC), output_field=models.DateTimeField())
    )
    assert apart.get().apart == dt.timedelta(hours=22, minutes=30)
    Record.objects.filter(small=1).update(span=dt.timedelta(hours=5), moment=F("moment") + dt.timedelta(hours=1))
    assert Record.objects.aggregate(Sum("span"), Avg("span")) == {
        "span__sum": dt.timedelta(hours=5),
        "span__avg": dt.timedelta(hours=5),
    }
    assert Record.objects.filter(stamped__lte=f.Now(), created__lte=timezone.now()).count() == 3
    assert Record.objects.filter(moment__gt=f.Now() - dt.timedelta(days=1)).count() == 0
    seen = Record.objects.filter(small=3).values_list(f.ExtractWeek("day"), f.ExtractIsoWeekDay("day"), f.TruncYear("day"))
    assert list(seen) == [(1, 1, dt.date(2024, 1, 1))]


def test_grouping(sales):
    by_region = (
        Sale.objects.values("region")
        .annotate(total=Sum("amount"), n=Count("id"), mean=Avg("quantity"), top=Max("amount"), low=Min("day"))
        .filter(n__gt=1)
        .order_by("-total")
    )
    assert list(by_region) == [
        {"region": "south", "total": Decimal("101.00"), "n": 2, "mean": 6.5, "top": Decimal("100.00"), "low": dt.date(2024, 1, 2)},
        {"region": "north", "total": Decimal("35.75"), "n": 3, "mean": 4 / 3, "top": Decimal("20.50"), "low": dt.date(2024, 1, 1)},
    ]
    months = Sale.objects.annotate(m=f.ExtractMonth("day")).values("m").annotate(q=Sum("quantity")).order_by("m")
    assert [(row["m"], row["q"]) for row in months] == [(1, 13), (2, 8), (3, 3)]
    found = Sale.objects.aggregate(
        regions=Count("region", distinct=True),
        big=Count("id", filter=Q(amount__gt=10)),
        value=Sum(F("amount") * F("quantity")),
        none=Sum("amount", filter=Q(region="east"), default=0),
        spread=StdDev("quantity"),
        many=BoolOr(Q(quantity__gt=9)),
        all=BoolAnd(Q(quantity__gt=0)),
    )
    assert found["spread"] == pytest.approx(3.366501646)
    del found["spread"]
    assert found == {
        "regions": 3, "big": 2, "value": Decimal("1113.64"), "none": 0, "many": True, "all": True
    }  # fmt: skip
    sizes = Sale.objects.annotate(
        size=Case(When(amount__gte=50, then=Value("big")), When(amount__gte=10, then=Value("mid")), default=Value("small"))
    )
    assert list(sizes.values("size").annotate(n=Count("pk")).order_by("size").values_list("size", "n")) == [
        ("big", 1), ("mid", 2), ("small", 3)
    ]  # fmt: skip
    # An aggregate over a query that is grouped itself.
    assert Sale.objects.values("region").annotate(n=Count("pk")).aggregate(Max("n"), Avg("n")) == {"n__max": 3, "n__avg": 2.0}
    rows = Sale.objects.filter(region="north").aggregate(
        rows=JSONBAgg("quantity", order_by="-amount"), texts=StringAgg("reference", ",", default=Value("-"))
    )
    assert rows == {"rows": [2, 1, 1], "texts": "-"}


def test_windows(sales):
    rows = Sale.objects.annotate(
        place=Window(f.RowNumber(), partition_by=F("region"), order_by=F("day").asc()),
        running=Window(Sum("amount"), partition_by=F("region"), order_by="day"),
        before=Window(f.Lag("amount", default=Decimal(0)), partition_by="region", order_by="day"),
        order=Window(f.Rank(), order_by=F("quantity").desc()),
        moving=Window(Sum("quantity"), order_by="day", frame=models.RowRange(start=-1, end=0)),
    ).order_by("region", "day")
    assert [(r.region, r.place, r.running, r.before, r.order, r.moving) for r in rows] == [
        ("north", 1, Decimal("10.00"), Decimal("0"), 5, 1),
        ("north", 2, Decimal("30.50"), Decimal("10.00"), 4, 12),
        ("north", 3, Decimal("35.75"), Decimal("20.50"), 5, 3),
        ("south", 1, Decimal("100.00"), Decimal("0"), 1, 11),
        ("south", 2, Decimal("101.00"), Decimal("100.00"), 3, 10),
        ("west", 1, Decimal("7.77"), Decimal("0"), 2, 8),
    ]
    # A filter over a window makes Django wrap the query.
    firsts = Sale.objects.annotate(place=Window(f.RowNumber(), partition_by="region", order_by="day")).filter(place=1)
    assert sorted(firsts.values_list("region", flat=True)) == ["north", "south", "west"]


def test_subqueries(sales):
    newest = Sale.objects.filter(region=OuterRef("region")).order_by("-day")
    rows = Sale.objects.annotate(last=Subquery(newest.values("amount")[:1])).order_by("pk")
    assert [str(row.last) for row in rows] == ["5.25", "5.25", "5.25", "1.00", "1.00", "7.77"]
    larger = Sale.objects.filter(region=OuterRef("region"), amount__gt=OuterRef("amount"))
    assert [sale.amount for sale in Sale.objects.filter(~Exists(larger)).order_by("amount")] == [
        Decimal("7.77"), Decimal("20.50"), Decimal("100.00")
    ]  # fmt: skip
    assert Sale.objects.annotate(more=Exists(larger)).filter(more=True).count() == 3
    totals = Sale.objects.filter(region=OuterRef("region")).values("region").annotate(t=Sum("amount")).values("t")
    assert Sale.objects.annotate(total=Subquery(totals)).filter(total__gt=100).count() == 2
    assert Sale.objects.filter(region__in=Sale.objects.filter(quantity__gte=7).values("region")).count() == 3
    assert Sale.objects.filter(pk=Subquery(Sale.objects.order_by("-amount").values("pk")[:1])).get().quantity == 10


def test_combined_queries(sales):
    north, cheap = Sale.objects.filter(region="north"), Sale.objects.filter(amount__lt=6)
    assert north.union(cheap).count() == 4
    assert [sale.amount for sale in north.union(cheap, all=True).order_by("-amount")[:2]] == [Decimal("20.50"), Decimal("10.00")]
    assert north.intersection(cheap).get().amount == Decimal("5.25")
    assert north.difference(cheap).count() == 2
    assert (north | cheap).count() == 4 and (north & cheap).count() == 1
    assert list(Sale.objects.order_by("region", "-day").distinct("region").values_list("region", "amount")) == [
        ("north", Decimal("5.25")), ("south", Decimal("1.00")), ("west", Decimal("7.77"))
    ]  # fmt: skip
    assert list(Sale.objects.order_by("region").values_list("region", flat=True).distinct()) == ["north", "south", "west"]
    assert Sale.objects.order_by("day").first().quantity == 1 and Sale.objects.latest("day").region == "south"
    assert sorted(Sale.objects.in_bulk(field_name="id").values(), key=lambda s: s.amount)[0].amount == 1
    assert Sale.objects.filter(quantity=7).contains(Sale.objects.get(region="west"))
    assert Sale.objects.order_by("-amount").reverse()[1:3].count() == 2
    assert "shelf_sale" in Sale.objects.filter(region="north").explain()
    raw = Sale.objects.raw("SELECT id, region, amount * 2 AS twice FROM shelf_sale WHERE region = %s", ["west"])
    assert [(sale.region, sale.twice) for sale in raw] == [("west", Decimal("15.54"))]


def test_functions(items):
    values = Item.objects.filter(name="b").values_list(
        f.Concat("name", Value("-"), "category", output_field=models.TextField()),
        f.Upper("name"),
        f.Length("category"),
        f.Coalesce("bits", Value("0"), output_field=models.TextField()),
        f.Cast("stock", models.CharField()),
        f.Greatest("stock", Value(10)),
        f.Substr("category", 1, 1),
        f.LPad("name", 3, Value("*")),
        f.Replace("name", Value("b"), Value("bb")),
        f.MD5("name"),
        f.NullIf("stock", Value(2)),
        f.StrIndex("name", Value("b")),
        f.Reverse("category"),
        f.Left("name", 1),
    )
    assert list(values[0][:6]) == ["b-x", "B", 1, "1011", "2", 10]
    assert values[0][6:] == (
        "x", "**b", "bb", "92eb5ffee6ae2fec3ad71c777531578f",
        None, 1, "x", "b",
    )  # fmt: skip


def test_creating_and_updating(items):
    item, created = Item.objects.get_or_create(name="e", defaults={"stock": 9, "embedding": [3, 3, 3]})
    assert created and item.embedding == [3, 3, 3]
    item, created = Item.objects.get_or_create(name="e", defaults={"stock": 1})
    assert not created and item.stock == 9
    item, created = Item.objects.update_or_create(name="e", defaults={"stock": 10, "embedding": [4, 4, 4]})
    assert not created and Item.objects.get(name="e").stock == 10
    item, created = Item.objects.update_or_create(name="f", create_defaults={"stock": 11}, defaults={"stock": 12})
    assert created and item.stock == 11
    item.stock = F("stock") + 1
    item.save()
    item.refresh_from_db()
    assert item.stock == 12
    assert Item.objects.filter(stock__gte=10).update(stock=F("stock") * 2, category=f.Concat("category", Value("!"), output_field=models.TextField())) == 2
    assert sorted(Item.objects.filter(category__endswith="!").values_list("stock", flat=True)) == [20, 24]
    assert Item.objects.filter(name__in=["e", "f"]).delete() == (2, {"shelf.Item": 2})
    with pytest.raises(IntegrityError) as caught:
        Item.objects.create(name="a")
    assert caught.value.__cause__.sqlstate == "23505"
    with pytest.raises(IntegrityError) as caught:
        Item.objects.create(name="neg", stock=-1)
    assert caught.value.__cause__.sqlstate == "23514"


def test_bulk(items):
    made = Item.objects.bulk_create([Item(name=str(n), stock=n, embedding=[n, n, n]) for n in range(500)], batch_size=120)
    assert len({item.pk for item in made}) == 500 and all(item.pk for item in made)
    for item in made:
        item.stock += 1
        item.category = "bulk"
    assert Item.objects.bulk_update(made, ["stock", "category"], batch_size=200) == 500
    assert Item.objects.filter(category="bulk").aggregate(Sum("stock"))["stock__sum"] == 500 * 501 // 2
    again = [Item(name="0", stock=7, embedding=[0, 0, 1]), Item(name="new", stock=8)]
    Item.objects.bulk_create(again, ignore_conflicts=True)
    assert Item.objects.get(name="0").stock == 1
    again = [Item(name="0", stock=7, embedding=[0, 0, 1]), Item(name="newer", stock=8)]
    done = Item.objects.bulk_create(again, update_conflicts=True, unique_fields=["name"], update_fields=["stock", "embedding"])
    assert Item.objects.get(name="0").embedding == [0, 0, 1]
    assert done[0].pk == Item.objects.get(name="0").pk
    assert Item.objects.count() == 506
    moved = [made[3], made[4]]
    moved[0].embedding, moved[1].embedding = [9, 9, 9], None
    Item.objects.bulk_update(moved, ["embedding"])
    assert Item.objects.get(pk=moved[0].pk).embedding == [9, 9, 9]
    assert Item.objects.get(pk=moved[1].pk).embedding is None


def test_composite_keys():
    Seat.objects.bulk_create([Seat(row=row, number=number) for row in "AB" for number in (1, 2)])
    seat = Seat.objects.get(pk=("A", 2))
    seat.taken = True
    seat.save()
    assert list(Seat.objects.filter(taken=True).values_list("pk", flat=True)) == [("A", 2)]
    assert Seat.objects.filter(pk__in=[("A", 1), ("B", 2), ("C", 3)]).count() == 2
    assert [seat.pk for seat in Seat.objects.order_by("-pk")] == [("B", 2), ("B", 1), ("A", 2), ("A", 1)]
    assert Seat.objects.filter(pk__gt=("A", 2)).count() == 2
    with pytest.raises(IntegrityError):
        Seat.objects.create(row="A", number=2)
    assert Seat.objects.filter(row="A").delete()[0] == 2
