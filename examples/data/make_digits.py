"""Writes digits.parquet: scikit-learn's copy of the UCI optical digits (1,797 rows of 8 x 8 pixels, with labels).

    pip install pyarrow==26.0.1 scikit-learn==1.9.1
    python make_digits.py

Rows keep the order of `sklearn.datasets.load_digits`. Small row groups make several splits of one small file, so that several
workers have something to do. The file's bytes depend on the version of pyarrow; its values do not.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits

ROWS_PER_GROUP = 256

digits = load_digits()
rows, pixels = digits.data.shape
schema = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("pixels", pa.list_(pa.field("item", pa.float32(), nullable=False), pixels), nullable=False),
        pa.field("digit", pa.int32(), nullable=False),
    ]
)
values = pa.array(digits.data.astype(np.float32).ravel(), type=pa.float32())
table = pa.table(
    [
        pa.array(np.arange(rows, dtype=np.int64)),
        pa.FixedSizeListArray.from_arrays(values, type=schema.field("pixels").type),
        pa.array(digits.target.astype(np.int32)),
    ],
    schema=schema,
)
pq.write_table(
    table,
    Path(__file__).with_name("digits.parquet"),
    row_group_size=ROWS_PER_GROUP,
    compression="zstd",
    compression_level=19,
    # Each pixel is one of 17 values, which a dictionary holds well.
    use_dictionary=True,
)
