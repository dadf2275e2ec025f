"""The same filters by every means: rows in memory, sealed rows without an index of values, and with B-trees, hashes and gin; whatever is
chosen (statistics, indexes, evaluated and remembered bitmaps, codes, walks), the rows are the same, and so are the nearest of them."""

import random

import numpy as np
import psycopg
import pytest

ROWS = 5000
DIM = 64
COLUMNS = "(id bigint PRIMARY KEY, n int, kind text, d date, f float8, b boolean, tags text[], doc jsonb, v vector(64))"
KINDS = [f"kind/{i % 7}/{i}" for i in range(40)]


def rows(rng):
    """Vectors lie about eight centres; `n` follows the centre, the other columns do not. A tenth of each column is NULL."""
    numbers = np.random.default_rng(7)
    centres = numbers.normal(size=(8, DIM))
    for key in range(ROWS):
        centre = rng.randrange(8)
        vector = centres[centre] + 0.4 * numbers.normal(size=DIM)
        tags = [f"t{rng.randrange(30)}" for _ in range(rng.randrange(4))]
        values = [
            centre * 100 + rng.randrange(100),
            rng.choice(KINDS),
            f"2024-{rng.randrange(12) + 1:02}-{rng.randrange(28) + 1:02}",
            rng.choice([float("nan"), float("inf"), -0.0, *(rng.uniform(-5, 5) for _ in range(20))]),
            rng.random() < 0.2,
            tags,
            psycopg.types.json.Jsonb({"a": rng.randrange(20), "tags": tags, "deep": {"x": rng.randrange(5)}}),
        ]
        yield [key, *(None if rng.random() < 0.1 else it for it in values), str(vector.tolist())]


def predicate(rng, depth=0) -> str:
    """One of all kinds that rows can be found by, or a combination of some."""
    if depth < 2 and rng.random() < 0.45:
        parts = [predicate(rng, depth + 1) for _ in range(rng.randrange(2, 4))]
        joined = rng.choice([" AND ", " OR "]).join(parts)
        return rng.choice(["({})", "({})", "NOT ({})"]).format(joined)
    number, day = rng.randrange(-20, 820), f"'2024-{rng.randrange(12) + 1:02}-15'"
    tags = ", ".join(f"'t{rng.randrange(33)}'" for _ in range(rng.randrange(1, 3)))
    return rng.choice(
        [
            f"n = {number}",
            f"n >= {number}",
            f"n BETWEEN {number} AND {number + rng.randrange(200)}",
            f"n IN ({number}, {number + 1}, {number + 50})",
            f"n = ANY (ARRAY[{number}, NULL, {number + 3}])",
            f"n % {rng.randrange(2, 50)} = 0",
            f"kind = '{rng.choice(KINDS)}'",
            f"kind LIKE 'kind/{rng.randrange(8)}/%'",
            f"kind > '{rng.choice(KINDS)}'",
            f"d < {day}",
            f"d <> {day}",
            f"f > {rng.uniform(-6, 6):.3f}",
            "f = 'NaN'",
            "f = 0",
            "b",
            "b IS NOT TRUE",
            f"tags && ARRAY[{tags}]",
            f"tags @> ARRAY[{tags}]",
            f"'t{rng.randrange(30)}' = ANY (tags)",
            f"doc @> '{{\"a\": {rng.randrange(22)}}}'",
            f"doc @> '{{\"deep\": {{\"x\": {rng.randrange(6)}}}}}'",
            f"doc ? '{rng.choice(['a', 'deep', 'none'])}'",
            f"doc->>'a' = '{rng.randrange(20)}'",
            f"{rng.choice(['n', 'kind', 'd', 'f', 'b', 'tags', 'doc'])} IS {rng.choice(['', 'NOT '])}NULL",
            f"id >= {rng.randrange(ROWS)}",
            f"v <-> '{np.full(DIM, rng.uniform(-1, 1)).tolist()}' < {rng.uniform(6, 14):.2f}",
        ]
    )


@pytest.fixture
def connection(admin):
    rng = random.Random(20)
    loaded = list(rows(rng))
    for table in ("plain", "sealed", "indexed"):
        admin.execute(f"CREATE TABLE {table} {COLUMNS}")
    admin.execute("CREATE INDEX ON sealed USING hnsw (v vector_l2_ops)")
    admin.execute("CREATE INDEX ON indexed USING hnsw (v vector_l2_ops)")
    for column in ("n", "d", "f", "b"):
        admin.execute(f"CREATE INDEX ON indexed ({column})")
    admin.execute("CREATE INDEX ON indexed USING hash (kind)")
    admin.execute("CREATE INDEX ON indexed (kind)")
    for column in ("tags", "doc"):
        admin.execute(f"CREATE INDEX ON indexed USING gin ({column})")
    for table in ("plain", "sealed", "indexed"):
        with admin.cursor().copy(f"COPY {table} FROM STDIN") as copy:
            for row in loaded:
                copy.write_row(row)
        # Some rows are gone, and some of those that are left are younger than the segment.
        if table != "plain":
            admin.execute(f"VACUUM {table}")
        admin.execute(f"DELETE FROM {table} WHERE id % 17 = 3")
        admin.execute(f"UPDATE {table} SET n = n + 1 WHERE id % 97 = 5")
    return admin


def test_every_means_finds_the_same_rows_and_the_nearest_of_them(connection):
    rng = random.Random(21)
    found, wanted, filtered = 0, 0, set()
    for turn in range(100):
        where = predicate(rng)
        ids = {
            table: [row[0] for row in connection.execute(f"SELECT id FROM {table} WHERE {where} ORDER BY id").fetchall()]
            for table in ("plain", "sealed", "indexed")
        }
        assert ids["sealed"] == ids["plain"], where
        assert ids["indexed"] == ids["plain"], where
        k = rng.choice([1, 10, 100])
        query = str(np.random.default_rng(turn).normal(size=DIM).tolist())
        nearest = {
            table: [row[0] for row in connection.execute(f"SELECT id FROM {table} WHERE {where} ORDER BY v <-> '{query}' LIMIT {k}")]
            for table in ("plain", "sealed", "indexed")
        }
        for table in ("sealed", "indexed"):
            assert len(nearest[table]) == len(nearest["plain"]) == min(k, len(ids["plain"])), where
            assert set(nearest[table]) <= set(ids["plain"]), where
            found += len(set(nearest[table]) & set(nearest["plain"]))
            wanted += len(nearest["plain"])
        plan = connection.execute(f"EXPLAIN ANALYZE SELECT id FROM indexed WHERE {where} ORDER BY v <-> '{query}' LIMIT {k}")
        text = " ".join(row[0] for row in plan.fetchall())
        filtered |= {strategy for strategy in ("filtered graph", "exact by codes", "exact") if f"{strategy}: " in text}
    assert found / wanted >= 0.98
    # The test is about several means: it would say little if only one was ever chosen.
    assert {"filtered graph", "exact by codes"} <= filtered
