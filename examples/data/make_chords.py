"""Writes chords.parquet: chords as the sets of notes that they are made of.

    pip install pyarrow==26.0.1
    python make_chords.py

A kind of chord is a choice of steps above its root; with twelve roots each, that is all there is to it. The file's bytes depend
on the version of pyarrow; its values do not.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NOTES = ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"]
KINDS = {
    "": [0, 4, 7],
    "m": [0, 3, 7],
    "dim": [0, 3, 6],
    "aug": [0, 4, 8],
    "sus2": [0, 2, 7],
    "sus4": [0, 5, 7],
    "6": [0, 4, 7, 9],
    "m6": [0, 3, 7, 9],
    "7": [0, 4, 7, 10],
    "maj7": [0, 4, 7, 11],
    "m7": [0, 3, 7, 10],
    "m7b5": [0, 3, 6, 10],
    "dim7": [0, 3, 6, 9],
    "6/9": [0, 4, 7, 9, 2],
    "9": [0, 4, 7, 10, 2],
    "m9": [0, 3, 7, 10, 2],
    "11": [0, 4, 7, 10, 2, 5],
    "m11": [0, 3, 7, 10, 2, 5],
}

# Notes are numbered from C on, whatever the octave.
rows = [
    (name + kind, [(root + step) % 12 for step in steps])
    for root, name in enumerate(NOTES)
    for kind, steps in KINDS.items()
]
schema = pa.schema(
    [
        pa.field("chord", pa.string(), nullable=False),
        pa.field("notes", pa.list_(pa.field("item", pa.int8(), nullable=False)), nullable=False),
    ]
)
chords, notes = zip(*rows)
table = pa.table([pa.array(chords), pa.array(notes, schema.field("notes").type)], schema)
pq.write_table(table, Path(__file__).with_name("chords.parquet"), row_group_size=64, compression="zstd")
