"""Makes the seeded data sets of the benchmarks: the same NumPy gives the same bytes.

A set NAME becomes NAME.npy (float32, row by row), with NAME.init_kK.npy, K of its rows as given first centroids. With
--parquet there is NAME.parquet too (id: int64, features: a fixed-size list of float32). What exists is left as it is.

    python make_data.py --folder FOLDER [--rows 1000000] [--parquet] NAME ...
    python make_data.py --folder FOLDER --embeddings FILE        FILE (.npy, or .parquet with one list column) as embeddings.npy
"""

import argparse
import os

import numpy as np

BLOCK = 65536


def mixture(rng, rows, dimension, components, latent):
    """Low-rank Gaussians of unequal weights that overlap, and five per cent of wide background: no clear clusters."""
    centres = rng.standard_normal((components, dimension)).astype(np.float32)
    bases = (rng.standard_normal((16, latent, dimension)) / np.sqrt(latent)).astype(np.float32)
    weights = rng.dirichlet(np.full(components, 2.0))
    owners = rng.choice(components, size=rows, p=weights).astype(np.int32)
    owners[rng.random(rows) < 0.05] = -1
    points = np.empty((rows, dimension), np.float32)
    for start in range(0, rows, BLOCK):
        owner = owners[start : start + BLOCK]
        x = rng.standard_normal((len(owner), dimension), dtype=np.float32)
        z = rng.standard_normal((len(owner), latent), dtype=np.float32) * np.float32(0.6)
        for basis in range(16):
            mine = (owner >= 0) & (owner % 16 == basis)
            x[mine] = centres[owner[mine]] + z[mine] @ bases[basis] + np.float32(0.15) * x[mine]
        x[owner < 0] *= np.float32(1.2)
        points[start : start + BLOCK] = x
    return points


def blobs(rng, rows, dimension, components, spread):
    """Separate round blobs of unequal sizes: clusters that k-means can find."""
    centres = rng.uniform(-10, 10, (components, dimension)).astype(np.float32)
    owners = rng.choice(components, size=rows, p=rng.dirichlet(np.full(components, 5.0))).astype(np.int32)
    return centres[owners] + np.float32(spread) * rng.standard_normal((rows, dimension), dtype=np.float32)


def noise(rng, rows, dimension):
    """Columns that have nothing to do with each other: no structure at all."""
    return rng.standard_normal((rows, dimension), dtype=np.float32)


# The recipe of each set, and the numbers of clusters for which first centroids are given.
SETS = {
    "mix_d128": (lambda rows: mixture(np.random.default_rng(1), rows, 128, 1000, 16), [256, 1024]),
    "mix_d16": (lambda rows: mixture(np.random.default_rng(2), rows, 16, 64, 8), [64]),
    "blobs_d128": (lambda rows: blobs(np.random.default_rng(3), rows, 128, 256, 4.0), [256]),
    "noise_d128": (lambda rows: noise(np.random.default_rng(5), rows, 128), [1024]),
    "blobs_d16": (lambda rows: blobs(np.random.default_rng(4), rows, 16, 64, 2.0), [64]),
}


def size_name(rows):
    if rows % 1_000_000 == 0:
        return f"{rows // 1_000_000}m"
    return f"{rows // 1000}k" if rows % 1000 == 0 else str(rows)


def recipe(name, rows):
    for key in SETS:
        kind, dimension = key.split("_")
        if name == f"{kind}_{size_name(rows)}_{dimension}":
            return SETS[key]
    raise SystemExit(f"there is no set {name} of {rows} rows; sets: {', '.join(SETS)}")


def save(path, array):
    """Renamed once it is whole: an interrupted run leaves no half of a set behind."""
    with open(path + ".part", "wb") as file:
        np.save(file, array)
    os.replace(path + ".part", path)


def write_parquet(path, points):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, dimension = points.shape
    features = pa.FixedSizeListArray.from_arrays(pa.array(points.ravel()), dimension)
    table = pa.table({"id": pa.array(np.arange(rows, dtype=np.int64)), "features": features})
    pq.write_table(table, path + ".part", row_group_size=BLOCK, compression="none", use_dictionary=False)
    os.replace(path + ".part", path)


def make(folder, name, rows, parquet):
    make_points, cluster_counts = recipe(name, rows)
    base = os.path.join(folder, name)
    initial = {k: f"{base}.init_k{k}.npy" for k in cluster_counts if k <= rows}
    # The rows are renamed into place last, so whoever sees them sees the first centroids too.
    if not os.path.exists(base + ".npy"):
        points = np.ascontiguousarray(make_points(rows), np.float32)
        for k, path in initial.items():
            save(path, points[np.sort(np.random.default_rng(1000 + k).choice(rows, k, replace=False))])
        save(base + ".npy", points)
        print(f"made {name}: {points.shape[0]} x {points.shape[1]}", flush=True)
    if parquet and not os.path.exists(base + ".parquet"):
        write_parquet(base + ".parquet", np.load(base + ".npy"))
        print(f"made {name}.parquet", flush=True)


def embeddings(source):
    """The rows of a file."""
    if source.endswith(".npy"):
        points = np.load(source)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(source)
        lists = [field.name for field in table.schema if pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type)]
        if len(lists) != 1:
            raise SystemExit(f"{source} has {len(lists)} columns of lists; one is expected")
        points = np.stack(table[lists[0]].to_numpy())
    return np.ascontiguousarray(points, np.float32)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--folder", required=True)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--parquet", action="store_true")
    arguments.add_argument("--embeddings")
    arguments.add_argument("names", nargs="*")
    given = arguments.parse_args()
    os.makedirs(given.folder, exist_ok=True)
    if given.embeddings:
        save(os.path.join(given.folder, "embeddings.npy"), embeddings(given.embeddings))
    for name in given.names:
        make(given.folder, name, given.rows, given.parquet)


if __name__ == "__main__":
    main()
