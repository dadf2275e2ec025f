"""Searching while rows arrive: one client searches, another copies batches of 100 rows at a fixed rate, or as fast as rows are indexed.

Rows that are not indexed yet are what `backlog` counts; pgvector indexes each row as it is inserted.
"""

import re
import struct
import threading
import time

import wire

BATCH = 100
DRAIN_SECONDS = 120


class Stream:
    """A client that copies rows, some a second, until it is told to stop. The ids of the rows are above all others."""

    def __init__(self, dsn, data, rate: float):
        self.dsn, self.rate, self.data = dsn, rate, data
        self.done, self.rows, self.late = threading.Event(), 0, 0.0
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def run(self) -> None:
        header, end = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
        with wire.connect(self.dsn) as connection:
            started = time.perf_counter()
            while not self.done.is_set():
                with connection.cursor().copy(wire.COPY) as into:
                    into.write(header + self.batch() + end)
                self.rows += BATCH
                ahead = self.rows / self.rate - (time.perf_counter() - started)
                self.late = max(self.late, -ahead)
                self.done.wait(max(0.0, ahead))

    def batch(self) -> bytes:
        """Rows of the set again, under new ids, moved a little so that no two vectors are equal."""
        chosen = [(self.rows + i) * 7919 % len(self.data.rows) for i in range(BATCH)]
        return b"".join(self.row(2_000_000 + self.rows + i, it) for i, it in enumerate(chosen))

    def row(self, key: int, it: int) -> bytes:
        row = self.data.rows[it]
        vector = self.data.base[it] * 0.999 + 0.001 * self.data.base[key % len(self.data.base)]
        fields = [struct.pack(">q", key), row["pos"].encode(), row["lexname"].encode()]
        fields += [", ".join(row["words"]).encode(), row["gloss"].encode(), struct.pack(">i", row["pointers"])]
        fields.append(wire.vector_bytes(vector))
        return struct.pack(">h", 7) + b"".join(struct.pack(">i", len(it)) + it for it in fields)


def backlog(server) -> float:
    """Rows in memory, which searches compare one by one, as EXPLAIN ANALYZE says; none where it does not say."""
    with wire.connect(server.url()) as connection:
        plan = connection.execute("EXPLAIN ANALYZE SELECT id FROM words ORDER BY embedding <-> (SELECT embedding FROM words LIMIT 1) LIMIT 10")
        found = re.search(r"memtable_rows=([0-9.]+) ?([KM]?)", " ".join(row[0] for row in plan.fetchall()))
    return float(found[1]) * {"": 1, "K": 1e3, "M": 1e6}[found[2]] if found else 0.0


def highest_rate(server, data, seconds: float, first: float) -> dict:
    """The highest of rates, each half as much again as the one before, that leaves no backlog: no batch was a second late, and what was
    not indexed when rows stopped coming was indexed within five seconds."""
    held, found, rate = 0.0, None, first
    while True:
        with Stream(server.url(), data, rate) as stream:
            busy = searching(server, data, seconds)
        began = time.perf_counter()
        while backlog(server) > BATCH and time.perf_counter() - began < 5:
            time.sleep(0.5)
        left = backlog(server) > BATCH
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
    while backlog(server) > BATCH and time.perf_counter() - began < DRAIN_SECONDS:
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
