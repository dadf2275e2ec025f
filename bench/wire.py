"""Both servers over the wire on the WordNet embeddings: load, searches, filters, writes, what they take of processor and memory.

Every statement goes to both, prepared and with binary parameters, through psycopg 3; pgbench.py measures without Python's share.
"""

import multiprocessing
import struct
import time

import numpy as np
import psutil
import psycopg

EFS = (20, 40, 50, 80, 160, 320)
# Speeds are compared at this recall.
ENOUGH = 0.98
# With a filter, until one finds enough.
FILTER_EFS = (40, 70, 100, 200, 400)
CLIENTS = (1, 8)
# More than one client asks in a run.
TURNS = 1_000_000
# Seconds that a client has to connect, warm up and tell; one that was killed tells nothing.
CLIENT_GRACE = 120
# Conditions from 0.01 % to 90 % of the rows. Categories go along with what a sentence is about; numbers and ids do not.
FILTERS = (
    "pos = 'noun'",
    "pos = 'verb'",
    "pos = 'adj'",
    "pos = 'adv'",
    "lexname = 'noun.food'",
    "lexname = 'noun.artifact'",
    "lexname = 'noun.person'",
    "lexname = 'noun.plant'",
    "lexname = 'noun.body'",
    "lexname = 'noun.time'",
    "lexname = 'noun.relation'",
    "lexname = 'noun.motive'",
    "lexname = 'verb.weather'",
    "pos = 'adv' AND pointers = 1",
    "pos = 'noun' AND pointers >= 10",
    "lexname = 'noun.animal' AND pointers = 2",
    "pointers >= 1",
    "pointers >= 3",
    "pointers >= 5",
    "pointers >= 20",
    "pointers >= 60",
    "pointers = 0",
    "id % 10 >= 1",
    "id % 2 = 0",
    "id % 20 = 0",
    "id % 1000 = 0",
    "id % 10000 = 0",
)
TABLE = """CREATE TABLE words (id bigint PRIMARY KEY, pos text, lexname text, words text, gloss text, pointers int,
    embedding vector(384))"""
COPY = "COPY words (id, pos, lexname, words, gloss, pointers, embedding) FROM STDIN (FORMAT binary)"
INDEX = "CREATE INDEX words_idx ON words USING hnsw (embedding vector_l2_ops) WITH (m = 16, ef_construction = 64)"
SEARCH = "SELECT {columns} FROM words {where} ORDER BY embedding <-> %b::vector LIMIT {k}"


class Vector:
    """A parameter in pgvector's binary form."""

    def __init__(self, row: np.ndarray):
        self.data = vector_bytes(row)


class VectorDumper(psycopg.adapt.Dumper):
    format = psycopg.pq.Format.BINARY

    def dump(self, value):
        return value.data


def vector_bytes(row: np.ndarray) -> bytes:
    return struct.pack(">HH", len(row), 0) + row.astype(">f4").tobytes()


def connect(dsn: str) -> psycopg.Connection:
    connection = psycopg.connect(dsn, autocommit=True, prepare_threshold=1)
    info = psycopg.types.TypeInfo.fetch(connection, "vector")
    connection.adapters.register_dumper(Vector, type("BoundDumper", (VectorDumper,), {"oid": info.oid}))
    return connection


def copied(data) -> list[bytes]:
    """The rows as binary COPY has them, 500 in a piece."""
    rows = []
    for row, vector in zip(data.rows, data.base):
        fields = [struct.pack(">q", row["id"])]
        fields += [row[it].encode() for it in ("pos", "lexname")]
        fields += [", ".join(row["words"]).encode(), row["gloss"].encode()]
        fields += [struct.pack(">i", row["pointers"]), vector_bytes(vector)]
        rows.append(struct.pack(">h", 7) + b"".join(struct.pack(">i", len(it)) + it for it in fields))
    return [b"".join(rows[i : i + 500]) for i in range(0, len(rows), 500)]


def copy(connection, chunks: list[bytes]) -> None:
    with connection.cursor().copy(COPY) as into:
        into.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for chunk in chunks:
            into.write(chunk)
        into.write(b"\xff\xff")


def load(connection, chunks: list[bytes]) -> dict:
    connection.execute("DROP TABLE IF EXISTS words")
    connection.execute(TABLE)
    started = time.perf_counter()
    copy(connection, chunks)
    copied = time.perf_counter()
    connection.execute("SET maintenance_work_mem = '2GB'")
    connection.execute("SET max_parallel_maintenance_workers = 2")
    connection.execute(INDEX)
    ended = time.perf_counter()
    connection.execute("VACUUM ANALYZE words")
    return {"copy_s": copied - started, "index_s": ended - copied, "all_s": ended - started}


def together(clients: int, seconds: float, prepare) -> tuple[list[float], list]:
    """Runs what `prepare(client)` gives again and again: latencies in seconds, sorted, and what each client has to tell at its end.

    `prepare` gives a context manager whose value is called with 0, 1, 2, … Several clients are processes, so that they wait for the server and
    not for each other's interpreter.
    """
    if clients == 1:
        latencies, told = client(prepare(0), seconds, lambda: None)
        return sorted(latencies), [told]
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(clients), context.Queue()

    def run(number: int) -> None:
        try:
            queue.put(client(prepare(number), seconds, lambda: barrier.wait(CLIENT_GRACE)))
        except Exception as error:  # told by the parent
            barrier.abort()
            queue.put(repr(error))

    # A client that waits for one which was killed must not keep this process from ending.
    processes = [context.Process(target=run, args=(number,), daemon=True) for number in range(clients)]
    [process.start() for process in processes]
    got = [queue.get(timeout=seconds + CLIENT_GRACE) for _ in processes]
    [process.join() for process in processes]
    if failed := [it for it in got if isinstance(it, str)]:
        raise RuntimeError(failed[0])
    return sorted(latency for latencies, _ in got for latency in latencies), [told for _, told in got]


def client(prepared, seconds: float, begin) -> tuple[list[float], object]:
    with prepared as ask:
        for turn in range(5):
            ask(turn)
        begin()
        latencies, turn, end = [], 0, time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            ask(turn)
            latencies.append(time.perf_counter() - now)
            turn += 1
    return latencies, prepared.told()


def speed(latencies: list[float], seconds: float) -> dict:
    at = lambda share: 1e3 * latencies[min(len(latencies) - 1, int(len(latencies) * share))]
    return {"qps": len(latencies) / seconds, "p50_ms": at(0.5), "p99_ms": at(0.99)}


class Asking:
    """One client that searches, and counts what it found."""

    def __init__(self, dsn, sql, settings, parameters, truth, number, clients):
        self.connection = connect(dsn)
        for setting in settings:
            self.connection.execute(setting)
        self.cursor = self.connection.cursor(binary=True)
        self.sql, self.parameters, self.truth = sql, parameters, truth
        self.number, self.clients = number, clients
        self.hits = self.asked = self.short = 0

    def __enter__(self):
        return self.ask

    def __exit__(self, *_):
        self.connection.close()

    def ask(self, turn: int) -> None:
        it = (self.number + turn * self.clients) % len(self.truth)
        ids = {row[0] for row in self.cursor.execute(self.sql, (self.parameters[it],)).fetchall()}
        self.hits += len(ids & self.truth[it])
        self.asked += len(self.truth[it])
        self.short += len(ids) < len(self.truth[it])

    def told(self) -> tuple[int, int, int]:
        return self.hits, self.asked, self.short


def searches(dsn, data, seconds, *, ef, clients=1, k=10, where="", settings=(), truth=None, columns="id") -> dict:
    """Queries a second, latencies in ms, recall, and how many answers were short."""
    sql = SEARCH.format(columns=columns, where=f"WHERE {where}".replace("%", "%%") if where else "", k=k)
    parameters = [Vector(query) for query in data.queries]
    truth = truth or [set(row[:k].tolist()) for row in data.truth]
    settings = [f"SET hnsw.ef_search = {ef}", *settings]
    prepare = lambda number: Asking(dsn, sql, settings, parameters, truth, number, clients)
    latencies, told = together(clients, seconds, prepare)
    hits, asked, short = map(sum, zip(*told))
    return speed(latencies, seconds) | {"recall": hits / max(asked, 1), "short": short}


class Executing:
    """One client that runs a statement with parameters that `values` makes of the turn, which no two clients share."""

    def __init__(self, dsn, sql, values, number):
        self.connection, self.sql, self.values, self.number = connect(dsn), sql, values, number

    def __enter__(self):
        cursor = self.connection.cursor(binary=True)

        def ask(turn: int) -> None:
            cursor.execute(self.sql, self.values(turn + self.number * TURNS))
            if cursor.description:
                cursor.fetchall()

        return ask

    def __exit__(self, *_):
        self.connection.close()

    def told(self) -> None:
        return None


def statement(dsn, sql, seconds, values=lambda turn: (), clients=1) -> dict:
    latencies, _ = together(clients, seconds, lambda number: Executing(dsn, sql, values, number))
    return speed(latencies, seconds)


def inserts(dsn, data, clients: int, seconds: float) -> dict:
    sql = "INSERT INTO words (id, pos, embedding) VALUES (%b, 'new', %b)"
    used = iter(range(100_000_000))
    values = lambda turn: (1_000_000 + turn // TURNS * TURNS + next(used), Vector(data.queries[turn % len(data.queries)]))
    got = statement(dsn, sql, seconds, values, clients)
    with connect(dsn) as connection:
        connection.execute("DELETE FROM words WHERE id >= 1000000")
        connection.execute("VACUUM words")
    return got


def processor(pid: int) -> float:
    """Seconds of processor time of a server and of all that it has started."""
    used = lambda process: sum(process.cpu_times()[:2])
    parent = psutil.Process(pid)
    return used(parent) + sum(parent.cpu_times()[2:4]) + sum(used(child) for child in parent.children(recursive=True))


def settle(pid: int) -> float:
    """Waits until a server has nothing to do: seconds it took, a minute at most. What a load leaves behind is not measured with the rest."""
    started = time.perf_counter()
    while time.perf_counter() - started < 60:
        before = processor(pid)
        time.sleep(1)
        if processor(pid) - before < 0.05:
            break
    return time.perf_counter() - started


def cost(server, seconds: float, run) -> dict:
    """What a run of `seconds` took of the server's processor, in microseconds a statement."""
    before = processor(server.pid)
    got = run()
    return got | {"server_us": 1e6 * (processor(server.pid) - before) / (got["qps"] * seconds)}


def resident(pid: int) -> dict:
    """Bytes that a server has in memory: its own, of mapped graphs, of mapped vectors."""
    kinds = {".hnsw": "graph_bytes", ".vec": "vector_bytes"}
    found = {"own_bytes": 0, "graph_bytes": 0, "vector_bytes": 0}
    with open(f"/proc/{pid}/smaps") as maps:
        for line in maps:
            name, *rest = line.split(maxsplit=5)
            if "-" in name and not name.endswith(":"):
                kind = next((kind for end, kind in kinds.items() if rest[-1].strip().endswith(end)), None)
            elif name == "Rss:" and kind:
                found[kind] += int(rest[0]) * 1024
            elif name == "Anonymous:":
                found["own_bytes"] += int(rest[0]) * 1024
    return found
