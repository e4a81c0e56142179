//! Answers as text, for a store that replicas share. Reals are spelt by their bits: what comes back is what went in.

use super::Answer;
use crate::query::{Assignment, Method, Neighbour, SimilarItem};
use coterie_model::RowId;
use serde::{Deserialize, Serialize};

/// Longest text that is read or written.
pub(super) const MOST_BYTES: usize = 1 << 20;

#[derive(Serialize, Deserialize)]
enum Stored {
    Assignment(u32, u32, u32, u32),
    Neighbours(Vec<(u32, u32)>),
    Lists(Vec<(RowId, u32, u32)>),
    Tables(Vec<(RowId, u32, u32)>),
    Exact(Vec<(RowId, u32, u32)>),
}

/// `answer` as text; `None` where it is too long.
pub(super) fn encode(answer: &Answer) -> Option<Vec<u8>> {
    let items = |all: &[SimilarItem]| {
        all.iter().map(|item| (item.id.clone(), item.cluster, item.distance.to_bits())).collect::<Vec<_>>()
    };
    let stored = match answer {
        Answer::Assignment(Assignment { cluster, distance, margin, confidence }) => {
            Stored::Assignment(*cluster, distance.to_bits(), margin.to_bits(), confidence.to_bits())
        }
        Answer::Neighbours(all) => {
            Stored::Neighbours(all.iter().map(|near| (near.cluster, near.distance.to_bits())).collect())
        }
        Answer::Similar(Method::Lists, all) => Stored::Lists(items(all)),
        Answer::Similar(Method::Tables, all) => Stored::Tables(items(all)),
        Answer::Similar(Method::Exact, all) => Stored::Exact(items(all)),
    };
    serde_json::to_vec(&stored).ok().filter(|text| text.len() <= MOST_BYTES)
}

/// The answer that a text spells; `None` where it spells none.
pub(super) fn decode(text: &[u8]) -> Option<Answer> {
    let stored = if text.len() > MOST_BYTES { None } else { serde_json::from_slice(text).ok() };
    let items = |all: Vec<(RowId, u32, u32)>| {
        all.into_iter()
            .map(|(id, cluster, distance)| SimilarItem { id, cluster, distance: f32::from_bits(distance) })
            .collect()
    };
    Some(match stored? {
        Stored::Assignment(cluster, distance, margin, confidence) => Answer::Assignment(Assignment {
            cluster,
            distance: f32::from_bits(distance),
            margin: f32::from_bits(margin),
            confidence: f32::from_bits(confidence),
        }),
        Stored::Neighbours(all) => Answer::Neighbours(
            all.into_iter()
                .map(|(cluster, distance)| Neighbour { cluster, distance: f32::from_bits(distance) })
                .collect(),
        ),
        Stored::Lists(all) => Answer::Similar(Method::Lists, items(all)),
        Stored::Tables(all) => Answer::Similar(Method::Tables, items(all)),
        Stored::Exact(all) => Answer::Similar(Method::Exact, items(all)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            kind in 0u8..5,
            all in prop::collection::vec((any::<i64>(), "[ -~]{0,9}", any::<bool>(), any::<u32>(), 0.0f32..1e9), 1..9),
        ) {
            let near = all.iter().map(|&(_, _, _, cluster, distance)| Neighbour { cluster, distance }).collect();
            let items: Vec<SimilarItem> = all.iter().map(|(number, text, named, cluster, distance)| SimilarItem {
                id: if *named { RowId::Text(text.clone()) } else { RowId::Int(*number) },
                cluster: *cluster,
                distance: *distance,
            }).collect();
            let (cluster, distance) = (all[0].3, all[0].4);
            let answer = match kind {
                0 => Answer::Assignment(Assignment { cluster, distance, margin: 0.1, confidence: 0.3 }),
                1 => Answer::Neighbours(near),
                2 => Answer::Similar(Method::Lists, items),
                3 => Answer::Similar(Method::Tables, items),
                _ => Answer::Similar(Method::Exact, items),
            };
            prop_assert_eq!(decode(&encode(&answer).unwrap()), Some(answer));
        }

        #[test]
        fn what_is_no_answer_is_none(text in prop::collection::vec(any::<u8>(), 0..99)) {
            prop_assert_eq!(decode(&text), None);
        }
    }
}
