"""The first state of the schema, before the later migration changes it."""

import uuid

import django.contrib.postgres.fields
import pgvector.django
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        pgvector.django.VectorExtension(),
        migrations.CreateModel(
            name="Product",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=30)),
                ("slug", models.SlugField()),
                ("code", models.UUIDField(default=uuid.uuid4)),
                ("price", models.DecimalField(decimal_places=2, max_digits=10)),
                ("stock", models.PositiveIntegerField(default=0)),
                ("rating", models.FloatField(null=True)),
                ("active", models.BooleanField(default=True)),
                ("description", models.TextField(blank=True)),
                ("released", models.DateField(null=True)),
                ("opens", models.TimeField(null=True)),
                ("created", models.DateTimeField(auto_now_add=True)),
                ("span", models.DurationField(null=True)),
                ("blob", models.BinaryField(null=True)),
                ("data", models.JSONField(default=dict)),
                ("extra", models.TextField(null=True)),
                ("embedding", pgvector.django.VectorField(dimensions=3, null=True)),
            ],
            options={"ordering": ["id"]},
        ),
        migrations.AddField(
            "Product",
            "tags",
            django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=20), default=list, size=None),
        ),
    ]
