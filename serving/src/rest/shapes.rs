//! The JSON of requests and answers. `openapi.json` describes the same shapes.

mod answers;
mod asked;
mod views;

pub(crate) use answers::{AssignReply, ErrorReply, NearestReply, SimilarReply, TrafficReply};
pub(crate) use asked::{
    AssignBody, DendrogramQuery, ListQuery, MapQuery, MethodName, NearestBody, SimilarBody, VersionQuery,
};
pub(crate) use views::{ClusterReply, ClustersReply, DendrogramReply, MapReply, ModelReply};
