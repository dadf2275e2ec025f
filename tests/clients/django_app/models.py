"""Models with a field of every kind that needs no foreign key. The migrations lead here; a test checks that they do."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models.functions import Cast, Now
from pgvector.django import BitField, HalfVectorField, HnswIndex, IvfflatIndex, SparseVectorField, VectorField


class Item(models.Model):
    name = models.CharField(max_length=60, unique=True)
    category = models.SlugField(default="none")
    stock = models.PositiveIntegerField(default=0, db_comment="pieces in the store")
    embedding = VectorField(dimensions=3, null=True)
    half = HalfVectorField(dimensions=3, null=True)
    sparse = SparseVectorField(dimensions=5, null=True)
    bits = BitField(length=4, null=True)

    class Meta:
        db_table_comment = "things with vectors"
        ordering = ["id"]
        indexes = [
            HnswIndex(
                name="item_embedding_l2", fields=["embedding"], m=8, ef_construction=32, opclasses=["vector_l2_ops"]
            ),
            HnswIndex(name="item_embedding_ip", fields=["embedding"], opclasses=["vector_ip_ops"]),
            IvfflatIndex(name="item_half_cosine", fields=["half"], lists=2, opclasses=["halfvec_cosine_ops"]),
            HnswIndex(name="item_sparse_l1", fields=["sparse"], opclasses=["sparsevec_l1_ops"]),
            HnswIndex(name="item_bits_hamming", fields=["bits"], opclasses=["bit_hamming_ops"]),
            HnswIndex(
                OpClass(Cast("embedding", HalfVectorField(dimensions=3)), name="halfvec_l2_ops"),
                name="item_embedding_as_half",
            ),
            models.Index(fields=["category", "-stock"], name="item_category_stock"),
        ]


class Record(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    flag = models.BooleanField(default=False)
    small = models.SmallIntegerField(default=0)
    integer = models.IntegerField(null=True)
    big = models.BigIntegerField(default=0)
    ratio = models.FloatField(default=0)
    price = models.DecimalField(max_digits=12, decimal_places=4, default=0)
    title = models.CharField(max_length=40, default="")
    body = models.TextField(blank=True, default="")
    data = models.BinaryField(null=True)
    day = models.DateField(null=True)
    clock = models.TimeField(null=True)
    moment = models.DateTimeField(null=True)
    span = models.DurationField(null=True)
    document = models.JSONField(default=dict)
    tags = ArrayField(models.CharField(max_length=20), default=list)
    scores = ArrayField(models.IntegerField(null=True), null=True)
    created = models.DateTimeField(auto_now_add=True)
    stamped = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=10, db_default="new")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(price__gte=0), name="record_price_positive"),
            models.UniqueConstraint(fields=["title", "day"], name="record_title_day"),
        ]


class Sale(models.Model):
    region = models.CharField(max_length=10)
    day = models.DateField()
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    quantity = models.BigIntegerField(default=1)
    reference = models.CharField(max_length=20, null=True, unique=True)

    class Meta:
        unique_together = [("region", "day", "amount")]
        indexes = [models.Index(fields=["day"], name="sale_day")]


class Seat(models.Model):
    pk = models.CompositePrimaryKey("row", "number")
    row = models.CharField(max_length=2)
    number = models.IntegerField()
    taken = models.BooleanField(default=False)
