"""Empties the server between the tests with real clients."""

import psycopg
import pytest


@pytest.fixture(scope="session")
def admin(server):
    with psycopg.connect(server.url(), autocommit=True) as connection:
        yield connection


@pytest.fixture(autouse=True)
def empty_database(admin):
    """Drops what the test before left behind, also if it failed."""
    admin.execute("CREATE EXTENSION IF NOT EXISTS vector")
    for kind, schema, name in admin.execute(
        "SELECT c.relkind::text, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND c.relkind IN ('r', 'S') ORDER BY 1 DESC"
    ).fetchall():
        # Dropping a table drops the sequences that it owns.
        what = "TABLE" if kind == "r" else "SEQUENCE"
        admin.execute(f'DROP {what} IF EXISTS "{schema}"."{name}" CASCADE')
