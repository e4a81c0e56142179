//! Loops over the scores of a row. See [`crate::kmeans::cells`] for what they mean.

use std::array::from_fn;

use super::panels::WIDTH;
use super::widened::widened;

widened! {
    /// The place of the greatest score, the first where some are equal; `scores` holds a multiple of sixteen, none of which is NaN.
    pub(crate) fn highest(scores: &[f32]) -> usize {
        let panels = scores.as_chunks::<WIDTH>().0;
        let mut most = [f32::NEG_INFINITY; WIDTH];
        for panel in panels {
            most = from_fn(|lane| if panel[lane] > most[lane] { panel[lane] } else { most[lane] });
        }
        let most = most.into_iter().fold(f32::NEG_INFINITY, f32::max);
        let mut place = 0;
        for panel in panels {
            let equal: [u32; WIDTH] = from_fn(|lane| u32::from(panel[lane] == most));
            if equal != [0; WIDTH] {
                break;
            }
            place += WIDTH;
        }
        place + scores.get(place..).map_or(0, |rest| rest.iter().position(|&score| score == most).unwrap_or(0))
    }
}

widened! {
    /// Raises `most` where one score less another score of the same line is higher: score `j` of each line less its score `less`.
    pub(crate) fn raise_differences(lines: &[f32], less: usize, most: &mut [f32]) {
        for line in lines.chunks_exact(most.len()) {
            let base = line[less];
            for (most, &score) in most.iter_mut().zip(line) {
                let difference = score - base;
                *most = if difference > *most { difference } else { *most };
            }
        }
    }
}

widened! {
    /// Adds the places where `scores + spans * reach + leads` is at least `least`, ascending. All hold the same multiple of sixteen.
    pub(crate) fn within_reach(
        scores: &[f32],
        spans: &[f32],
        leads: &[f32],
        reach: f32,
        least: f32,
        found: &mut Vec<u32>,
    ) {
        let tables = spans.as_chunks::<WIDTH>().0.iter().zip(leads.as_chunks::<WIDTH>().0);
        let mut place = 0;
        for (scores, (spans, leads)) in scores.as_chunks::<WIDTH>().0.iter().zip(tables) {
            let most: [f32; WIDTH] = from_fn(|lane| scores[lane] + spans[lane] * reach + leads[lane]);
            let open: [u32; WIDTH] = from_fn(|lane| u32::from(most[lane] >= least));
            if open != [0; WIDTH] {
                found.extend((place..).zip(open).filter(|&(_, open)| open != 0).map(|(place, _)| place));
            }
            place += WIDTH as u32;
        }
    }
}

/// The two best centroids of a row so far, by (score, index), whatever order they come in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Best {
    pub(crate) scores: [f32; 2],
    pub(crate) labels: [u32; 2],
}

impl Best {
    /// No centroid looked at yet.
    pub(crate) const NONE: Self = Self { scores: [f32::NEG_INFINITY; 2], labels: [u32::MAX; 2] };

    /// Looks at a centroid whose score is a number.
    #[inline(always)]
    fn offer(&mut self, score: f32, label: u32) {
        let Self { scores, labels } = *self;
        let beats = |place: usize| score > scores[place] || (score == scores[place] && label < labels[place]);
        if beats(0) {
            *self = Self { scores: [score, scores[0]], labels: [label, labels[0]] };
        } else if beats(1) {
            *self = Self { scores: [scores[0], score], labels: [labels[0], label] };
        }
    }
}

widened! {
    /// Looks at the centroids `labels`, whose scores are given, filled up to a multiple of sixteen.
    pub(crate) fn contend(scores: &[f32], labels: &[u32], best: &mut Best) {
        for (scores, labels) in scores.as_chunks::<WIDTH>().0.iter().zip(labels.chunks(WIDTH)) {
            let least = best.scores[1];
            let able: [u32; WIDTH] = from_fn(|lane| u32::from(scores[lane] >= least));
            if able != [0; WIDTH] {
                for (&score, &label) in scores.iter().zip(labels) {
                    best.offer(score, label);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::widened::both;
    use super::*;

    fn score() -> BoxedStrategy<f32> {
        prop_oneof![4 => (-3i8..4).prop_map(f32::from), 2 => -4.0f32..4.0, 1 => Just(f32::NEG_INFINITY)].boxed()
    }

    fn panels(most: usize) -> impl Strategy<Value = Vec<f32>> {
        (0..most).prop_flat_map(|count| prop::collection::vec(score(), count * WIDTH))
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn the_highest_is_found(scores in panels(5)) {
            let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let place = scores.iter().position(|&score| score == most).unwrap_or(0);
            prop_assert_eq!(both(|| highest(&scores)), [place; 2]);
        }

        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn differences_are_raised(lines in panels(6), less in 0usize..16, start in -2.0f32..2.0) {
            let lines: Vec<f32> = lines.into_iter().map(|score| score.max(-9.0)).collect();
            let raised = || {
                let mut most = vec![start; WIDTH];
                raise_differences(&lines, less, &mut most);
                most
            };
            let naive: Vec<f32> = (0..WIDTH)
                .map(|j| lines.chunks(WIDTH).map(|line| line[j] - line[less]).fold(start, f32::max))
                .collect();
            prop_assert_eq!(both(raised), [naive.clone(), naive]);
        }

        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn what_is_within_reach_is_found(
            (scores, tables) in panels(4).prop_flat_map(|scores| {
                let tables = prop::collection::vec((0.0f32..2.0, -1.0f32..1.0), scores.len());
                (Just(scores), tables)
            }),
            reach in 0.0f32..2.0, least in -3.0f32..3.0,
        ) {
            let (spans, leads): (Vec<f32>, Vec<f32>) = tables.into_iter().unzip();
            let found = || {
                let mut found = vec![77];
                within_reach(&scores, &spans, &leads, reach, least, &mut found);
                found
            };
            let naive = (0..scores.len()).filter(|&i| scores[i] + spans[i] * reach + leads[i] >= least);
            let naive: Vec<u32> = std::iter::once(77).chain(naive.map(|place| place as u32)).collect();
            prop_assert_eq!(both(found), [naive.clone(), naive]);
        }

        /// In whatever order centroids come, the best two are the first by score and index.
        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn the_best_two_are_kept(scores in prop::collection::vec((-3i8..4).prop_map(f32::from), 1..80), split in 0usize..80, salt: u64) {
            let stream = crate::random::Stream::new(salt, crate::random::Purpose::Generate, 0);
            let mut ids: Vec<u32> = (0..scores.len() as u32).collect();
            ids.sort_by_key(|&id| stream.hash(id.into()));
            let (first, second) = ids.split_at(split.min(ids.len()));
            let found = || {
                let mut best = Best::NONE;
                for ids in [first, second] {
                    let mut given: Vec<f32> = ids.iter().map(|&id| scores[id as usize]).collect();
                    given.resize(ids.len().next_multiple_of(WIDTH), f32::NEG_INFINITY);
                    contend(&given, ids, &mut best);
                }
                best.labels
            };
            let mut ranking: Vec<u32> = (0..scores.len() as u32).collect();
            ranking.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]).then(a.cmp(&b)));
            let naive = [ranking[0], ranking.get(1).copied().unwrap_or(u32::MAX)];
            prop_assert_eq!(both(found), [naive; 2]);
        }
    }
}
