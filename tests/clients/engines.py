"""SQLAlchemy's engines, one per driver, used in the same way whether the driver is asynchronous or not."""

import asyncio

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

DRIVERS = ["psycopg", "psycopg2", "asyncpg", "pg8000"]
every_driver = pytest.mark.parametrize("driver", DRIVERS)
# Those that look up no types in the catalog.
plain_drivers = pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "pg8000"])


class Database:
    """Runs functions that take a synchronous Connection, in a transaction of their own."""

    def __init__(self, server, driver: str, **options):
        self.driver = driver
        self.url = server.url(f"postgresql+{driver}")
        self.options = options

    def run(self, work):
        if self.driver != "asyncpg":
            engine = sqlalchemy.create_engine(self.url, **self.options)
            try:
                with engine.begin() as connection:
                    return work(connection)
            finally:
                engine.dispose()

        async def connected():
            engine = create_async_engine(self.url, poolclass=NullPool, **self.options)
            async with engine.begin() as connection:
                return await connection.run_sync(work)

        return asyncio.run(connected())
