"""The models as they were at first: the next migrations change them."""

import uuid

import pgvector.django
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        pgvector.django.VectorExtension(),
        migrations.CreateModel(
            name="Item",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=20)),
                ("stock", models.IntegerField(null=True)),
                ("legacy", models.TextField(default="old")),
                ("embedding", pgvector.django.VectorField(dimensions=3, null=True)),
                ("half", pgvector.django.HalfVectorField(dimensions=3, null=True)),
                ("sparse", pgvector.django.SparseVectorField(dimensions=5, null=True)),
                ("bits", pgvector.django.BitField(length=4, null=True)),
            ],
            options={
                "indexes": [
                    pgvector.django.HnswIndex(
                        name="item_l2", fields=["embedding"], m=8, ef_construction=32, opclasses=["vector_l2_ops"]
                    ),
                    pgvector.django.IvfflatIndex(
                        name="item_half_cosine", fields=["half"], lists=2, opclasses=["halfvec_cosine_ops"]
                    ),
                    pgvector.django.HnswIndex(name="item_sparse_l1", fields=["sparse"], opclasses=["sparsevec_l1_ops"]),
                ],
            },
        ),
        migrations.CreateModel(
            name="Entry",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("flag", models.BooleanField(default=False)),
                ("small", models.SmallIntegerField(default=0)),
                ("integer", models.IntegerField(null=True)),
                ("big", models.IntegerField(default=0)),
                ("ratio", models.FloatField(default=0)),
                ("price", models.DecimalField(decimal_places=2, default=0, max_digits=10)),
                ("title", models.CharField(default="", max_length=40)),
                ("day", models.DateField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Sale",
            fields=[
                ("id", models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("region", models.CharField(max_length=10)),
                ("day", models.DateField()),
                ("amount", models.DecimalField(decimal_places=2, max_digits=10)),
                ("quantity", models.IntegerField(default=1)),
                ("reference", models.CharField(max_length=20, null=True)),
            ],
            options={"unique_together": {("region", "day")}},
        ),
        migrations.CreateModel(
            name="Seat",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "row", "number", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("row", models.CharField(max_length=2)),
                ("number", models.IntegerField()),
                ("taken", models.BooleanField(default=False)),
            ],
        ),
    ]
