"""The two servers, the options of the differential tests, and the report of what they find."""

import os

import pytest
import servers
from answers import Session

SEED = 1


def pytest_addoption(parser):
    parser.addoption("--all-statements", action="store_true", help="run every generated statement, not a sample")
    parser.addoption("--seed", type=int, default=SEED, help="chooses edge values and the sample")
    parser.addoption("--sample", type=int, default=10_000, help="how many generated statements run")
    parser.addoption("--topic", help="run every generated statement whose topic has this in it")
    parser.addoption("--open", help="a file to which the lines for open.txt are added")
    parser.addoption("--differences", help="a file for every difference found, explained or not")


@pytest.fixture(scope="session")
def reference():
    """PostgreSQL 16.14 with pgvector 0.8.5, of the tests' own, or the one that QUIVER_REFERENCE_DSN names."""
    if given := os.environ.get("QUIVER_REFERENCE_DSN"):
        yield Session(servers.at(given).url())
        return
    with servers.pgvector() as started:
        yield Session(started.url())


@pytest.fixture(scope="session")
def quiver(server):
    servers.create_extension(server)
    return Session(server.url())
