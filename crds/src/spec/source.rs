//! The input of a run: where the rows are, what form they have, what their columns mean.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Store, Uri};

/// Where the vectors are and how to read them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!self.uri.startsWith('http://') || (has(self.store) && self.store.allowHttp)")
        .message("uri is plain HTTP: use https://, or set store.allowHttp: true to read unencrypted")
        .field_path(".uri"),
)]
pub struct Source {
    /// uri names the input: one object, every object under a prefix that ends in `/`, or the objects that match a
    /// glob (`*`, `?`, `[a-c]`, `**`). Schemes: `s3`, `gs`, `az`, `https`, `http`, `file`; a path without a scheme
    /// is relative to the folder of the manifest. Required; 1 to 2048 characters. Mutable; used by the next run.
    pub uri: Uri,

    /// format is the form of the objects: `Parquet` (columns of numbers, or one column of lists), `Npy` (a
    /// two-dimensional NumPy array), `Csv` (comma-separated, with a header line) or `Arrow` (IPC file). Unset: taken
    /// from the objects' names (`.parquet`, `.npy`, `.csv`, `.arrow`). Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Format")] // an optional enum would lose this comment to that of its type
    pub format: Option<Format>,

    /// columns says what the columns mean. Unset: every column of numbers is a feature. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,

    /// store sets how to reach the object store. Unset: the provider's own service, with credentials from the
    /// environment. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,

    /// invalidRows says what happens to a row that holds a null, NaN or an infinity: `Fail` ends the run and names the
    /// row, `Drop` leaves the row out and counts it. Default: `Fail`. Mutable; used by the next run.
    #[serde(default)]
    pub invalid_rows: InvalidRows,
}

/// File formats of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// NumPy's NPY, two-dimensional.
    Npy,
    /// Comma-separated values with a header line.
    Csv,
    /// Arrow IPC file (Feather V2).
    Arrow,
}

/// What happens to rows that hold a null, NaN or an infinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InvalidRows {
    /// The run ends and names the row.
    #[default]
    Fail,
    /// The row is left out and counted.
    Drop,
}

/// Meaning of the source's columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.vector) && has(self.features))")
        .message("set either vector (one column of lists) or features (several columns of numbers), not both"),
    validation = Rule::new("!(has(self.id) && has(self.label) && self.id == self.label) \
         && !(has(self.id) && has(self.vector) && self.id == self.vector) \
         && !(has(self.label) && has(self.vector) && self.label == self.vector)")
        .message("id, label and vector must name different columns"),
    validation = Rule::new("!has(self.features) || !((has(self.id) && self.id in self.features) \
         || (has(self.label) && self.label in self.features))")
        .message("features must not name the id or the label column, since these would then shape the clusters")
        .field_path(".features"),
    validation = Rule::new("!has(self.set) || !(has(self.vector) || has(self.features))")
        .message("set excludes vector and features: a row is either a set or a vector")
        .field_path(".set"),
    validation = Rule::new("!has(self.set) || !((has(self.id) && self.id == self.set.column) \
         || (has(self.label) && self.label == self.set.column))")
        .message("set must name another column than id and label")
        .field_path(".set.column"),
)]
pub struct Columns {
    /// id is the column that identifies a row in the assignments. Unset: rows are numbered in the order of the
    /// listing, from 0. 1 to 256 characters. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub id: Option<String>,

    /// label is the column with known classes. It never shapes the clusters; it is compared with them by the adjusted
    /// Rand index and normalised mutual information. Unset: no comparison. 1 to 256 characters. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub label: Option<String>,

    /// vector is one column whose values are lists of numbers, all of the same length. Excludes features.
    /// 1 to 256 characters. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub vector: Option<String>,

    /// features are the columns of numbers that form the vector, in this order. Excludes vector. Unset: every column of
    /// numbers other than id and label, in the order of the file. 1 to 4096 different names of 1 to 256 characters.
    /// Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub features: Option<Vec<String>>,

    /// set is one column whose values are lists of members, of any length; each list is a set, for the metric Jaccard. Parquet and
    /// Arrow only. Excludes vector and features. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<SetColumn>,
}

/// A column of sets. Each becomes a row of zeros and ones, with a column for every possible member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetColumn {
    /// column is the name of the column, whose lists hold integers or texts. What a list holds twice counts once. Required; 1 to 256
    /// characters. Mutable; used by the next run.
    #[schemars(length(min = 1, max = 256))]
    pub column: String,

    /// size is the number of possible members, and so of columns of a row. Members that are integers are from 0 to size - 1; those
    /// that are texts are hashed to such a number, so that two of them are taken for one with a probability of 1 / size. Required;
    /// from 1 to 65536. Mutable; used by the next run.
    #[schemars(range(min = 1, max = 65_536))]
    pub size: i32,
}
