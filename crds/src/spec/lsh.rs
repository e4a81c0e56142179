//! Hash tables over the items that serving pods find similar ones in.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{Decimal, RATIO_PATTERN};

/// Hash tables over the items. Their parameters are chosen for targetRecall, or set by hand with tables and hashes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.targetRecall) || self.targetRecall == '0.95' || !(has(self.tables) || has(self.hashes) || has(self.width) || has(self.probes))")
        .message("the tables of a targetRecall are chosen by trial; leave tables, hashes, width and probes out, or leave targetRecall out to set them by hand")
        .field_path(".targetRecall"),
    validation = Rule::new("has(self.tables) == has(self.hashes) && (has(self.tables) || !(has(self.width) || has(self.probes)))")
        .message("tables that are set by hand need both tables and hashes, such as {tables: 16, hashes: 12}; set both, or leave both, width and probes out to have them chosen for a recall"),
    validation = Rule::new("!has(self.probes) || !has(self.tables) || self.probes >= self.tables")
        .message("probes counts the bucket of each table that a vector itself is in; set it to tables or more, or leave it out")
        .field_path(".probes"),
    validation = Rule::new("!has(self.width) || !self.width.matches('^[0.]+([eE].*)?$')")
        .message("width must be greater than 0; a few times the distance of items that are near each other is a good start")
        .field_path(".width"),
)]
pub struct Lsh {
    /// targetRecall is the share of the ten most similar items that is found, on average. The number of tables, hashes and
    /// probes is chosen for it on a sample. A decimal number in quotes, from `"0"` to `"1"`. Another than `"0.95"`, which earlier releases wrote into
    /// every object, excludes tables, hashes, width and probes. Unset, without them: `"0.95"`. Mutable; replaces the pods, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = RATIO_PATTERN))]
    pub target_recall: Option<Decimal>,

    /// tables is the number of tables, set by hand together with hashes. More of them find more of the items that are near, and take as much more
    /// memory and time to build. Unset: chosen for targetRecall. From 1 to 64. Mutable; replaces the pods, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub tables: Option<i32>,

    /// hashes is the number of hashes that make the key of a bucket, set by hand together with tables. With more of them buckets hold fewer items that
    /// are far away, and fewer near ones as well. Unset: chosen for targetRecall. From 1 to 32. Mutable; replaces the pods, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub hashes: Option<i32>,

    /// width is the width of the cells that a hash cuts the space into, in the unit of the rows after the feature steps: a few times the distance of
    /// items that are near each other. A decimal number in quotes, such as `"4"` or `"0.25"`, greater than 0. With tables and hashes set by hand, set if
    /// and only if the metric is Euclidean. Mutable; replaces the pods, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<Decimal>,

    /// probes is the number of buckets that a query looks into, in all tables together: the one of each table that it is in itself, and then those beside
    /// them that near items are most likely in. More of them find more with the same tables. Only with tables and hashes; not with the metric Jaccard, whose
    /// hashes do not tell which bucket is beside another. Unset: one bucket of each table. From tables to 65536. Mutable; replaces the pods, one after the
    /// other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 65_536))]
    pub probes: Option<i32>,
}
