//! Bodies and query strings of requests.

use crate::query::Method;
use crate::rest::members::{ManySets, OneSet};
use crate::rest::numbers::{Row, Rows};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AssignBody {
    pub(crate) vector: Option<Row>,
    pub(crate) vectors: Option<Rows>,
    pub(crate) set: Option<OneSet>,
    pub(crate) sets: Option<ManySets>,
    pub(crate) model_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NearestBody {
    pub(crate) vector: Option<Row>,
    pub(crate) set: Option<OneSet>,
    pub(crate) count: Option<u32>,
    pub(crate) model_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SimilarBody {
    pub(crate) id: Option<Id>,
    pub(crate) vector: Option<Row>,
    pub(crate) set: Option<OneSet>,
    pub(crate) count: Option<u32>,
    pub(crate) cluster: Option<i64>,
    pub(crate) method: Option<MethodName>,
    pub(crate) model_version: Option<String>,
}

/// An item's id, as a number or a text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Id {
    Int(i64),
    Text(String),
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum MethodName {
    Lists,
    Tables,
    Exact,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListQuery {
    #[serde(default)]
    pub(crate) offset: u32,
    pub(crate) limit: Option<u32>,
    #[serde(default)]
    pub(crate) centroids: bool,
    pub(crate) model_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VersionQuery {
    pub(crate) model_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DendrogramQuery {
    pub(crate) groups: Option<u32>,
    pub(crate) model_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MapQuery {
    pub(crate) items: Option<u32>,
    pub(crate) model_version: Option<String>,
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(id) => id.fmt(f),
            Self::Text(id) => f.write_str(id),
        }
    }
}

impl MethodName {
    pub(crate) fn method(self) -> Method {
        match self {
            Self::Lists => Method::Lists,
            Self::Tables => Method::Tables,
            Self::Exact => Method::Exact,
        }
    }
}
