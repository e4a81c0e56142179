//! Why a question cannot be answered. The text goes to the caller, so it says what was expected and what to do.

use coterie_algorithms::members::Members;
use std::time::Duration;

/// A question that cannot be answered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// No vector was sent.
    #[error("no vector was sent: send at least one")]
    Empty,
    /// A vector has another number of values than the model takes.
    #[error("{}expected {expected} values ({features}), found {found}: send one number per feature, in this order", place(*row))]
    Dimension {
        /// Row in the request; `None` for a lone vector.
        row: Option<usize>,
        /// Values the model takes.
        expected: usize,
        /// Values found.
        found: usize,
        /// The first feature names.
        features: String,
    },
    /// A block of bytes is not a whole number of rows.
    #[error(
        "vectors.data has {bytes} bytes, which is no multiple of {row_bytes} (4 bytes for each of {dimension} values): send \
         whole rows of little-endian 32-bit floats"
    )]
    Ragged {
        /// Length of the block.
        bytes: usize,
        /// Bytes of a row.
        row_bytes: usize,
        /// Values of a row.
        dimension: usize,
    },
    /// A value is NaN or infinite, or too large for a 32-bit float.
    #[error(
        "{}feature {feature:?} (value {column}) is {value}: every value must be a finite 32-bit float, so replace it or leave \
         the vector out",
        place(*row)
    )]
    NotFinite {
        /// Row in the request; `None` for a lone vector.
        row: Option<usize>,
        /// Position in the row.
        column: usize,
        /// Name of the feature.
        feature: String,
        /// The value.
        value: f32,
    },
    /// A value that says neither that a member is in the set nor that it is not.
    #[error(
        "{}feature {feature:?} (value {column}) is {value}: vectors are sets for this model, so send 1 for every member and 0 for \
         all others",
        place(*row)
    )]
    NotMember {
        /// Row in the request; `None` for a lone vector.
        row: Option<usize>,
        /// Position in the row.
        column: usize,
        /// Name of the feature.
        feature: String,
        /// The value.
        value: f32,
    },
    /// Sets were sent to a model of vectors.
    #[error("this model compares vectors (metric {metric}), not sets: send a vector of {dimension} numbers")]
    NotOfSets {
        /// Metric of the model.
        metric: &'static str,
        /// Values the model takes.
        dimension: usize,
    },
    /// Sets were sent to a model that does not know the columns of their members.
    #[error(
        "this model does not tell which columns members have: it was trained on columns of zeros and ones some of which have one name. Send a \
         vector of {dimension} numbers, 1 for every member and 0 for all others"
    )]
    MembersUnknown {
        /// Values the model takes.
        dimension: usize,
    },
    /// Sets of integers were sent to a model whose members are the names of its features.
    #[error("the members of this model's sets are the names of its features ({features}): send texts")]
    MembersAreNames {
        /// The first feature names.
        features: String,
    },
    /// A member is no name of a feature.
    #[error(
        "{}member {at} of the set, counted from 0, is no name of a feature ({features}): GET /v1/model lists all; correct it or leave it out",
        place(*row)
    )]
    NoFeature {
        /// Row in the request; `None` for a lone set.
        row: Option<usize>,
        /// Place in the set.
        at: usize,
        /// The first feature names.
        features: String,
    },
    /// Sets have integers and texts as members.
    #[error("integers and texts are mixed in sets: send only what the sets of the training data have")]
    MixedMembers,
    /// Members are of another kind than in training.
    #[error("the members of this model's sets are {}: send those", members.name().to_lowercase())]
    OtherMembers {
        /// What they are.
        members: Members,
    },
    /// A member is greater than any that the model knows.
    #[error(
        "{}the set has the member {member}, expected 0 to {most} as in training (source.columns.set.size): correct it or leave it out",
        place(*row)
    )]
    NoColumn {
        /// Row in the request; `None` for a lone set.
        row: Option<usize>,
        /// The greatest member that was sent.
        member: u64,
        /// The greatest that the model knows.
        most: usize,
    },
    /// No set was sent.
    #[error("no set was sent: send at least one")]
    NoSets,
    /// More sets than one request may have.
    #[error(
        "{sets} sets in one request, at most {most} are allowed where they may have {dimension} members: split them over several requests"
    )]
    TooManySets {
        /// Sets sent.
        sets: usize,
        /// Sets allowed.
        most: usize,
        /// Values the model takes.
        dimension: usize,
    },
    /// A vector lies so far from the training data that distances overflow.
    #[error(
        "{}the values are too large for this model, distances would overflow: check the units against the training data",
        place(*row)
    )]
    TooFar {
        /// Row in the request; `None` for a lone vector.
        row: Option<usize>,
    },
    /// More rows than one request may have.
    #[error("{rows} vectors in one request, at most {most} are allowed: split them over several requests")]
    TooManyRows {
        /// Rows sent.
        rows: usize,
        /// Rows allowed.
        most: usize,
    },
    /// The clusters asked for are too many, over all rows.
    #[error(
        "{rows} rows with {count} neighbors each are more than {most}: ask for fewer, or split the rows over several requests"
    )]
    TooManyNeighbours {
        /// Rows sent.
        rows: usize,
        /// Clusters for each row.
        count: usize,
        /// Clusters allowed over all rows.
        most: usize,
    },
    /// The number of clusters asked for is 0.
    #[error("count must be at least 1")]
    Count,
    /// The number of items asked for is 0 or too large.
    #[error("count must be from 1 to {most}, found {found}")]
    Items {
        /// Count asked for.
        found: u32,
        /// Count allowed.
        most: u32,
    },
    /// The model was trained without keeping its rows, or they are not served here.
    #[error("this model has no items: set spec.serving.similarItems to true and train again")]
    NoItems,
    /// There are no hash tables.
    #[error("this model has no hash tables: set spec.serving.lsh, or ask by the method Lists or Exact")]
    NoTables,
    /// The items are sets, which are not looked for in lists.
    #[error(
        "items of a model of sets (metric Jaccard) are not found by lists: ask by the method Exact, or set spec.serving.lsh and ask by Tables"
    )]
    NoLists,
    /// There is no such item.
    #[error("there is no item {id:?}: ids are those of the training rows")]
    UnknownItem {
        /// Id asked for.
        id: String,
    },
    /// There are too many clusters for a tree over them.
    #[error("the model has {clusters} clusters; a tree is built over at most {most}")]
    TooManyClusters {
        /// Number of clusters.
        clusters: usize,
        /// Clusters allowed.
        most: usize,
    },
    /// The clusters are of sets.
    #[error(
        "the clusters of a model of sets (metric Jaccard) have no tree: they are joined by straight-line distances"
    )]
    NoTree,
    /// A tree cannot be cut into so many groups.
    #[error("groups must be from 1 to {most}, the number of clusters, found {found}")]
    Groups {
        /// Groups asked for.
        found: u32,
        /// Number of clusters.
        most: usize,
    },
    /// More items in a picture than there may be.
    #[error("items must be at most {most}, found {found}")]
    MapItems {
        /// Items asked for.
        found: u32,
        /// Items allowed.
        most: u32,
    },
    /// A page of clusters is larger than allowed.
    #[error("limit must be from 1 to {most}, found {found}: ask for several pages with offset")]
    Limit {
        /// Limit asked for.
        found: u32,
        /// Limit allowed.
        most: u32,
    },
    /// There is no such cluster.
    #[error("there is no cluster {cluster}: the model has {clusters} clusters, numbered from 0")]
    UnknownCluster {
        /// Cluster asked for.
        cluster: i64,
        /// Number of clusters.
        clusters: usize,
    },
    /// Another model version is served here.
    #[error("model version {wanted:?} is not served here, {served:?} is: name that, or no version")]
    Version {
        /// Version asked for.
        wanted: String,
        /// Version served.
        served: String,
    },
    /// A model of another name is served here.
    #[error("model {wanted:?} is not served here, {served:?} is")]
    UnknownModel {
        /// Name asked for.
        wanted: String,
        /// Name of the model that is served.
        served: String,
    },
    /// A tensor that the model takes or gives has another name.
    #[error("there is no {kind} {found:?}: {expected}")]
    UnknownTensor {
        /// `input` or `output`.
        kind: &'static str,
        /// Name found.
        found: String,
        /// What there is.
        expected: &'static str,
    },
    /// A tensor is of another datatype than the model takes.
    #[error("input {input:?} is of datatype {found:?}: send {expected}")]
    Datatype {
        /// Name of the tensor.
        input: &'static str,
        /// Datatype found.
        found: String,
        /// Datatype that the model takes.
        expected: &'static str,
    },
    /// A tensor is of another shape than the model takes.
    #[error("input {input:?} is of shape {found:?}: send [rows, {dimension}], where rows is at least 1")]
    Shape {
        /// Name of the tensor.
        input: &'static str,
        /// Shape found.
        found: Vec<i64>,
        /// Values that the model takes in a row.
        dimension: usize,
    },
    /// A tensor's shape and its contents disagree.
    #[error("input {input:?} has {found} {unit} of data, but its shape {shape:?} takes {expected}")]
    Contents {
        /// Name of the tensor.
        input: &'static str,
        /// Its shape.
        shape: Vec<i64>,
        /// Amount found.
        found: usize,
        /// Amount that the shape takes.
        expected: usize,
        /// What was counted: values or bytes.
        unit: &'static str,
    },
    /// The body or a parameter is not what the endpoint takes.
    #[error("{what}")]
    Malformed {
        /// What is wrong, where, and what was expected.
        what: String,
    },
    /// The body is larger than allowed.
    #[error("the body has more than {most} bytes: split it over several requests")]
    BodyTooLarge {
        /// Bytes allowed.
        most: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {limit:?}: send it faster or in smaller pieces")]
    BodyTimeout {
        /// Time allowed.
        limit: Duration,
    },
    /// The answer was not ready in time.
    #[error("the request was not answered in time: send fewer vectors, or try again")]
    TimedOut,
    /// Too much is being asked at once.
    #[error("this replica is busy: try again after a moment, or add replicas")]
    Overloaded,
    /// There is nothing at this address.
    #[error("there is nothing at {method} {path}: see GET /openapi.json for what there is")]
    NoSuchEndpoint {
        /// Method of the request.
        method: String,
        /// Path of the request.
        path: String,
    },
    /// The address exists, for other methods.
    #[error("{method} is not allowed at {path}: see GET /openapi.json for what is")]
    MethodNotAllowed {
        /// Method of the request.
        method: String,
        /// Path of the request.
        path: String,
    },
    /// A shard of the items does not answer, or not about the same model; there are no answers without it.
    #[error("shard {shard} of {shards} of the items did not answer ({what}): try again")]
    ShardMissing {
        /// Number of the shard, from 0.
        shard: u32,
        /// Number of shards.
        shards: u32,
        /// What became of the questions to its replicas.
        what: String,
    },
    /// Another replica takes this one for what it is not.
    #[error("shard {wanted} of model version {wanted_version:?} is asked for, {served} of {served_version:?} is here")]
    OtherShard {
        /// Shard asked for, as in `0/3`.
        wanted: String,
        /// Version asked for.
        wanted_version: String,
        /// Shard served.
        served: String,
        /// Version served.
        served_version: String,
    },
    /// The replica is about to stop.
    #[error("this replica is shutting down")]
    ShuttingDown,
    /// A defect of this program.
    #[error("the request could not be answered because of a defect in this server: please report it")]
    Internal,
}

/// How a message begins when it is about one row of several.
fn place(row: Option<usize>) -> String {
    row.map_or_else(String::new, |row| format!("row {row}: "))
}
