"""Renames, additions, removals and changed types, with rows in the tables; all of it can be undone."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.functions.comparison
import django.db.models.functions.datetime
import pgvector.django
from django.db import migrations, models


def fill(apps, schema_editor):
    items = apps.get_model("shelf", "Item").objects.using(schema_editor.connection.alias)
    items.update(category=models.functions.Concat(models.Value("from-"), models.F("name")))


class Migration(migrations.Migration):
    dependencies = [("shelf", "0001_initial")]
    operations = [
        migrations.RenameField("item", "title", "name"),
        migrations.AlterField("item", "name", models.CharField(max_length=60, unique=True)),
        migrations.AlterField(
            "item", "stock", models.PositiveIntegerField(default=0, db_comment="pieces in the store")
        ),
        migrations.RemoveField("item", "legacy"),
        migrations.AddField("item", "category", models.SlugField(default="none")),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterModelOptions("item", {"ordering": ["id"]}),
        migrations.AlterModelTableComment("item", "things with vectors"),
        migrations.RenameIndex("item", old_name="item_l2", new_name="item_embedding_l2"),
        migrations.AddIndex(
            "item",
            pgvector.django.HnswIndex(name="item_bits_hamming", fields=["bits"], opclasses=["bit_hamming_ops"]),
        ),
        migrations.AddIndex(
            "item",
            pgvector.django.HnswIndex(
                django.contrib.postgres.indexes.OpClass(
                    django.db.models.functions.comparison.Cast(
                        "embedding", pgvector.django.HalfVectorField(dimensions=3)
                    ),
                    name="halfvec_l2_ops",
                ),
                name="item_embedding_as_half",
            ),
        ),
        migrations.AddIndex("item", models.Index(fields=["category", "-stock"], name="item_category_stock")),
        migrations.RenameModel("Entry", "Record"),
        migrations.AlterField("record", "big", models.BigIntegerField(default=0)),
        migrations.AlterField("record", "price", models.DecimalField(decimal_places=4, default=0, max_digits=12)),
        migrations.AddField("record", "body", models.TextField(blank=True, default="")),
        migrations.AddField("record", "data", models.BinaryField(null=True)),
        migrations.AddField("record", "clock", models.TimeField(null=True)),
        migrations.AddField("record", "moment", models.DateTimeField(null=True)),
        migrations.AddField("record", "span", models.DurationField(null=True)),
        migrations.AddField("record", "document", models.JSONField(default=dict)),
        migrations.AddField(
            "record",
            "tags",
            django.contrib.postgres.fields.ArrayField(models.CharField(max_length=20), default=list, size=None),
        ),
        migrations.AddField(
            "record",
            "scores",
            django.contrib.postgres.fields.ArrayField(models.IntegerField(null=True), null=True, size=None),
        ),
        migrations.AddField("record", "created", models.DateTimeField(auto_now_add=True, default="2024-01-01T00:00Z")),
        migrations.AlterField("record", "created", models.DateTimeField(auto_now_add=True)),
        migrations.AddField(
            "record", "stamped", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())
        ),
        migrations.AddField("record", "state", models.CharField(db_default="new", max_length=10)),
        migrations.AddConstraint(
            "record",
            models.CheckConstraint(condition=models.Q(("price__gte", 0)), name="record_price_positive"),
        ),
        migrations.AddConstraint(
            "record", models.UniqueConstraint(fields=("title", "day"), name="record_title_day")
        ),
        migrations.AlterField(
            "sale",
            "id",
            models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
        ),
        migrations.AlterField("sale", "quantity", models.BigIntegerField(default=1)),
        migrations.AlterField("sale", "reference", models.CharField(max_length=20, null=True, unique=True)),
        migrations.AlterUniqueTogether("sale", {("region", "day", "amount")}),
        migrations.AddIndex("sale", models.Index(fields=["day"], name="sale_day")),
    ]
