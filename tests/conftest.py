"""The server that the suites speak to: started for them, or the one that QUIVER_TEST_DSN names."""

import os

import pytest
import servers


@pytest.fixture(scope="session")
def server():
    if given := os.environ.get("QUIVER_TEST_DSN"):
        yield servers.at(given)
        return
    binary = os.environ.get("QUIVER_BIN")
    if not binary:
        pytest.exit("QUIVER_BIN must name the server's binary, or QUIVER_TEST_DSN a running server", returncode=2)
    with servers.quiver(binary) as started:
        yield started
