//! Members of sets by the names of features, for models that were trained on columns of zeros and ones.

use coterie_algorithms::members::hash;
use coterie_algorithms::metric::Metric;
use coterie_model::Model;
use std::collections::HashMap;

/// What such models say their members are.
const MEMBERS: &str = "FeatureNames";

/// The columns of features, by the [`hash`] of their names.
#[derive(Debug)]
pub(super) struct Names(HashMap<u64, u32>);

impl Names {
    /// Those of `model`; `None` where it compares no sets, has members of its own, or several features of one name. O(features).
    pub(super) fn new(model: &Model) -> Option<Self> {
        if model.metric != Metric::Jaccard || model.members.is_some() {
            return None;
        }
        let names = model.feature_names.iter().map(|name| hash(name.as_bytes()));
        let columns: HashMap<u64, u32> = names.zip(0..).collect();
        (columns.len() == model.input_dimension()).then_some(Self(columns))
    }

    /// The column of the feature whose name has this hash.
    pub(super) fn column(&self, name: u64) -> Option<u32> {
        self.0.get(&name).copied()
    }
}

/// What the sets of a request to `model` have as members, if it takes any; `names` are those of its features.
pub(super) fn members(model: &Model, names: Option<&Names>) -> Option<&'static str> {
    model.members.map(|members| members.name()).or(names.map(|_| MEMBERS))
}
