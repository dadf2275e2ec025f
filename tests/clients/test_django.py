"""Django 5: migrate forwards and backwards, inspectdb, and the ORM over models with vectors, through psycopg 3 and 2.

Django's settings hold for a process, so each driver has a process of its own, which runs django_checks.py.
"""

import json
import os
import subprocess
import sys

import pytest

# Binding parameters at the server is a choice of psycopg 3 only.
CHOICES = [("psycopg", False), ("psycopg", True), ("psycopg2", False)]


@pytest.mark.parametrize("driver, server_side", CHOICES)
def test_django(server, driver, server_side):
    given = json.dumps({"driver": driver, "server_side": server_side, **server.__dict__})
    done = subprocess.run(
        [sys.executable, os.path.join(os.path.dirname(__file__), "django_checks.py"), given],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
