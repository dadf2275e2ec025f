"""Quiver beside its peers, in one run on one machine: what is measured, in which order. See `bench/run --help`.

Figures are kept in bench/out/results.json as they come: an interrupted run goes on where it was, `--again` begins anew.
"""

import argparse
import contextlib
import pathlib
import statistics
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

import index_only
import pgbench
import report
import servers
import streaming
import wire
from datasets import Clustered, WordNet
from results import Results

STRICT = ["SET hnsw.iterative_scan = strict_order"]
SHARES = 100
# How long rows arrive while others are searched: several rounds of flushes, builds and merges, whatever the other speeds take.
ARRIVING_SECONDS = 60
# How often a speed of one client is measured: client and server take turns, and how long that takes depends on where the system puts them.
TURNS = 5
# After so long a server has given back what it no longer uses.
TRIMMED_SECONDS = 12
SCALAR = {
    "key lookup": ("SELECT gloss FROM words WHERE id = %s", lambda turn: (turn * 7919 % 115_659,)),
    "aggregate": ("SELECT count(*), sum(pointers), max(pointers) FROM words", lambda turn: ()),
    "grouped aggregate": ("SELECT lexname, count(*), avg(pointers) FROM words GROUP BY lexname", lambda turn: ()),
    "join": (
        "SELECT a.pos, count(*) FROM words a JOIN words b ON b.id = a.id + 1 WHERE a.pointers = 2 GROUP BY a.pos",
        lambda turn: (),
    ),
}


def steps(server, data, seconds: float, is_quiver: bool):
    """Names and measurements, in their order: each changes nothing that a later one reads."""
    dsn = server.url()
    strict = [] if is_quiver else STRICT
    yield "SELECT 1, 1 client", lambda: middle(lambda: wire.cost(server, seconds, lambda: wire.statement(dsn, "SELECT 1", seconds)))
    yield "SELECT 1, 8 clients", lambda: wire.statement(dsn, "SELECT 1", seconds, clients=8)
    for clients in wire.CLIENTS:
        yield f"pgbench SELECT 1, {clients} clients", lambda c=clients: of_clients(c, lambda: pgbench.run(server, ["SELECT 1;\n"], "prepared", c, seconds))
    for clients in wire.CLIENTS:
        for ef in wire.EFS:
            name = f"search k 10, ef {ef}, {clients} clients"
            yield name, lambda ef=ef, c=clients: of_clients(c, lambda: wire.searches(dsn, data, seconds, ef=ef, clients=c))
    for ef in (100, 200, 400):
        yield f"search k 100, ef {ef}, 1 client", lambda ef=ef: wire.searches(dsn, data, seconds, ef=ef, k=100)
    yield "processor of a search, ef 40", lambda: middle(lambda: wire.cost(server, seconds, lambda: wire.searches(dsn, data, seconds, ef=40)))
    yield "search with text columns, ef 40", lambda: middle(lambda: wire.searches(dsn, data, seconds, ef=40, columns="id, words, gloss"))
    for clients in wire.CLIENTS:
        yield f"pgbench prepared, ef 40, {clients} clients", lambda c=clients: pgbench.run(server, pgbench.from_table(data), "prepared", c, seconds)
        yield f"pgbench simple, ef 40, {clients} clients", lambda c=clients: pgbench.run(server, pgbench.literals(data), "simple", c, seconds)
    for where in wire.FILTERS:
        yield f"filter {where}", lambda where=where: filtered(dsn, data, seconds, where, strict)
    for name, (sql, values) in SCALAR.items():
        yield f"scalar {name}", lambda sql=sql, values=values: middle(lambda: wire.statement(dsn, sql, seconds, values))
    for clients in wire.CLIENTS:
        yield f"INSERT, {clients} clients", lambda c=clients: wire.inserts(dsn, data, c, seconds)
    yield "streaming", lambda: streaming.measure(server, data, ARRIVING_SECONDS, 2000)
    first = 1000 if is_quiver else 100
    yield "highest rate", lambda: streaming.highest_rate(server, data, 5 * seconds, first)


def middle(measure) -> dict:
    """The median of each figure."""
    turns = [measure() for _ in range(TURNS)]
    return {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}


def of_clients(clients: int, measure) -> dict:
    return middle(measure) if clients == 1 else measure()


def filtered(dsn, data, seconds: float, where: str, settings: list[str]) -> dict:
    """With the least `ef_search` that finds enough; if none does, with the one that finds most."""
    mask = data.mask(where)
    truth = data.filtered_truth(mask, SHARES)
    most = {"recall": -1.0}
    for ef in wire.FILTER_EFS:
        got = wire.searches(dsn, data, seconds, ef=ef, where=where, settings=settings, truth=truth)
        if got["recall"] > most["recall"]:
            most = got | {"ef": ef}
        if got["recall"] >= wire.ENOUGH:
            break
    return most | {"share": float(mask.mean())}


def over_the_wire(results, data, seconds: float, binary: str) -> None:
    folder = tempfile.TemporaryDirectory(prefix="quiver-")
    peers = {
        "quiver": lambda: servers.quiver(binary, folder.name),
        "pgvector": lambda: servers.pgvector("pginstall18", shared_buffers="4GB", max_wal_size="8GB"),
    }
    chunks = None
    for peer, start in peers.items():
        names = [name for name, _ in steps(NoServer, data, seconds, True)] + ["memory"] * (peer == "quiver")
        if results.has(peer, ["version", "load", *names]):
            continue
        with start() as server, contextlib.closing(wire.connect(server.url())) as connection:
            version = connection.execute("SELECT version()").fetchone()[0]
            results.once(peer, "version", lambda: version)
            chunks = chunks or wire.copied(data)
            loaded = wire.load(connection, chunks)
            results.once(peer, "load", lambda: loaded | {"settled_s": wire.settle(server.pid)})
            pgbench.table_of_queries(server, data)
            for name, measure in steps(server, data, seconds, peer == "quiver"):
                results.once(peer, name, measure)
        if peer == "quiver":
            results.once(peer, "memory", lambda: after_restart(binary, folder.name, data, seconds))
    folder.cleanup()


def after_restart(binary: str, folder: str, data, seconds: float) -> dict:
    """What a server that was just started over the loaded folder has in memory once every query has been asked, and an empty one."""
    with servers.quiver(binary) as empty:
        wire.statement(empty.url(), "SELECT 1", seconds)
        time.sleep(TRIMMED_SECONDS)
        nothing = wire.resident(empty.pid)
    with servers.quiver(binary, folder) as server:
        wire.searches(server.url(), data, 2 * seconds, ef=100)
        time.sleep(TRIMMED_SECONDS)
        return wire.resident(server.pid) | {"empty": nothing, "rows": len(data.base)}


class NoServer:
    """Stands for a server where only names of steps are wanted."""

    pid = 0

    @staticmethod
    def url() -> str:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quiver", required=True, help="the quiver binary, built with --release")
    parser.add_argument("--sweep", required=True, type=pathlib.Path, help="the example `sweep` of quiver-index, built with --release")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="the folder of the WordNet set")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each speed is measured")
    parser.add_argument("--only", choices=("index", "wire", "large"), help="one part of it")
    parser.add_argument("--again", action="store_true", help="forget what has been measured")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "out" / "results.json")
    parser.add_argument("--report", type=pathlib.Path, help="the folder to write benchmarks.md and its plots to")
    arguments = parser.parse_args()
    if arguments.again:
        arguments.out.unlink(missing_ok=True)
    results = Results(arguments.out)
    words = WordNet(arguments.data)
    if arguments.only in (None, "index"):
        index_only.measure(results, words, arguments.sweep)
    if arguments.only in (None, "wire"):
        over_the_wire(results, words, arguments.seconds, arguments.quiver)
    if arguments.only in (None, "large"):
        for rows, dim in ((1_000_000, 128), (50_000, 1536)):
            index_only.measure(results, Clustered(rows, dim, arguments.out.parent), arguments.sweep)
    if arguments.report:
        report.write(results, arguments.report, arguments.seconds)


main()
