"""Runs one peer's k-means once and prints one line of JSON about it; centroids and labels go to files.

With --initial the iterations begin at these centroids, where the peer can; without, the peer chooses its own.
Times hold everything that the call does beside reading the file. Threads are set by the environment
(OMP_NUM_THREADS and so on), except Spark's, which follow --threads.
"""

import argparse
import json
from importlib.metadata import version

import numpy as np

from measure import Measured

SEED = 1
# No sampling of rows: faiss trains on a sample otherwise.
ALL_ROWS = 10**9


def faiss_plain(given, points, initial):
    import faiss

    options = {}
    if initial is None:
        options["init_method"] = faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
    if given.tolerance > 0:
        options["early_stop_threshold"] = given.tolerance
    model = faiss.Kmeans(
        points.shape[1],
        given.clusters,
        niter=given.iterations,
        seed=SEED,
        max_points_per_centroid=ALL_ROWS,
        **options,
    )
    with Measured() as measured:
        model.train(points, init_centroids=initial)
    iterations = len(model.obj)
    figures = {"iterations": iterations, "passes": iterations, "given_start": initial is not None}
    return model.centroids, None, figures, measured


def faiss_super(given, points, initial):
    """SuperKMeans takes no first centroids."""
    import faiss

    model = faiss.SuperKmeans(
        points.shape[1], given.clusters, niter=given.iterations, seed=SEED, max_points_per_centroid=ALL_ROWS
    )
    with Measured() as measured:
        model.train(points)
    iterations = len(model.obj)
    return model.centroids, None, {"iterations": iterations, "passes": iterations, "given_start": False}, measured


def scikit_learn(given, points, initial, estimator=None):
    from sklearn.cluster import KMeans, kmeans_plusplus

    estimator = estimator or KMeans
    init_seconds = 0.0
    with Measured() as measured:
        start = initial
        if start is None:
            with Measured() as seeding:
                start, _ = kmeans_plusplus(points, given.clusters, random_state=SEED)
            init_seconds = seeding.figures["seconds"]
        model = estimator(
            given.clusters,
            init=start,
            n_init=1,
            max_iter=given.iterations,
            tol=given.tolerance,
            # As ours: the rows are centred in place, which saves the memory and time of a copy.
            copy_x=False,
            random_state=SEED,
        ).fit(points)
    if given.start:
        np.save(given.start, start)
    iterations = int(model.n_iter_)
    # One more pass over the rows gives the labels under the final centroids.
    figures = {
        "iterations": iterations,
        "passes": iterations + 1,
        "given_start": initial is not None,
        "init_seconds": init_seconds,
    }
    return model.cluster_centers_, model.labels_, figures, measured


def scikit_learn_intelex(given, points, initial):
    from sklearnex.cluster import KMeans

    return scikit_learn(given, points, initial, KMeans)


def spark(given):
    """Reads Parquet. Its API takes no first centroids; without a tolerance they are random rows, else k-means||."""
    from pyspark import StorageLevel
    from pyspark.ml.clustering import KMeans
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql import SparkSession

    with Measured() as measured:
        session = (
            SparkSession.builder.master(f"local[{given.threads}]")
            .config("spark.driver.memory", "8g")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.log.level", "ERROR")
            .getOrCreate()
        )
        rows = session.read.parquet(given.data)
        rows = rows.select(array_to_vector(rows.features.cast("array<double>")).alias("features"))
        rows = rows.repartition(2 * given.threads).persist(StorageLevel.MEMORY_ONLY)
        with Measured() as loading:
            rows.count()
        model = KMeans(
            k=given.clusters,
            initMode="k-means||" if given.tolerance > 0 else "random",
            maxIter=given.iterations,
            tol=given.tolerance,
            seed=SEED,
        ).fit(rows)
    centroids = np.array(model.clusterCenters(), np.float32)
    iterations = int(model.summary.numIter)
    session.stop()
    figures = {"iterations": iterations, "passes": iterations, "given_start": False}
    figures["load_seconds"] = loading.figures["seconds"]
    return centroids, None, figures, measured


PEERS = {
    "faiss": ("faiss-cpu", faiss_plain),
    "superkmeans": ("faiss-cpu", faiss_super),
    "scikit-learn": ("scikit-learn", scikit_learn),
    "scikit-learn-intelex": ("scikit-learn-intelex", scikit_learn_intelex),
    "spark": ("pyspark", spark),
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--peer", required=True, choices=PEERS)
    arguments.add_argument("--data", required=True)
    arguments.add_argument("--clusters", type=int, required=True)
    arguments.add_argument("--iterations", type=int, required=True)
    arguments.add_argument("--tolerance", type=float, default=0.0)
    arguments.add_argument("--threads", type=int, required=True)
    arguments.add_argument("--initial", help="first centroids, .npy")
    arguments.add_argument("--start", help="where the first centroids that scikit-learn chose go")
    arguments.add_argument("--centroids", required=True, help="where the final centroids go")
    arguments.add_argument("--labels", help="where the final labels go, if the peer gives any")
    given = arguments.parse_args()

    distribution, train = PEERS[given.peer]
    if given.peer == "spark":
        centroids, labels, figures, measured = train(given)
    else:
        initial = np.load(given.initial) if given.initial else None
        centroids, labels, figures, measured = train(given, np.load(given.data), initial)
    np.save(given.centroids, np.ascontiguousarray(centroids, np.float32))
    if given.labels and labels is not None:
        np.save(given.labels, np.asarray(labels).astype(np.uint32))
    print(json.dumps({"version": version(distribution), "threads": given.threads, **measured.figures, **figures}))


if __name__ == "__main__":
    main()
