"""A small Django application over vectors: its models, and migrations that lead to them in three steps."""
