"""Vectors to measure with: the WordNet embeddings, and clustered synthetic ones; exact neighbours of each. Knows no servers."""

import pathlib

import numpy as np
import pyarrow.parquet as pq

QUERIES = 500
TRUTH = 100


class WordNet:
    """115,659 real sentence embeddings with their text, 1,000 held-out queries and the exact neighbours of those."""

    name = "WordNet 115,659 × 384"

    def __init__(self, folder: pathlib.Path):
        base = pq.read_table(folder / "base.parquet")
        self.rows = base.drop(["embedding", "synset"]).to_pylist()
        self.base = vectors(base)
        self.queries = vectors(pq.read_table(folder / "queries.parquet"))
        truth = pq.read_table(folder / "truth_l2_top100.parquet").column("neighbours").combine_chunks()
        self.truth = truth.flatten().to_numpy().reshape(len(self.queries), TRUTH)

    def mask(self, where: str) -> np.ndarray:
        """Which rows pass a condition; one of our own, in the SQL that reads as Python once its signs are changed."""
        expression = where.replace(" AND ", " and ").replace(">=", "@@").replace("<=", "##").replace("=", "==")
        code = compile(expression.replace("@@", ">=").replace("##", "<="), "filter", "eval")
        return np.array([bool(eval(code, {}, row)) for row in self.rows])

    def filtered_truth(self, keep: np.ndarray, count: int) -> list[set[int]]:
        ids = np.nonzero(keep)[0]
        return [set(ids[near].tolist()) for near in nearest(self.base[ids], self.queries[:count], 10)]


class Clustered:
    """Vectors around centres of unequal weight. The same for the same numbers; queries are drawn as the rows are."""

    def __init__(self, rows: int, dim: int, cache: pathlib.Path, centres: int = 1000, seed: int = 7):
        self.name = f"clustered {rows:,} × {dim}"
        random = np.random.default_rng(seed)
        middles = random.standard_normal((centres, dim), dtype=np.float32)
        weights = random.pareto(1.5, centres) + 0.05
        total = rows + QUERIES
        of = random.choice(centres, size=total, p=weights / weights.sum())
        spread = random.uniform(0.3, 0.9, centres).astype(np.float32)
        every = np.empty((total, dim), dtype=np.float32)
        for start in range(0, total, 50_000):
            part = of[start : start + 50_000]
            noise = random.standard_normal((len(part), dim), dtype=np.float32)
            every[start : start + 50_000] = middles[part] + spread[part][:, None] * noise
        self.base, self.queries = every[:rows], every[rows:]
        kept = cache / f"truth_{rows}_{dim}_{seed}.npy"
        if kept.exists():
            self.truth = np.load(kept)
        else:
            self.truth = nearest(self.base, self.queries, TRUTH)
            cache.mkdir(parents=True, exist_ok=True)
            np.save(kept, self.truth)


def vectors(table) -> np.ndarray:
    flat = table.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.astype(np.float32).reshape(len(table), -1)


def nearest(base: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Row numbers of the k nearest by L2, nearest first."""
    norms = (base * base).sum(axis=1)
    k = min(k, len(base))
    found = np.empty((len(queries), k), dtype=np.int64)
    for start in range(0, len(queries), 50):
        distances = norms - 2 * queries[start : start + 50] @ base.T
        near = np.argpartition(distances, k - 1, axis=1)[:, :k]
        order = np.take_along_axis(distances, near, axis=1).argsort(axis=1, kind="stable")
        found[start : start + 50] = np.take_along_axis(near, order, axis=1)
    return found
