"""Searching while rows arrive: one client searches, another copies batches of 100 rows at a fixed rate, or as fast as rows are indexed.

Rows that are not indexed yet are what `backlog` counts; pgvector indexes each row as it is inserted.
"""

import multiprocessing
import re
import struct
import time

import wire

BATCH = 100
# Made before the clock runs: what a client does to make its rows is not what is measured.
PREPARED = 200
DRAIN_SECONDS = 120
# So few rows are compared one by one for good.
FEW = 1_024


class Stream:
    """A client that copies rows, some a second, until it is told to stop. The ids of the rows are above all others.

    It is a process, so that a searching client waits for the server only, and has its rows ready, so that it leaves the processors to the others.
    """

    def __init__(self, dsn, data, rate: float):
        self.dsn, self.rate, self.data = dsn, rate, data
        self.prepared = [Batch(data, turn * BATCH) for turn in range(PREPARED)]
        self.context = multiprocessing.get_context("fork")
        self.done, self.told = self.context.Event(), self.context.Queue()
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
            started = time.perf_counter()
            while not self.done.is_set():
                with connection.cursor().copy(wire.COPY) as into:
                    into.write(self.prepared[self.rows // BATCH % PREPARED].under(2_000_000 + self.rows))
                self.rows += BATCH
                ahead = self.rows / self.rate - (time.perf_counter() - started)
                self.late = max(self.late, -ahead)
                self.done.wait(max(0.0, ahead))


class Batch:
    """Rows of the set again, moved a little so that no two vectors are equal, as bytes of a COPY."""

    def __init__(self, data, first: int):
        self.bytes = bytearray(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        # Where each row has its id and the first number of its vector.
        self.places, self.turn = [], 0
        for at in range(first, first + BATCH):
            self.append(data, at)
        self.bytes += b"\xff\xff"

    def append(self, data, at: int) -> None:
        it = at * 7919 % len(data.rows)
        row = data.rows[it]
        vector = data.base[it] * 0.999 + 0.001 * data.base[(at + 2_000_000) % len(data.base)]
        fields = [bytes(8), row["pos"].encode(), row["lexname"].encode()]
        fields += [", ".join(row["words"]).encode(), row["gloss"].encode(), struct.pack(">i", row["pointers"])]
        fields.append(wire.vector_bytes(vector))
        start = len(self.bytes) + 6
        self.bytes += struct.pack(">h", 7) + b"".join(struct.pack(">i", len(it)) + it for it in fields)
        self.places.append((start, len(self.bytes) - 4 * len(vector), float(vector[0])))

    def under(self, first: int) -> bytes:
        """With ids from `first` on. The second time vectors are a little different from the first."""
        for key, (id_at, number_at, number) in enumerate(self.places, first):
            struct.pack_into(">q", self.bytes, id_at, key)
            struct.pack_into(">f", self.bytes, number_at, number + 1e-4 * self.turn)
        self.turn += 1
        return bytes(self.bytes)


def backlog(server) -> float:
    """Rows that searches compare one by one, in memory or in segments without a graph, as EXPLAIN ANALYZE says; none where it does not say."""
    with wire.connect(server.url()) as connection:
        plan = connection.execute("EXPLAIN ANALYZE SELECT id FROM words ORDER BY embedding <-> (SELECT embedding FROM words LIMIT 1) LIMIT 10")
        text = " ".join(row[0] for row in plan.fetchall())

    def number(name: str) -> float:
        found = re.search(name + r"=([0-9.]+) ?([KM]?)", text)
        return float(found[1]) * {"": 1, "K": 1e3, "M": 1e6}[found[2]] if found else 0.0

    # What was looked at in segments is mostly of those that are compared row by row, if there is one.
    return number("memtable_rows") + (number("rows_visited") if re.search(r"searched=.*\bexact: ", text) else 0.0)


def highest_rate(server, data, seconds: float, first: float) -> dict:
    """The highest of rates, each half as much again as the one before, that leaves no backlog: no batch was a second late, and five seconds
    after rows stopped coming no more than a few were not indexed."""
    held, found, rate = 0.0, None, first
    while True:
        with Stream(server.url(), data, rate) as stream:
            busy = searching(server, data, seconds)
        began = time.perf_counter()
        while backlog(server) > FEW and time.perf_counter() - began < 5:
            time.sleep(0.5)
        left = backlog(server) > FEW
        clear(server)
        if left or stream.late > 1:
            return {"rows_per_s": held, "not": rate, "searching": found}
        held, found, rate = rate, busy, rate * 1.5


def clear(server) -> None:
    with wire.connect(server.url()) as connection:
        connection.execute("DELETE FROM words WHERE id >= 2000000")
        connection.execute("VACUUM words")


def measure(server, data, seconds: float, rate: float) -> dict:
    """Latencies and recall of a client that searches while `rate` rows a second arrive, and what had to be done afterwards.

    Recall is against the rows that were there before: only answers among those are counted, and ten of them are asked for.
    """
    idle = wire.searches(server.url(), data, min(seconds, 10), ef=80)
    with Stream(server.url(), data, rate) as stream:
        busy = searching(server, data, seconds)
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
        "busy": busy,
        "backlog_rows": left,
        "drain_s": drained,
    }


def searching(server, data, seconds: float) -> dict:
    """Searches, with the recall of those nearest rows that were there before."""
    return wire.searches(server.url(), data, seconds, ef=80, where="id < 1000000")
