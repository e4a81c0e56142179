use proptest::prelude::*;

use super::*;

/// The closest pair, again and again, with every group's centroid from its leaves.
fn slow(centroids: &[f32], d: usize, weights: &[f64]) -> Vec<(f64, f64)> {
    let mut groups: Vec<Vec<usize>> = (0..weights.len()).map(|leaf| vec![leaf]).collect();
    let weight = |group: &[usize]| group.iter().map(|&leaf| weights[leaf]).sum::<f64>();
    let mean = |group: &[usize], j: usize| {
        group.iter().map(|&leaf| weights[leaf] * f64::from(centroids[leaf * d + j])).sum::<f64>() / weight(group)
    };
    let height = |a: &[usize], b: &[usize]| {
        let apart: f64 = (0..d).map(|j| (mean(a, j) - mean(b, j)).powi(2)).sum();
        (2.0 * weight(a) * weight(b) / (weight(a) + weight(b)) * apart).sqrt()
    };
    let mut merges = Vec::new();
    while groups.len() > 1 {
        let mut best = (f64::INFINITY, 0, 0);
        for b in 1..groups.len() {
            for a in 0..b {
                let found = height(&groups[a], &groups[b]);
                if found < best.0 {
                    best = (found, a, b);
                }
            }
        }
        let gone = groups.remove(best.2);
        groups[best.1].extend(gone);
        merges.push((best.0, weight(&groups[best.1])));
    }
    merges
}

#[test]
fn like_scipy() {
    // scipy.cluster.hierarchy.ward([[0, 0], [0, 1], [4, 0], [4, 1.5], [10, 10]])
    let tree = ward(&[0.0, 0.0, 0.0, 1.0, 4.0, 0.0, 4.0, 1.5, 10.0, 10.0], 2, &[1.0; 5]);
    let merges: Vec<(u32, u32)> = tree.merges().iter().map(|merge| (merge.left, merge.right)).collect();
    assert_eq!(merges, [(0, 1), (2, 3), (5, 6), (4, 7)]);
    let heights = [1.0, 1.5, 5.667_892_024_377_317, 15.589_259_122_870_466];
    for (merge, expected) in tree.merges().iter().zip(heights) {
        assert!((merge.height - expected).abs() < 1e-9, "{} instead of {expected}", merge.height);
    }
    assert_eq!(tree.cut(1), [0; 5]);
    assert_eq!(tree.cut(2), [0, 0, 0, 0, 1]);
    assert_eq!(tree.cut(3), [0, 0, 1, 1, 2]);
    assert_eq!(tree.cut(5), [0, 1, 2, 3, 4]);
    assert_eq!(tree.cut(99), [0, 1, 2, 3, 4]);
}

#[test]
fn nothing_and_one() {
    assert_eq!(ward(&[], 3, &[]).merges(), []);
    assert_eq!(ward(&[], 3, &[]).cut(1), Vec::<u32>::new());
    assert_eq!(ward(&[1.0, 2.0], 2, &[5.0]).merges(), []);
    assert_eq!(ward(&[1.0, 2.0], 2, &[5.0]).cut(4), [0]);
}

#[test]
fn equal_centroids_and_no_rows() {
    let tree = ward(&[1.0; 6], 1, &[0.0, 2.0, 0.0, 4.0, 0.0, 1.0]);
    assert_eq!(tree.merges().len(), 5);
    assert!(tree.merges().iter().all(|merge| merge.height == 0.0));
    assert_eq!(tree.merges().last().map(|merge| merge.weight), Some(10.0));
}

proptest! {
    #[test]
    fn agrees_with_the_closest_pair(
        d in 1usize..10,
        values in prop::collection::vec(-10.0f32..10.0, 9..200),
        weight in prop::collection::vec(1.0f64..100.0, 200),
    ) {
        let k = values.len() / d;
        let (values, weights) = (&values[..k * d], &weight[..k]);
        let tree = ward(values, d, weights);
        let expected = slow(values, d, weights);
        prop_assert_eq!(tree.merges().len(), expected.len());
        for (merge, (height, weight)) in tree.merges().iter().zip(expected) {
            prop_assert!((merge.height - height).abs() <= 1e-9 * height.max(1.0), "{} and {}", merge.height, height);
            prop_assert!((merge.weight - weight).abs() <= 1e-9 * weight);
        }
    }

    #[test]
    fn a_cut_has_as_many_groups_as_asked_for_and_only_joins(values in prop::collection::vec(-10.0f32..10.0, 1..60)) {
        let tree = ward(&values, 1, &vec![1.0; values.len()]);
        let mut finer: Vec<u32> = (0..).take(values.len()).collect();
        for groups in (1..=values.len()).rev() {
            let cut = tree.cut(groups);
            prop_assert_eq!(cut.iter().max().map(|most| *most as usize + 1), Some(groups));
            for (a, b) in (0..values.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
                prop_assert!(finer[a] != finer[b] || cut[a] == cut[b]);
            }
            finer = cut;
        }
    }
}
