//! Every level against the portable one, and that against sums of whole integers.

use proptest::prelude::*;

use super::super::widened::both;
use super::*;

/// Centroids and rows whose bytes fit 16 bits, as lists of integers.
fn numbers(columns: usize, count: usize, limit: i16, most: f64) -> impl Strategy<Value = Vec<Vec<i16>>> {
    let one = prop::collection::vec(-limit..=limit, columns).prop_map(move |mut bytes| {
        for segment in bytes.chunks_mut(SEGMENT) {
            let length = |h: usize, segment: &[i16]| {
                let half = segment.iter().enumerate().filter(|&(j, _)| half(j) == h);
                half.map(|(_, &byte)| f64::from(byte).powi(2)).sum::<f64>().sqrt()
            };
            while length(0, segment) > most || length(1, segment) > most {
                segment.iter_mut().for_each(|byte| *byte = *byte * 9 / 10);
            }
        }
        bytes
    });
    prop::collection::vec(one, count)
}

prop_compose! {
    fn problem()(d in prop_oneof![1usize..20, 120usize..140, 250usize..260], k in 1usize..40, n in 1usize..20)
        (centroids in numbers(d, k, LIMIT_CENTROID as i16, MOST_CENTROID), rows in numbers(d, n, LIMIT_ROW as i16, MOST_ROW), d in Just(d))
        -> (usize, Vec<Vec<i16>>, Vec<Vec<i16>>) {
        (d, centroids, rows)
    }
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn scores_are_exact((d, centroids, rows) in problem()) {
        check(d, &centroids, &rows);
    }

    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn what_is_found_is_there(panels in 0usize..700, range in 1i16..2000, least in -2000i16..2000, salt: u64) {
        let scores: Vec<i16> = (0..panels * WIDTH)
            .map(|i| (crate::random::hash(salt, crate::random::Purpose::Generate, 0, i as u64) as i16) % range)
            .collect();
        check_found(&scores, least);
    }

    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn rows_are_rounded(row in prop::collection::vec(-100.0f32..100.0, 1..300)) {
        let middle: Vec<f32> = row.iter().map(|x| x * 0.25 + 1.0).collect();
        let [narrow, wide] = both(|| {
            let mut centred = vec![0.0; row.len()];
            let extent = centre(&row, &middle, &mut centred);
            let mut bytes = vec![0; row.len()];
            let lost = quantise(&centred, 0.75, 1.0 / 0.75, &mut bytes);
            (centred, extent.squares.map(f32::to_bits), extent.largest, bytes, lost.to_bits())
        });
        prop_assert_eq!(&narrow, &wide);
        let (centred, squares, largest, bytes, lost) = wide;
        let (mut exact, mut missed) = ([0.0; 2], 0.0);
        for (j, (&x, &byte)) in centred.iter().zip(&bytes).enumerate() {
            prop_assert_eq!(x, row[j] - middle[j]);
            let rest = f64::from(x) - 0.75 * (f64::from(byte) - f64::from(OFFSET));
            prop_assert!(rest.abs() <= 0.375 + 1e-4);
            exact[half(j)] += f64::from(x).powi(2);
            missed += rest.powi(2);
            prop_assert!(x.abs() <= largest);
        }
        let close = |a: u32, b: f64| (f64::from(f32::from_bits(a)) - b).abs() <= 1e-5 * b + 1e-9;
        prop_assert!(close(squares[0], exact[0]) && close(squares[1], exact[1]));
        prop_assert!(close(lost, missed) || missed < 1e-3);
    }
}

/// Finds in scores what sorting and looking at each finds.
fn check_found(scores: &[i16], least: i16) {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let most = [0, 1].map(|i| sorted.get(i).copied().unwrap_or(i16::MIN));
    for level in Level::available() {
        assert_eq!(greatest_at(level, scores), most, "{level:?}");
        for least in [least, most[0], most[1], i16::MIN, i16::MAX] {
            let mut found = vec![99];
            reaching_at(level, scores, least, &mut found);
            let expected = (0u32..).zip(scores).filter(|&(_, &score)| score >= least).map(|(i, _)| i);
            assert_eq!(found, [99].into_iter().chain(expected).collect::<Vec<_>>(), "{level:?}");
        }
    }
}

fn check(d: usize, centroids: &[Vec<i16>], rows: &[Vec<i16>]) {
    let pack = |(i, bytes): (usize, &Vec<i16>)| ByteCentroid {
        bytes: bytes.iter().map(|&byte| byte as i8).collect(),
        scale: 0.125 * (i % 3) as f32,
        bias: -(i as f32),
        error: 0.5 * i as f32,
    };
    let packed: Vec<ByteCentroid> = centroids.iter().enumerate().map(pack).collect();
    let panels = BytePanels::new(d, &packed);
    let factors: Vec<Factors> =
        (0..rows.len()).map(|i| Factors { bias: 40.0 * (i % 5 + 1) as f32, error: 2.0 * i as f32 }).collect();
    // What is in the padding does not matter.
    let mut bytes = vec![77; rows.len() * panels.row_stride()];
    for (bytes, row) in bytes.chunks_exact_mut(panels.row_stride()).zip(rows) {
        bytes.iter_mut().zip(row).for_each(|(byte, &value)| *byte = (value + OFFSET) as u8);
    }
    for level in Level::available() {
        let mut scores = vec![1; rows.len() * panels.score_stride()];
        byte_scores_at(level, &panels, &bytes, &factors, &mut scores);
        for ((row, factors), scores) in rows.iter().zip(&factors).zip(scores.chunks_exact(panels.score_stride())) {
            for ((centroid, packed), score) in centroids.iter().zip(&packed).zip(scores) {
                let sum: i64 = row.iter().zip(centroid).map(|(&q, &p)| i64::from(q) * i64::from(p)).sum();
                // All of these are exact.
                let exact = sum as f32 * packed.scale + factors.bias * packed.bias + factors.error * packed.error;
                assert_eq!(*score, exact.round_ties_even() as i16, "{level:?}");
            }
            assert!(scores[centroids.len()..panels.scores()].iter().all(|&score| score == i16::MIN));
        }
    }
}

/// Panels in fours, and all remainders.
#[test]
fn every_remainder_of_panels() {
    for panels in 0..10 {
        let scores: Vec<i16> = (0..panels * WIDTH).map(|i| (i * 37 % 101) as i16 - 50).collect();
        check_found(&scores, 48);
    }
}

/// All remainders of rows, of columns and of panels.
#[test]
fn every_remainder() {
    let number = |i: usize, limit: usize| (i * 31 % (2 * limit + 1)) as i16 - limit as i16;
    for (d, k, n) in [(1, 1, 1), (3, 17, 5), (4, 16, 7), (6, 33, 13), (131, 18, 8)] {
        let centroids: Vec<Vec<i16>> = (0..k).map(|i| (0..d).map(|j| number(i * d + j, 12)).collect()).collect();
        let rows: Vec<Vec<i16>> = (0..n).map(|i| (0..d).map(|j| number(7 * i * d + j, 25)).collect()).collect();
        check(d, &centroids, &rows);
    }
}
