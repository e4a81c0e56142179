//! What is compared with what.

use super::contenders::{Contender, Start};

/// Lloyd iterations in a case of a fixed number of iterations.
const FIXED: u32 = 10;
/// Most iterations in a case that runs until the tolerance is reached.
const MOST: u32 = 100;

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What a reader should know, in a few words.
    pub(crate) about: &'static str,
    pub(crate) data: Data,
    pub(crate) clusters: u32,
    pub(crate) iterations: u32,
    /// 0 for a fixed number of iterations.
    pub(crate) tolerance: f64,
    pub(crate) measure: Measure,
    /// The first is what the others are compared with.
    pub(crate) contenders: &'static [Contender],
}

/// Where the rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// A set of `bench/make_data.py`: kind and dimension.
    Made(&'static str, &'static str),
    /// The same as Parquet.
    Parquet(&'static str, &'static str),
    /// The user's own embeddings.
    Embeddings,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Seconds per pass over the rows: the whole call divided by the passes it made.
    Pass,
    /// Seconds of the whole call, choice of the first centroids included.
    Call,
    /// Seconds from start to end of the process, reading included.
    Process,
}

impl Case {
    /// Whether all begin at the same given centroids.
    pub(crate) fn is_given(&self) -> bool {
        self.measure == Measure::Pass
    }

    /// Whether it runs until nothing moves much any more.
    pub(crate) fn converges(&self) -> bool {
        self.tolerance > 0.0
    }
}

use Contender::{Coterie, EveryRow, Faiss, Run, ScikitLearn, ScikitLearnIntelex, Spark, SuperKMeans};

const WIDE: &[Contender] = &[EveryRow, Coterie(Start::PlusPlus), Faiss, ScikitLearn, ScikitLearnIntelex, SuperKMeans];
/// SuperKMeans refuses few dimensions.
const NARROW: &[Contender] = &[EveryRow, Coterie(Start::PlusPlus), Faiss, ScikitLearn, ScikitLearnIntelex];
const WIDE_CONVERGING: &[Contender] =
    &[Coterie(Start::PlusPlus), Coterie(Start::Parallel), Faiss, ScikitLearn, ScikitLearnIntelex, SuperKMeans];
const NARROW_CONVERGING: &[Contender] =
    &[Coterie(Start::PlusPlus), Coterie(Start::Parallel), Faiss, ScikitLearn, ScikitLearnIntelex];

/// All comparisons of k-means.
pub(crate) fn k_means() -> Vec<Case> {
    let fixed = |name, data, clusters, contenders| Case {
        name,
        about: "10 iterations from given centroids, overlapping mixture",
        data,
        clusters,
        iterations: FIXED,
        tolerance: 0.0,
        measure: Measure::Pass,
        contenders,
    };
    let converging = |name, about, data, clusters, contenders| Case {
        name,
        about,
        data,
        clusters,
        iterations: MOST,
        tolerance: 1e-4,
        measure: Measure::Call,
        contenders,
    };
    let blobs = "to tolerance 1e-4, own first centroids, separate blobs";
    vec![
        fixed("fixed-d128-k256", Data::Made("mix", "d128"), 256, WIDE),
        fixed("fixed-d128-k1024", Data::Made("mix", "d128"), 1024, WIDE),
        fixed("fixed-d16-k64", Data::Made("mix", "d16"), 64, NARROW),
        converging("conv-d128-k256", blobs, Data::Made("blobs", "d128"), 256, WIDE_CONVERGING),
        converging("conv-d16-k64", blobs, Data::Made("blobs", "d16"), 64, NARROW_CONVERGING),
        converging(
            "conv-embeddings-k256",
            "to tolerance 1e-4, own first centroids, real embeddings",
            Data::Embeddings,
            256,
            WIDE_CONVERGING,
        ),
        Case {
            name: "parquet-d16-k64",
            about: "10 iterations from random rows, whole process from Parquet",
            data: Data::Parquet("mix", "d16"),
            clusters: 64,
            iterations: FIXED,
            tolerance: 0.0,
            measure: Measure::Process,
            contenders: &[Run, Spark],
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn cases_and_their_contenders_have_names_of_their_own() {
        let cases = k_means();
        let names: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), cases.len());
        for case in &cases {
            let names: BTreeSet<_> = case.contenders.iter().map(|contender| contender.name()).collect();
            assert_eq!(names.len(), case.contenders.len(), "{}", case.name);
            assert!(case.contenders[0].name().starts_with("coterie"), "{} compares with us", case.name);
        }
    }
}
