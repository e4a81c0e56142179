"""Similar rows, one query after the other on one thread: our lists and hash tables beside hnswlib and faiss, in one run.

    python similar.py --folder FOLDER --ours BINARY [--rows 1000000] [--embeddings FILE] [--peer NAME ...] [--json OUT] [--plot OUT.svg]

Every contender searches in a process of its own, on the same rows and the same queries, which are rows moved by noise. Recall is the
share of the ten truly nearest that is found. Prints a table in Markdown.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import subprocess
import time

import numpy as np

import make_data

NEIGHBOURS = 10
QUERIES = 1000
# Longest time that queries of one setting take.
PATIENCE = 12
PEERS = ["hnswlib", "faiss-ivf", "faiss-lsh"]
# Of faiss' LSH.
BITS = [512, 1024, 2048, 4096]


def prepare(folder, rows, embeddings):
    """Rows, queries that are no rows, and their true neighbours."""
    name = "similar_embeddings" if embeddings else f"similar_mix_{rows}"
    paths = [folder / f"{name}{suffix}.npy" for suffix in ("", ".queries", ".truth")]
    if not all(path.exists() for path in paths):
        rng = np.random.default_rng(7)
        if embeddings:
            points = make_data.embeddings(embeddings)
            chosen = rng.choice(len(points), QUERIES, replace=False)
            queries = points[chosen]
            points = np.delete(points, chosen, axis=0)
        else:
            points = make_data.mixture(np.random.default_rng(1), rows, 128, 1000, 16)
            chosen = rng.choice(rows, QUERIES, replace=False)
            queries = points[chosen] + np.float32(0.15) * rng.standard_normal((QUERIES, 128), dtype=np.float32)
        import faiss

        index = faiss.IndexFlatL2(points.shape[1])
        index.add(np.ascontiguousarray(points))
        truth = index.search(queries, NEIGHBOURS)[1].astype(np.float32)
        for path, values in zip(paths, (points, queries, truth)):
            np.save(path, np.ascontiguousarray(values, dtype=np.float32))
    return paths


def indexes(name, points, clusters):
    """The indexes of a peer, each with its settings, how to choose one, and how to search: built when asked for."""
    n, d = points.shape
    if name == "hnswlib":
        import hnswlib

        index = hnswlib.Index("l2", d)
        index.init_index(n, M=16, ef_construction=100, random_seed=1)
        index.add_items(points)
        search = lambda query: index.knn_query(query, NEIGHBOURS, num_threads=1)[0][0]
        yield [16, 32, 64, 128, 256], index.set_ef, search
        return
    import faiss

    threads = faiss.omp_get_max_threads()
    if name == "faiss-ivf":
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, clusters)
        index.train(points[np.random.default_rng(0).choice(n, min(n, clusters * 64), replace=False)])
        index.add(points)
        faiss.omp_set_num_threads(1)
        choose = lambda probes: setattr(index, "nprobe", probes)
        yield [1, 2, 4, 8, 16, 32, 64], choose, lambda query: index.search(query[None], NEIGHBOURS)[1][0]
        return
    for bits in BITS:
        faiss.omp_set_num_threads(threads)
        index = faiss.IndexLSH(d, bits)
        index.train(points)
        index.add(points)
        faiss.omp_set_num_threads(1)
        yield [bits], lambda bits: None, lambda query: index.search(query[None], NEIGHBOURS)[1][0]


def peer(name, paths, clusters, lines):
    """Builds with all processors, asks with one; a line per setting."""
    points, queries, truth = (np.load(path) for path in paths)
    truth = truth.astype(np.int64)
    built = indexes(name, points, clusters)
    while True:
        begun = time.perf_counter()
        settings, choose, search = next(built, ([], None, None))
        build = time.perf_counter() - begun
        if not settings:
            break
        for setting in settings:
            choose(setting)
            line = ask(search, queries, truth)
            lines.put({"contender": name, "setting": setting, "build_seconds": build, **line})


def ask(search, queries, truth):
    """Recall and times of one setting."""
    for query in queries[:5]:
        search(query)
    times, hits, begun = [], 0, time.perf_counter()
    for query, true in zip(queries, truth):
        asked = time.perf_counter()
        found = search(query)
        times.append(time.perf_counter() - asked)
        hits += len(set(found.tolist()) & set(true.tolist()))
        if time.perf_counter() - begun > PATIENCE:
            break
    p50, p99 = np.percentile(times, [50, 99]) * 1e6
    recall = hits / (NEIGHBOURS * len(times))
    return {"recall": recall, "queries_per_second": len(times) / sum(times), "p50_us": p50, "p99_us": p99}


def measure(given, paths, clusters):
    """Ours and the peers' lines, each contender in a process of its own, one after the other."""
    command = [given.ours, *map(str, paths), "--clusters", str(clusters), "--tables"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [json.loads(line) for line in output.splitlines()]
    for name in given.peer or PEERS:
        context = multiprocessing.get_context("spawn")
        queue = context.SimpleQueue()
        process = context.Process(target=peer, args=(name, paths, 4 * clusters, queue))
        process.start()
        process.join()
        while not queue.empty():
            lines.append(queue.get())
    return lines


def table(lines):
    rows = ["| contender | setting | recall@10 | queries/s | p50 us | p99 us | build s |", "|---|---|---|---|---|---|---|"]
    for line in lines:
        mark = " (chosen for 0.95)" if line.get("chosen") else ""
        rows.append(
            "| {contender} | {setting}{mark} | {recall:.3f} | {queries_per_second:,.0f} | {p50_us:,.0f} | {p99_us:,.0f} | "
            "{build_seconds:.2f} |".format(mark=mark, **line)
        )
    return "\n".join(rows)


def plot(lines, title):
    """Recall against queries per second on a logarithmic scale, as SVG."""
    width, height, left, bottom = 640, 400, 70, 50
    colours = {"lists": "#c0392b", "tables": "#e08e0b", "hnswlib": "#2c6fbb", "faiss-ivf": "#3a8f5c", "faiss-lsh": "#777777"}
    low, high = 1, 5

    def at(line):
        x = left + line["recall"] * (width - left - 20)
        share = (np.log10(max(line["queries_per_second"], 10**low)) - low) / (high - low)
        return x, height - bottom - share * (height - bottom - 40)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/><text x="{left}" y="20" font-size="14">{title}</text>',
    ]
    for power in range(low, high + 1):
        y = at({"recall": 0, "queries_per_second": 10**power})[1]
        parts.append(f'<line x1="{left}" x2="{width - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{10**power:,}</text>')
    for tenth in range(0, 11, 2):
        x = at({"recall": tenth / 10, "queries_per_second": 1})[0]
        parts.append(f'<text x="{x:.1f}" y="{height - bottom + 18}" text-anchor="middle">{tenth / 10}</text>')
    parts.append(f'<text x="{width / 2}" y="{height - 12}" text-anchor="middle">recall of the ten nearest</text>')
    parts.append(f'<text transform="translate(14 {height / 2}) rotate(-90)" text-anchor="middle">queries per second, one thread</text>')
    for number, (name, colour) in enumerate(colours.items()):
        points = sorted(at(line) for line in lines if line["contender"] == name)
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)
        parts.append(f'<text x="{left + 12}" y="{height - bottom - 90 + 16 * number}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--folder", type=pathlib.Path, required=True)
    arguments.add_argument("--ours", required=True)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--embeddings")
    arguments.add_argument("--peer", action="append")
    arguments.add_argument("--json", type=pathlib.Path)
    arguments.add_argument("--plot", type=pathlib.Path)
    given = arguments.parse_args()
    os.makedirs(given.folder, exist_ok=True)
    paths = prepare(given.folder, given.rows, given.embeddings)
    rows, dimension = np.load(paths[0], mmap_mode="r").shape
    clusters = max(8, 2 ** round(np.log2(rows) / 2))
    lines = measure(given, paths, clusters)
    title = f"{rows:,} x {dimension}, {clusters} clusters"
    print(f"{title}, one thread\n\n{table(lines)}")
    if given.json:
        given.json.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if given.plot:
        given.plot.write_text(plot(lines, title))


if __name__ == "__main__":
    main()
