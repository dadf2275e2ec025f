"""Searching while rows arrive: one client searches, another copies batches of 100 rows at a fixed rate, or as fast as rows are indexed.

Rows that are not indexed yet are what `backlog` counts; pgvector indexes each row as it is inserted.
"""

import multiprocessing
import re
import struct
import time

import numpy as np
import wire
from psycopg.pq import ExecStatus

BATCH = 100
# Made before the clock runs: what a client does to make its rows is not what is measured.
PREPARED = 200
DRAIN_SECONDS = 120
# So few rows are compared one by one for good.
FEW = 1_024
# The id of the first row that arrives; those that were there before have lower ones.
FIRST = 2_000_000


class Stream:
    """A client that copies rows, some a second, until it is told to stop. The ids of the rows are above all others.

    It is a process, so that a searching client waits for the server only, and has its rows ready and hands them to libpq at once, so that it leaves
    the processors to the others: psycopg's own way takes 0.3 ms for a batch, twice as long, and more than a search.
    """

    def __init__(self, dsn, data, rate: float):
        self.dsn, self.rate, self.data = dsn, rate, data
        self.prepared = [Batch(data, turn * BATCH) for turn in range(PREPARED)]
        self.context = multiprocessing.get_context("fork")
        self.done, self.told = self.context.Event(), self.context.Queue()
        # Rows that have been acknowledged.
        self.count = self.context.Value("q", 0)
        self.rows, self.late = 0, 0.0

    def __enter__(self):
        self.process = self.context.Process(target=self.run, daemon=True)
        self.process.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        told = self.told.get(timeout=wire.CLIENT_GRACE)
        self.process.join()
        if isinstance(told, str):
            raise RuntimeError(told)
        self.rows, self.late = told

    def run(self) -> None:
        try:
            self.copy()
            self.told.put((self.rows, self.late))
        except Exception as error:  # told by the parent
            self.told.put(repr(error))

    def copy(self) -> None:
        with wire.connect(self.dsn) as connection:
            started, batch = time.perf_counter(), self.batch()
            while not self.done.is_set():
                copy_at_once(connection.pgconn, batch)
                self.rows += BATCH
                self.count.value = self.rows
                batch = self.batch()
                ahead = self.rows / self.rate - (time.perf_counter() - started)
                self.late = max(self.late, -ahead)
                self.done.wait(max(0.0, ahead))

    def batch(self) -> bytearray:
        """The next one."""
        return self.prepared[self.rows // BATCH % PREPARED].under(FIRST + self.rows)


def copy_at_once(pgconn, batch: bytearray) -> None:
    results = [pgconn.exec_(wire.COPY.encode())]
    if results[0].status == ExecStatus.COPY_IN:
        pgconn.put_copy_data(batch)
        pgconn.put_copy_end()
        results = list(iter(pgconn.get_result, None))
    if [result.status for result in results] != [ExecStatus.COMMAND_OK]:
        raise RuntimeError([result.error_message for result in results])


# By how much the first number of a vector grows each time that its batch is copied again.
MOVED = 1e-4


class Batch:
    """Rows of the set again, moved a little so that no two vectors are equal, as bytes of a COPY."""

    def __init__(self, data, first: int):
        self.bytes = bytearray(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        # Where each row has its id and the first number of its vector.
        self.id_starts, self.number_starts, self.vectors, self.turn = [], [], [], 0
        for at in range(first, first + BATCH):
            self.append(data, at)
        self.bytes += b"\xff\xff"
        self.view = np.frombuffer(self.bytes, np.uint8)
        self.id_bytes = np.add.outer(self.id_starts, np.arange(8))
        self.number_bytes = np.add.outer(self.number_starts, np.arange(4))
        self.numbers = np.array([vector[0] for vector in self.vectors], np.float32)

    def append(self, data, at: int) -> None:
        it = at * 7919 % len(data.rows)
        row = data.rows[it]
        vector = data.base[it] * 0.999 + 0.001 * data.base[(at + FIRST) % len(data.base)]
        self.vectors.append(vector)
        fields = [bytes(8), row["pos"].encode(), row["lexname"].encode()]
        fields += [", ".join(row["words"]).encode(), row["gloss"].encode(), struct.pack(">i", row["pointers"])]
        fields.append(wire.vector_bytes(vector))
        self.id_starts.append(len(self.bytes) + 6)
        self.bytes += struct.pack(">h", 7) + b"".join(struct.pack(">i", len(it)) + it for it in fields)
        self.number_starts.append(len(self.bytes) - 4 * len(vector))

    def under(self, first: int) -> bytearray:
        """With ids from `first` on. The second time vectors are a little different from the first."""
        ids = np.arange(first, first + BATCH).astype(">i8")
        numbers = (self.numbers + MOVED * self.turn).astype(">f4")
        self.view[self.id_bytes] = ids.view(np.uint8).reshape(BATCH, 8)
        self.view[self.number_bytes] = numbers.view(np.uint8).reshape(BATCH, 4)
        self.turn += 1
        return self.bytes


def backlog(server) -> float:
    """Rows that searches compare one by one, in memory or in segments without a graph, as EXPLAIN ANALYZE says; none where it does not say."""
    with wire.connect(server.url()) as connection:
        plan = connection.execute("EXPLAIN ANALYZE SELECT id FROM words ORDER BY embedding <-> (SELECT embedding FROM words LIMIT 1) LIMIT 10")
        text = " ".join(row[0] for row in plan.fetchall())

    def number(name: str) -> float:
        found = re.search(name + r"=([0-9.]+) ?([KM]?)", text)
        return float(found[1]) * {"": 1, "K": 1e3, "M": 1e6}[found[2]] if found else 0.0

    # What was looked at in segments is mostly of those that are compared row by row, if there is one.
    return number("memtable_rows") + (number("rows_visited") if re.search(r"searched=.*\bexact( by codes)?: ", text) else 0.0)


def highest_rate(server, data, seconds: float, first: float) -> dict:
    """The highest of rates, each half as much again as the one before, that leaves no backlog: no batch was a second late, and five seconds
    after rows stopped coming no more than a few were not indexed."""
    held, found, rate = 0.0, None, first
    while True:
        with Stream(server.url(), data, rate) as stream:
            latencies, _ = searching(server, data, seconds, stream)
        began = time.perf_counter()
        while backlog(server) > FEW and time.perf_counter() - began < 5:
            time.sleep(0.5)
        left = backlog(server) > FEW
        clear(server)
        if left or stream.late > 1:
            return {"rows_per_s": held, "not": rate, "searching": found}
        held, found, rate = rate, wire.speed(latencies, seconds), rate * 1.5


def clear(server) -> None:
    with wire.connect(server.url()) as connection:
        connection.execute(f"DELETE FROM words WHERE id >= {FIRST}")
        connection.execute("VACUUM words")


def measure(server, data, seconds: float, rate: float) -> dict:
    """Latencies and recall of a client that searches while `rate` rows a second arrive, and what had to be done afterwards."""
    idle = wire.searches(server.url(), data, min(seconds, 10), ef=80)
    with Stream(server.url(), data, rate) as stream:
        latencies, answers = searching(server, data, seconds, stream)
    left = backlog(server)
    began = time.perf_counter()
    while backlog(server) > FEW and time.perf_counter() - began < DRAIN_SECONDS:
        time.sleep(0.5)
    drained = time.perf_counter() - began
    clear(server)
    return {
        "wanted_rows_per_s": rate,
        "rows_per_s": stream.rows / seconds,
        "late_s": stream.late,
        "idle_p99_ms": idle["p99_ms"],
        "busy": wire.speed(latencies, seconds) | {"recall": recall(answers, data, stream)},
        "backlog_rows": left,
        "drain_s": drained,
    }


class Watching:
    """A client that searches all rows, and keeps each answer with how many rows had arrived when it was asked for."""

    def __init__(self, dsn, data, stream: Stream):
        self.connection = wire.connect(dsn)
        self.connection.execute("SET hnsw.ef_search = 80")
        self.cursor = self.connection.cursor(binary=True)
        self.sql = wire.SEARCH.format(columns="id", where="", k=10)
        self.parameters = [wire.Vector(query) for query in data.queries]
        self.stream, self.answers = stream, []

    def __enter__(self):
        return self.ask

    def __exit__(self, *_):
        self.connection.close()

    def ask(self, turn: int) -> None:
        it, arrived = turn % len(self.parameters), self.stream.count.value
        rows = self.cursor.execute(self.sql, (self.parameters[it],)).fetchall()
        self.answers.append((it, arrived, [row[0] for row in rows]))

    def told(self) -> list:
        return self.answers


def searching(server, data, seconds: float, stream: Stream) -> tuple[list, list]:
    """Searches for the ten nearest of all rows: latencies and answers."""
    latencies, (answers,) = wire.together(1, seconds, lambda _: Watching(server.url(), data, stream))
    return latencies, answers


def recall(answers: list, data, stream: Stream) -> float:
    """The share of rows that are no farther than the tenth of all that had arrived when they were asked for; later ones may be nearer still."""
    # Some were there before their client was told so.
    count = stream.rows + BATCH
    prepared = np.stack([vector for batch in stream.prepared for vector in batch.vectors])
    arrived = np.tile(prepared, (-(-count // len(prepared)), 1))[:count]
    arrived[:, 0] += MOVED * (np.arange(count) // len(prepared))
    far = lambda query, vectors: ((vectors - query) ** 2).sum(axis=1)
    squares = (arrived * arrived).sum(axis=1)
    hits, by_query = 0, {}
    for it, before, ids in answers:
        by_query.setdefault(it, []).append((before, ids))
    for it, asked in by_query.items():
        query = data.queries[it]
        before_all = far(query, data.base[data.truth[it][:10]])
        # Only these can be among the ten nearest; by the product first, since there are many.
        rough = squares - 2 * (arrived @ query) + query @ query
        near = np.flatnonzero(rough <= before_all.max() + 1e-3)
        near_far = far(query, arrived[near])
        for before, ids in asked:
            tenth = np.sort(np.concatenate([before_all, near_far[near < before]]))[9]
            vectors = [arrived[row - FIRST] if row >= FIRST else data.base[row] for row in ids]
            hits += int((far(query, np.stack(vectors)) <= tenth + 1e-6).sum())
    return hits / max(1, 10 * len(answers))
