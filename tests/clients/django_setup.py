"""Django's settings, without a settings module, and its fixtures. Two ways lead to one database: with values written into the
statement, and with values sent beside it (server_side_binding)."""

import io

import django
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections


class OneAlias:
    """Sends every query of the running test through one connection."""

    alias = "default"

    def db_for_read(self, model, **hints):
        return OneAlias.alias

    db_for_write = db_for_read


def database(**options):
    return {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "OPTIONS": options}


settings.configure(
    DATABASES={"default": database(), "bound": database(server_side_binding=True)},
    DATABASE_ROUTERS=[OneAlias()],
    INSTALLED_APPS=["django.contrib.postgres", "django_app.apps.DjangoAppConfig"],
    USE_TZ=True,
    TIME_ZONE="Europe/Berlin",
    SECRET_KEY="unused",
)
django.setup()


@pytest.fixture(params=["default", "bound"])
def alias(request, server, empty_database):
    for connection in connections.all():
        connection.settings_dict.update(
            NAME=server.database, USER=server.user, PASSWORD=server.password, HOST=server.host, PORT=str(server.port)
        )
    OneAlias.alias = request.param
    yield request.param
    for connection in connections.all():
        connection.close()


@pytest.fixture
def connection(alias):
    return connections[alias]


@pytest.fixture
def schema(alias):
    migrate(alias)


def migrate(alias, target=None):
    """What `migrate` prints; without a target, all migrations are applied."""
    out = io.StringIO()
    where = ["shelf", target] if target else []
    call_command("migrate", *where, database=alias, no_color=True, stdout=out)
    return out.getvalue()
