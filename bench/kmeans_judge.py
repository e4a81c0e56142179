"""Judges results after the measurement, the same way for everyone.

    python kmeans_judge.py --data X.npy CENTROIDS.npy ...            one line of JSON: shape, inertia of each
    python kmeans_judge.py --data X.npy --compare A.npy B.npy --centroids C.npy   labels of two that began alike
    python kmeans_judge.py --data X.npy --steps FOLDER               each iteration of ours, beside scikit-learn's from the same centroids
"""

import argparse
import json
from pathlib import Path

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


def steps(points, folder):
    """Each iteration by itself, both from the same centroids: labels beside scikit-learn's, as in `compare`, and the centroids
    that follow beside exact means, relative to the largest magnitude in the data."""
    from sklearn.cluster import KMeans

    count = len(list(folder.glob("*.centroids.npy")))
    largest = float(np.abs(points).max())
    differing, gap, off = 0, 0.0, 0.0
    for step in range(count):
        centroids = np.load(folder / f"{step}.centroids.npy")
        labels = np.load(folder / f"{step}.labels.npy").astype(np.int64)
        if step:
            filled = np.flatnonzero(counts)
            off = max(off, float(np.abs(centroids[filled] - sums[filled] / counts[filled, None]).max()) / largest)
        else:
            # Only for its assignment, which it has under given centroids once it has been fitted.
            theirs = KMeans(len(centroids), init=centroids, n_init=1, max_iter=1).fit(points[: 10 * len(centroids)])
        theirs.cluster_centers_ = centroids
        found = compare(points, centroids.astype(np.float64), labels, theirs.predict(points))
        differing, gap = max(differing, found["differing"]), max(gap, found["largest_gap"])
        counts = np.bincount(labels, minlength=len(centroids))
        weights = (points[:, j] for j in range(points.shape[1]))
        sums = np.stack([np.bincount(labels, column, len(centroids)) for column in weights], axis=1)
    return {"steps": count, "differing": differing, "largest_gap": gap, "means_off": off}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", required=True)
    arguments.add_argument("--compare", nargs=2)
    arguments.add_argument("--centroids")
    arguments.add_argument("--steps", type=Path)
    arguments.add_argument("candidates", nargs="*")
    given = arguments.parse_args()
    points = np.load(given.data)
    if given.steps:
        print(json.dumps(steps(points, given.steps)))
    elif given.compare:
        ours, theirs = (np.load(path) for path in given.compare)
        print(json.dumps(compare(points, np.load(given.centroids).astype(np.float64), ours, theirs)))
    else:
        found = [inertia(points, np.load(path)) for path in given.candidates]
        print(json.dumps({"rows": points.shape[0], "dimension": points.shape[1], "inertia": found}))


if __name__ == "__main__":
    main()
