"""Speeds by pgbench, whose clients take little of the two cores: statements a second of 1 and 8 clients."""

import os
import pathlib
import re
import subprocess
import tempfile

import wire

TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)
FAILED = re.compile(r"number of failed transactions: ([1-9][0-9]*)")
SEARCH = "SELECT id FROM words ORDER BY embedding <-> {vector} LIMIT 10;\n"
LITERALS = 64


def table_of_queries(server, data) -> None:
    with wire.connect(server.url()) as connection:
        connection.execute("DROP TABLE IF EXISTS queries")
        connection.execute("CREATE TABLE queries (id int PRIMARY KEY, embedding vector(384))")
        rows = [(i + 1, wire.Vector(row)) for i, row in enumerate(data.queries)]
        connection.cursor().executemany("INSERT INTO queries VALUES (%s, %b)", rows)
        connection.execute("VACUUM ANALYZE queries")


def from_table(data) -> list[str]:
    """A script that takes its vector from the table of queries."""
    vector = "(SELECT embedding FROM queries WHERE id = :q)"
    return [f"\\set q random(1, {len(data.queries)})\n" + SEARCH.format(vector=vector)]


def literals(data) -> list[str]:
    """Scripts with a vector each, written out."""
    text = lambda row: "'[" + ",".join(repr(float(it)) for it in row) + "]'"
    return [SEARCH.format(vector=text(row)) for row in data.queries[:LITERALS]]


def run(server, scripts: list[str], mode: str, clients: int, seconds: float, ef: int = 40) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        command = ["pgbench", "-n", "-M", mode, "-c", str(clients), "-j", str(min(clients, 2)), "-T", str(max(1, int(seconds)))]
        for place, script in enumerate(scripts):
            path = pathlib.Path(folder) / f"{place}.sql"
            path.write_text(script)
            command += ["-f", str(path)]
        options = {"PGOPTIONS": f"-c hnsw.ef_search={ef}"}
        environment = os.environ | server.environment | options
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode or FAILED.search(done.stdout):
        raise RuntimeError(f"pgbench failed:\n{done.stdout}{done.stderr}")
    return {"qps": float(TPS.search(done.stdout)[1])}
