"""Makes the golden files that `parity.rs` compares with: data, starts, and what scikit-learn computes from them.

    python make_golden.py        # writes *.json beside this script

Made with Python 3.11, scikit-learn 1.9.1 and numpy 2.4.6; each file records the versions that made it.

Data are stored as integers with one power-of-two step per column, so that they are the same numbers in f32 and f64.
scikit-learn is given f64. Starts are chosen (by trying seeds) so that no row ever lies within 1e-5 of the border between
two clusters: then f32 and f64 must give equal labels in every iteration.
"""

import json
import pathlib
import sys

import numpy as np
import sklearn
from sklearn import metrics
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.preprocessing import MinMaxScaler, StandardScaler

HERE = pathlib.Path(__file__).parent
SHOWN = 12  # rows of transformed data that are stored


def on_grid(values, bits):
    """Integers and steps: each column's largest magnitude becomes about 2**bits."""
    steps = 2.0 ** (np.ceil(np.log2(np.abs(values).max(axis=0))) - bits)
    return np.rint(values / steps).astype(int), steps


def lloyd(data, centroids, rounds=300):
    """Plain Lloyd in f64: least relative border distance of any row, and numbers of empty clusters, over all rounds."""
    previous, margin, empties = None, np.inf, []
    for _ in range(rounds):
        distances = ((data[:, None] - centroids[None]) ** 2).sum(axis=2)
        ordered = np.sort(distances, axis=1)
        margin = min(margin, ((ordered[:, 1] - ordered[:, 0]) / (1 + ordered[:, 1])).min())
        labels = distances.argmin(axis=1)
        if previous is not None and (labels == previous).all():
            break
        previous = labels
        sums, counts = np.zeros_like(centroids), np.zeros(len(centroids))
        np.add.at(sums, labels, data)
        np.add.at(counts, labels, 1)
        empty = np.flatnonzero(counts == 0)
        empties.append(len(empty))
        far = np.argsort(-distances[np.arange(len(data)), labels], kind="stable")
        for cluster, row in zip(empty, far):
            sums[labels[row]] -= data[row]
            counts[labels[row]] -= 1
            sums[cluster], counts[cluster] = data[row], 1
        centroids = sums / counts[:, None]
    return margin, empties


def golden(name, grid, steps, classes, start_of, components, empties_wanted=0):
    data = grid * steps
    for seed in range(1000):
        start = start_of(np.random.default_rng(seed), grid)
        margin, empties = lloyd(data - data.mean(axis=0), start * steps - data.mean(axis=0))
        if margin > 1e-5 and max(empties) == empties_wanted:
            break
    else:
        sys.exit(f"{name}: no start without close calls")
    k = len(start)
    fit = KMeans(k, init=start * steps, n_init=1, algorithm="lloyd", tol=1e-4, max_iter=300).fit(data)
    standard, minmax, pca = StandardScaler().fit(data), MinMaxScaler().fit(data), PCA(components, svd_solver="full").fit(data)
    unit = data / np.maximum(np.linalg.norm(data, axis=1, keepdims=True), 1e-300)
    record = {
        "made_with": f"scikit-learn {sklearn.__version__}, numpy {np.__version__}",
        "dimension": data.shape[1],
        "steps": steps.tolist(),
        "data": grid.ravel().tolist(),
        "classes": classes.tolist(),
        "start": start.ravel().tolist(),
        "empty_in_first_round": empties[0],
        "labels": fit.labels_.tolist(),
        "centroids": fit.cluster_centers_.ravel().tolist(),
        "inertia": fit.inertia_,
        "n_iter": fit.n_iter_,
        "silhouette": metrics.silhouette_score(data, fit.labels_),
        "silhouette_samples": metrics.silhouette_samples(data, fit.labels_)[:SHOWN].tolist(),
        "silhouette_cosine": metrics.silhouette_score(unit, fit.labels_, metric="cosine"),
        "davies_bouldin": metrics.davies_bouldin_score(data, fit.labels_),
        "calinski_harabasz": metrics.calinski_harabasz_score(data, fit.labels_),
        "ari": metrics.adjusted_rand_score(classes, fit.labels_),
        "nmi": metrics.normalized_mutual_info_score(classes, fit.labels_),
        "standardize": {
            "mean": standard.mean_.tolist(),
            "scale": standard.scale_.tolist(),
            "rows": standard.transform(data)[:SHOWN].ravel().tolist(),
        },
        "min_max": {
            "minimum": minmax.data_min_.tolist(),
            "range": minmax.data_range_.tolist(),
            "rows": minmax.transform(data)[:SHOWN].ravel().tolist(),
        },
        "pca": {
            "components": pca.components_.ravel().tolist(),
            "explained_variance": pca.explained_variance_.tolist(),
            "explained_variance_ratio": pca.explained_variance_ratio_.tolist(),
            "rows": pca.transform(data)[:SHOWN].ravel().tolist(),
        },
    }
    path = HERE / f"{name}.json"
    path.write_text(json.dumps(record, separators=(",", ":")) + "\n")
    print(f"{name}: {data.shape}, k={k}, seed {seed}, {fit.n_iter_} iterations, margin {margin:.1e}, {path.stat().st_size} bytes")


def rows_of(k):
    """A start of k rows of the data."""
    return lambda rng, grid: grid[rng.choice(len(grid), k, replace=False)]


def rows_and_strays(k, strays):
    """A start of which some centroids lie so far away that no row is nearest to them."""

    def start(rng, grid):
        chosen = rows_of(k)(rng, grid).copy()
        for i in range(strays):
            chosen[2 * i + 1] = 40 * (i + 1) * grid.max(axis=0)
        return chosen

    return start


def blobs(rng, sizes, dimension, spread):
    centres = rng.normal(0, 4, (len(sizes), dimension))
    classes = np.repeat(np.arange(len(sizes)), sizes)
    order = rng.permutation(len(classes))
    values = centres[classes] + rng.normal(0, spread, (len(classes), dimension))
    return values[order], classes[order]


digits = load_digits()
golden("digits", digits.data.astype(int), np.ones(64), digits.target, rows_of(10), 10)

values, classes = blobs(np.random.default_rng(1), [300, 200, 200, 120, 60], 6, 2.0)
golden("overlapping", *on_grid(values, 12), classes, rows_of(5), 3)

# Columns from thousandths to tens of thousands, far from the origin.
values, classes = blobs(np.random.default_rng(2), [250, 150, 150, 100], 5, 1.0)
values = (values + 25) * np.array([1e-3, 1.0, 30.0, 1e3, 2e4]) / 10
golden("unequal_scales", *on_grid(values, 16), classes, rows_of(4), 2)

values, classes = blobs(np.random.default_rng(3), [200, 150, 80, 40, 20], 3, 1.0)
golden("empty_clusters", *on_grid(values, 12), classes, rows_and_strays(7, 2), 2, empties_wanted=2)
