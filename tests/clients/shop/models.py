"""Models with vectors, arrays and JSON; no foreign keys."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from pgvector.django import HnswIndex, VectorField


class Product(models.Model):
    name = models.CharField(max_length=60)
    slug = models.SlugField(unique=True)
    code = models.UUIDField(default=uuid.uuid4)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    stock = models.PositiveIntegerField(default=0)
    rating = models.FloatField(null=True)
    active = models.BooleanField(default=True)
    description = models.TextField(blank=True)
    released = models.DateField(null=True)
    opens = models.TimeField(null=True)
    created = models.DateTimeField(auto_now_add=True)
    span = models.DurationField(null=True)
    blob = models.BinaryField(null=True)
    data = models.JSONField(default=dict)
    tags = ArrayField(models.CharField(max_length=20), default=list)
    embedding = VectorField(dimensions=3, null=True)
    lang = models.CharField(max_length=2, default="en", db_index=True)

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["lang", "-price"], name="shop_lang_price"),
            HnswIndex(
                name="shop_embedding", fields=["embedding"], m=16, ef_construction=64, opclasses=["vector_l2_ops"]
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["name", "lang"], name="shop_name_lang"),
            models.CheckConstraint(condition=models.Q(price__gte=0), name="shop_price_positive"),
        ]
