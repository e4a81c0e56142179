//! What the server and its model are, as the protocol describes them.

use super::tensor::{FP32, OutputName, VECTORS};
use crate::query::Served;

/// Name of the server.
pub(crate) const SERVER: &str = "coterie";

/// Its version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What it can beyond the protocol.
pub(crate) const EXTENSIONS: [&str; 1] = ["binary_tensor_data"];

/// Framework and format of every model.
pub(crate) const PLATFORM: &str = "coterie_safetensors";

/// A tensor that a model takes or gives; -1 stands for a dimension of any size.
#[derive(Debug, serde::Serialize)]
pub(crate) struct TensorMetadata {
    pub(crate) name: &'static str,
    pub(crate) datatype: &'static str,
    pub(crate) shape: Vec<i64>,
}

pub(crate) fn inputs(served: &Served) -> [TensorMetadata; 1] {
    let dimension = i64::try_from(served.input_dimension()).unwrap_or(i64::MAX);
    [TensorMetadata { name: VECTORS, datatype: FP32, shape: vec![-1, dimension] }]
}

pub(crate) fn outputs() -> [TensorMetadata; 4] {
    OutputName::ALL.map(|output| {
        let shape = match output {
            OutputName::ClusterId | OutputName::Distance | OutputName::Margin => vec![-1],
            OutputName::NeighborIds => vec![-1, -1],
        };
        TensorMetadata { name: output.as_str(), datatype: output.datatype(), shape }
    })
}
