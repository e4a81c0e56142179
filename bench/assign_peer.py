"""Finds the nearest of given centroids with faiss, batch after batch, and prints one line of JSON about it.

The rows are the first ones of the file. Threads are set by the environment (OMP_NUM_THREADS).
"""

import argparse
import json
import time
from importlib.metadata import version

import numpy as np

# As in the library's own example.
ROWS = 1 << 18
WARM = 20


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", required=True)
    arguments.add_argument("--centroids", required=True)
    arguments.add_argument("--batch", type=int, required=True)
    arguments.add_argument("--seconds", type=float, default=2.0)
    arguments.add_argument("--threads", type=int, required=True)
    given = arguments.parse_args()

    import faiss

    faiss.omp_set_num_threads(given.threads)
    rows = np.load(given.data, mmap_mode="r")[: max(ROWS, 2 * given.batch)]
    rows = np.ascontiguousarray(rows, np.float32)
    centroids = np.load(given.centroids)
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(centroids)
    first, times = 0, []

    def batch():
        nonlocal first
        first = 0 if first + 2 * given.batch > len(rows) else first + given.batch
        return rows[first : first + given.batch]

    for _ in range(WARM):
        index.search(batch(), 1)
    end = time.perf_counter() + given.seconds
    while time.perf_counter() < end:
        queries = batch()
        start = time.perf_counter()
        index.search(queries, 1)
        times.append(time.perf_counter() - start)
    figures = {
        "rows_per_second": given.batch * len(times) / sum(times),
        "p50_microseconds": 1e6 * float(np.percentile(times, 50)),
        "p99_microseconds": 1e6 * float(np.percentile(times, 99)),
        "calls": len(times),
        "rows": len(rows),
        "dimension": rows.shape[1],
        "clusters": len(centroids),
        "version": version("faiss-cpu"),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
