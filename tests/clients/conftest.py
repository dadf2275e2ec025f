"""Starts a server for the tests, or takes the one that QUIVER_TEST_DSN names, and empties it between tests."""

import os
import queue
import re
import socket
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
import pytest

READY = re.compile(r"quiver is ready: postgres ([^:]+):(\d+), http")
START_SECONDS = 60


@dataclass(frozen=True)
class Server:
    """Where the server listens, in the forms that clients want."""

    host: str
    port: int
    user: str = "postgres"
    password: str = "unused"
    database: str = "postgres"

    def url(self, scheme: str = "postgresql") -> str:
        return f"{scheme}://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    @property
    def environment(self) -> dict[str, str]:
        """libpq's variables, which the programs in other languages read."""
        return {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
        }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_ready(process: subprocess.Popen, log: str) -> tuple[str, int]:
    lines: queue.Queue = queue.Queue()

    def read() -> None:
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=START_SECONDS)
        except queue.Empty:
            line = None
        if line is None:
            process.kill()
            with open(log) as text:
                raise RuntimeError(f"the server does not start:\n{text.read()[-4000:]}")
        if found := READY.search(line):
            return found[1], int(found[2])


@pytest.fixture(scope="session")
def server():
    if given := os.environ.get("QUIVER_TEST_DSN"):
        parts = urlsplit(given)
        yield Server(
            parts.hostname,
            parts.port or 5432,
            parts.username or "postgres",
            parts.password or "unused",
            parts.path.lstrip("/") or "postgres",
        )
        return
    binary = os.environ.get("QUIVER_BIN")
    if not binary:
        pytest.exit("QUIVER_BIN must name the server's binary, or QUIVER_TEST_DSN a running server", returncode=2)
    with tempfile.TemporaryDirectory(prefix="quiver-clients-") as folder:
        log = os.path.join(folder, "log")
        command = [binary, "start", "--data-dir", os.path.join(folder, "data")]
        for option in ["--listen", "--http", "--rpc"]:
            command += [option, f"127.0.0.1:{free_port()}"]
        with open(log, "w") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            try:
                host, port = wait_until_ready(process, log)
                yield Server(host, port)
                assert process.poll() is None, "the server is still there after the tests"
            finally:
                process.terminate()
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()


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
