"""Judges results after the measurement, the same way for everyone.

    python kmeans_judge.py --data X.npy CENTROIDS.npy ...            one line of JSON: shape, inertia of each
    python kmeans_judge.py --data X.npy --compare A.npy B.npy --centroids C.npy   labels of two that began alike
"""

import argparse
import json

import numpy as np

BLOCK = 16384


def inertia(points, centroids):
    """Sum of the squared distances to the nearest centroid. f32 picks the nearest, f64 measures and adds."""
    half_norms = (0.5 * (centroids.astype(np.float64) ** 2).sum(1)).astype(np.float32)
    total = 0.0
    for start in range(0, len(points), BLOCK):
        rows = points[start : start + BLOCK]
        nearest = (half_norms - rows @ centroids.T).argmin(1)
        total += ((rows.astype(np.float64) - centroids[nearest]) ** 2).sum()
    return total


def compare(points, centroids, ours, theirs):
    """How many labels differ, and by how much the two distances of such a row differ at most, relative to the larger."""
    differing = np.flatnonzero(ours != theirs)
    rows = points[differing].astype(np.float64)
    mine = ((rows - centroids[ours[differing]]) ** 2).sum(1)
    other = ((rows - centroids[theirs[differing]]) ** 2).sum(1)
    gap = np.abs(mine - other) / np.maximum(np.maximum(mine, other), np.finfo(np.float64).tiny)
    return {"rows": len(ours), "differing": len(differing), "largest_gap": float(gap.max(initial=0.0))}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", required=True)
    arguments.add_argument("--compare", nargs=2)
    arguments.add_argument("--centroids")
    arguments.add_argument("candidates", nargs="*")
    given = arguments.parse_args()
    points = np.load(given.data)
    if given.compare:
        ours, theirs = (np.load(path) for path in given.compare)
        print(json.dumps(compare(points, np.load(given.centroids).astype(np.float64), ours, theirs)))
    else:
        found = [inertia(points, np.load(path)) for path in given.candidates]
        print(json.dumps({"rows": points.shape[0], "dimension": points.shape[1], "inertia": found}))


if __name__ == "__main__":
    main()
