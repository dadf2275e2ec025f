"""What must run outside a transaction."""

import pgvector.django
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shelf", "0002_changes")]
    operations = [
        AddIndexConcurrently(
            "item",
            pgvector.django.HnswIndex(name="item_embedding_ip", fields=["embedding"], opclasses=["vector_ip_ops"]),
        ),
    ]
