"""Renames, new columns with defaults, other types, indexes and constraints, and a change of data."""

import pgvector.django
from django.db import migrations, models


def slugs(apps, schema_editor):
    product = apps.get_model("shop", "Product")
    for row in product.objects.all():
        product.objects.filter(pk=row.pk).update(slug=f"{row.slug}-{row.pk}")


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.RenameField("Product", "title", "name"),
        migrations.AlterField("Product", "name", models.CharField(max_length=60)),
        migrations.RemoveField("Product", "extra"),
        migrations.AddField("Product", "lang", models.CharField(db_index=True, default="en", max_length=2)),
        migrations.RunPython(slugs, migrations.RunPython.noop),
        migrations.AlterField("Product", "slug", models.SlugField(unique=True)),
        migrations.AddIndex("Product", models.Index(fields=["lang", "-price"], name="shop_lang_price")),
        migrations.AddIndex(
            "Product",
            pgvector.django.HnswIndex(
                name="shop_embedding", fields=["embedding"], m=16, ef_construction=64, opclasses=["vector_l2_ops"]
            ),
        ),
        migrations.AddConstraint(
            "Product", models.UniqueConstraint(fields=("name", "lang"), name="shop_name_lang")
        ),
        migrations.AddConstraint(
            "Product", models.CheckConstraint(condition=models.Q(("price__gte", 0)), name="shop_price_positive")
        ),
    ]
