"""Graphs without a server: ours against faiss, hnswlib and usearch, one search thread and two build threads each.

Each builds over the same vectors with M 16 and ef_construction 64, and is asked the same queries at each ef. Ours is the example
`sweep` of the crate quiver-index, which reads vectors from a flat file. Wall time, best of three passes over the queries.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import time

import numpy as np

EFS = (10, 20, 40, 80, 160, 320)
M, EF_CONSTRUCTION, BUILD_THREADS = 16, 64, 2
PASSES = 3


def measure(results, data, sweep: pathlib.Path) -> None:
    peers = {"faiss": faiss, "faiss SQ8": faiss_sq8, "hnswlib": hnswlib, "usearch": usearch}
    results.once("quiver", f"index only, {data.name}", lambda: ours(data, sweep))
    for name, peer in peers.items():
        results.once(name, f"index only, {data.name}", lambda peer=peer: theirs(peer, data))


def ours(data, sweep: pathlib.Path) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("base", data.base), ("queries", data.queries), ("truth", data.truth[:, :10].astype(np.int32))):
            rows.tofile(f"{folder}/{name}")
        command = [sweep, folder, str(data.base.shape[1]), str(BUILD_THREADS), ",".join(map(str, EFS))]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def theirs(build, data) -> dict:
    started = time.perf_counter()
    search, size = build(data.base)
    result = {"build_s": time.perf_counter() - started, "bytes": size, "ef": {}}
    for ef in EFS:
        best = float("inf")
        for _ in range(PASSES):
            began = time.perf_counter()
            found = search(data.queries, ef)
            best = min(best, time.perf_counter() - began)
        hits = sum(len(set(row) & set(truth[:10])) for row, truth in zip(found.tolist(), data.truth.tolist()))
        result["ef"][str(ef)] = {"recall": hits / (10 * len(data.queries)), "qps": len(data.queries) / best}
    return result


def faiss(base, kind=None):
    import faiss as library

    library.omp_set_num_threads(BUILD_THREADS)
    dim = base.shape[1]
    index = kind(library, dim) if kind else library.IndexHNSWFlat(dim, M)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    if not index.is_trained:
        index.train(base[:: max(1, len(base) // 50_000)])
    index.add(base)
    library.omp_set_num_threads(1)

    def search(queries, ef):
        index.hnsw.efSearch = ef
        return index.search(queries, 10)[1]

    return search, library.serialize_index(index).nbytes


def faiss_sq8(base):
    return faiss(base, lambda library, dim: library.IndexHNSWSQ(dim, library.ScalarQuantizer.QT_8bit, M))


def hnswlib(base):
    import hnswlib as library

    index = library.Index(space="l2", dim=base.shape[1])
    index.init_index(max_elements=len(base), ef_construction=EF_CONSTRUCTION, M=M)
    index.add_items(base, num_threads=BUILD_THREADS)

    def search(queries, ef):
        index.set_ef(max(ef, 10))
        return index.knn_query(queries, k=10, num_threads=1)[0]

    return search, index.index_file_size()


def usearch(base):
    from usearch.index import Index

    index = Index(ndim=base.shape[1], metric="l2sq", dtype="f32", connectivity=M, expansion_add=EF_CONSTRUCTION)
    index.add(np.arange(len(base)), base, threads=BUILD_THREADS)

    def search(queries, ef):
        index.expansion_search = ef
        return index.search(queries, 10, threads=1).keys

    return search, index.serialized_length


if os.environ.get("OMP_NUM_THREADS"):
    raise SystemExit("OMP_NUM_THREADS decides what faiss builds with: unset it")
