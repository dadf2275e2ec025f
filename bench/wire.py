"""Quiver beside pgvector over the wire, on the WordNet embeddings, in one run on one machine.

    bench/run                     # builds, installs, runs, prints a table, writes bench/out/wire.json

Both servers get the same statements through psycopg 3: prepared, binary parameters. Peers are measured in turn, recall is
printed beside every speed. Rows: load by binary COPY, CREATE INDEX, searches at ef_search 20 to 320 with 1 and 8 clients,
filtered searches at every share, single-row inserts, SELECT 1.
"""

import argparse
import json
import pathlib
import struct
import sys
import threading
import time

import numpy as np
import psycopg
import pyarrow.parquet as pq

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

import servers

EFS = (20, 40, 80, 160, 320)
FILTERS = (
    "pos = 'noun'",
    "pos = 'verb'",
    "lexname = 'noun.food'",
    "pos = 'adv' AND pointers = 1",
    "pointers >= 20",
    "lexname = 'noun.motive'",
)
TABLE = """CREATE TABLE words (id bigint PRIMARY KEY, pos text, lexname text, words text, gloss text, pointers int,
    embedding vector(384))"""
COPY = "COPY words (id, pos, lexname, words, gloss, pointers, embedding) FROM STDIN (FORMAT binary)"
INDEX = "CREATE INDEX words_idx ON words USING hnsw (embedding vector_l2_ops) WITH (m = 16, ef_construction = 64)"
SEARCH = "SELECT id FROM words {where} ORDER BY embedding <-> %b::vector LIMIT 10"


def vector_bytes(row: np.ndarray) -> bytes:
    return struct.pack(">HH", len(row), 0) + row.astype(">f4").tobytes()


class Vector:
    """A parameter in pgvector's binary form."""

    def __init__(self, data: bytes):
        self.data = data


class VectorDumper(psycopg.adapt.Dumper):
    format = psycopg.pq.Format.BINARY

    def dump(self, value):
        return value.data


class Data:
    def __init__(self, folder: pathlib.Path):
        base = pq.read_table(folder / "base.parquet")
        self.rows = base.drop(["embedding", "synset"]).to_pylist()
        flat = base.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        self.base = flat.astype(np.float32).reshape(len(base), 384)
        queries = pq.read_table(folder / "queries.parquet")
        flat = queries.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        self.queries = flat.astype(np.float32).reshape(len(queries), 384)
        truth = pq.read_table(folder / "truth_l2_top100.parquet").column("neighbours").combine_chunks()
        self.truth = truth.flatten().to_numpy().reshape(len(queries), 100)

    def filtered_truth(self, keep: np.ndarray, count: int) -> list[set[int]]:
        ids = np.nonzero(keep)[0]
        part = self.base[ids]
        norms = (part * part).sum(axis=1)
        found = []
        for query in self.queries[:count]:
            order = np.argsort(norms - 2 * part @ query, kind="stable")[:10]
            found.append(set(ids[order].tolist()))
        return found

    def mask(self, where: str) -> np.ndarray:
        expression = where.replace(" AND ", " and ").replace(">=", "@@").replace("=", "==").replace("@@", ">=")
        code = compile(expression, "filter", "eval")
        return np.array([bool(eval(code, {}, row)) for row in self.rows])  # our own constants above


def connect(dsn: str) -> psycopg.Connection:
    connection = psycopg.connect(dsn, autocommit=True, prepare_threshold=1)
    info = psycopg.types.TypeInfo.fetch(connection, "vector")
    dumper = type("BoundDumper", (VectorDumper,), {"oid": info.oid})
    connection.adapters.register_dumper(Vector, dumper)
    return connection


def load(connection, data: Data) -> float:
    connection.execute("DROP TABLE IF EXISTS words")
    connection.execute(TABLE)
    rows = []
    for row, vector in zip(data.rows, data.base):
        fields = [struct.pack(">q", row["id"])]
        fields += [row[it].encode() for it in ("pos", "lexname")] + [", ".join(row["words"]).encode(), row["gloss"].encode()]
        fields += [struct.pack(">i", row["pointers"]), vector_bytes(vector)]
        rows.append(struct.pack(">h", 7) + b"".join(struct.pack(">i", len(it)) + it for it in fields))
    chunks = [b"".join(rows[i : i + 500]) for i in range(0, len(rows), 500)]
    started = time.perf_counter()
    with connection.cursor().copy(COPY) as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for chunk in chunks:
            copy.write(chunk)
        copy.write(b"\xff\xff")
    return time.perf_counter() - started


def searches(dsn: str, data: Data, ef: int, clients: int, seconds: float, setup: list[str], where: str = "", truth=None):
    """Queries a second, latencies in ms, recall and how many answers were short, over all clients together."""
    sql = SEARCH.format(where=f"WHERE {where}" if where else "")
    parameters = [Vector(vector_bytes(query)) for query in data.queries]
    truth = truth or [set(row[:10].tolist()) for row in data.truth]
    latencies, hits, asked, short = [], [0], [0], [0]
    lock = threading.Lock()
    barrier = threading.Barrier(clients)

    def client(number: int) -> None:
        with connect(dsn) as connection:
            connection.execute(f"SET hnsw.ef_search = {ef}")
            for statement in setup:
                connection.execute(statement)
            cursor = connection.cursor(binary=True)
            own, found, count, less = [], 0, 0, 0
            for i in range(5):
                cursor.execute(sql, (parameters[i],)).fetchall()
            barrier.wait()
            end = time.perf_counter() + seconds
            position = number
            while (now := time.perf_counter()) < end:
                it = position % len(truth)
                ids = {row[0] for row in cursor.execute(sql, (parameters[it],)).fetchall()}
                own.append(time.perf_counter() - now)
                found += len(ids & truth[it])
                count += len(truth[it])
                less += len(ids) < len(truth[it])
                position += clients
            with lock:
                latencies.extend(own)
                hits[0] += found
                asked[0] += count
                short[0] += less

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ordered = sorted(latencies)
    return {
        "qps": len(ordered) / seconds,
        "p50_ms": 1e3 * ordered[len(ordered) // 2],
        "p99_ms": 1e3 * ordered[int(len(ordered) * 0.99)],
        "recall": hits[0] / max(asked[0], 1),
        "short": short[0],
    }


def inserts(dsn: str, data: Data, clients: int, seconds: float) -> float:
    done = [0]
    lock = threading.Lock()

    def client(number: int) -> None:
        with connect(dsn) as connection:
            sql = "INSERT INTO words (id, pos, embedding) VALUES (%b, 'new', %b)"
            count = 0
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                row = data.queries[count % len(data.queries)]
                connection.execute(sql, (1_000_000 + number * 1_000_000 + count, Vector(vector_bytes(row))))
                count += 1
            with lock:
                done[0] += count

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with connect(dsn) as connection:
        connection.execute("DELETE FROM words WHERE id >= 1000000")
    return done[0] / seconds


def select_one(dsn: str, seconds: float) -> float:
    with connect(dsn) as connection:
        cursor = connection.cursor(binary=True)
        count, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            cursor.execute("SELECT 1").fetchall()
            count += 1
    return count / seconds


def measure(name: str, dsn: str, data: Data, seconds: float, strict: list[str]) -> dict:
    say = lambda what, value: print(f"{name:10} {what:44} {value}", flush=True)
    result = {"name": name}
    with connect(dsn) as connection:
        result["version"] = connection.execute("SELECT version()").fetchone()[0]
        result["copy_s"] = load(connection, data)
        say("COPY of 115,659 rows", f"{result['copy_s']:.2f} s")
        connection.execute("SET maintenance_work_mem = '2GB'")
        connection.execute("SET max_parallel_maintenance_workers = 2")
        started = time.perf_counter()
        connection.execute(INDEX)
        result["index_s"] = time.perf_counter() - started
        say("CREATE INDEX", f"{result['index_s']:.1f} s")
        connection.execute("VACUUM ANALYZE words")
    result["select_1"] = select_one(dsn, seconds)
    say("SELECT 1, 1 client", f"{result['select_1']:.0f}/s")
    for clients in (1, 8):
        for ef in EFS:
            got = searches(dsn, data, ef, clients, seconds, [])
            result[f"ef{ef}_c{clients}"] = got
            say(f"ef {ef}, {clients} clients", describe(got))
    for where in FILTERS:
        mask = data.mask(where)
        got = searches(dsn, data, 100, 1, seconds, strict, where, data.filtered_truth(mask, 100))
        result[f"filter {where}"] = got | {"share": float(mask.mean())}
        say(f"{where} ({100 * mask.mean():.2f} %)", describe(got) + f" short {got['short']}")
    for clients in (1, 8):
        result[f"insert_c{clients}"] = inserts(dsn, data, clients, seconds)
        say(f"single-row INSERT, {clients} clients", f"{result[f'insert_c{clients}']:.0f}/s")
    return result


def describe(got: dict) -> str:
    return f"recall {got['recall']:.3f}  {got['qps']:7.0f}/s  p50 {got['p50_ms']:.2f} ms  p99 {got['p99_ms']:.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quiver", required=True, help="the quiver binary, built with --release")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="the folder of the WordNet set")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each speed is measured")
    parser.add_argument("--only", choices=("quiver", "pgvector"))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("bench/out/wire.json"))
    arguments = parser.parse_args()
    data = Data(arguments.data)
    results = []
    if arguments.only != "pgvector":
        with servers.quiver(arguments.quiver) as server:
            results.append(measure("quiver", server.url(), data, arguments.seconds, []))
    if arguments.only != "quiver":
        strict = ["SET hnsw.iterative_scan = strict_order"]
        with servers.pgvector("pginstall18", shared_buffers="4GB", max_wal_size="8GB") as server:
            results.append(measure("pgvector", server.url(), data, arguments.seconds, strict))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1))


main()
