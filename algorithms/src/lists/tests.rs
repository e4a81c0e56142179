use proptest::prelude::*;

use super::*;
use crate::kmeans::{Centroids, assign};
use crate::lsh::{Neighbour, brute_force};
use crate::made::blobs;
use crate::metric::Metric;
use crate::random::{Purpose, Stream};

/// The slow twin: all rows of the nearest clusters, by distance.
fn naive(lists: &Lists<'_>, query: &[f32], breadth: Breadth, m: usize, without: Option<u32>) -> Vec<Neighbour> {
    let near = crate::kmeans::nearest(lists.centroids, query, lists.count());
    let farthest = near.first().map_or(0.0, |(_, first)| breadth.ratio.unwrap_or(f64::INFINITY) * first.sqrt());
    // Of what is at no distance no multiple is needed.
    let within = |square: f64| breadth.ratio.is_none() || square.sqrt() <= farthest;
    let mut clusters = Vec::new();
    let mut rows = 0;
    for (rank, (cluster, square)) in near.into_iter().enumerate() {
        if rows >= m && (rank >= breadth.lists || !within(square)) {
            break;
        }
        clusters.push(cluster);
        let range = lists.range(cluster as usize);
        rows += range.len() - usize::from(without.is_some_and(|row| range.contains(&(row as usize))));
    }
    brute_force(lists.rows(), Metric::Euclidean, query, lists.len())
        .into_iter()
        .filter(|found| Some(found.id) != without)
        .filter(|found| clusters.contains(&(lists.cluster_of(found.id as usize) as u32)))
        .take(m)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn same_as_looking_at_every_row_of_the_lists(
        n in 1usize..300, d in 1usize..40, k in 1usize..12, probes in 0usize..14, m in 0usize..25, salt: u64,
        exponent in -12i32..13, whole: bool, left_out: bool, ratio in prop::option::of(1.0f64..3.0),
    ) {
        let stream = Stream::new(salt, Purpose::Generate, 0);
        let scale = 10f32.powi(exponent);
        // Whole numbers make distances equal often.
        let number = |i: usize| if whole {
            (stream.hash(i as u64) % 5) as f32 - 2.0
        } else {
            (stream.uniform(i as u64) as f32 - 0.5) * scale
        };
        let rows: Vec<f32> = (0..n * d).map(number).collect();
        let centroids = Centroids::new(d, (0..k * d).map(|i| number((1 << 30) + i)).collect());
        let owned = ListsBuf::new(centroids.clone(), &rows);
        let lists = owned.view();
        let mut labels = vec![0; n];
        assign(&centroids, &rows, &mut labels);
        for (place, &id) in owned.ids().iter().enumerate() {
            prop_assert_eq!(lists.row(place), &rows[id as usize * d..][..d]);
            prop_assert_eq!(lists.cluster_of(place), labels[id as usize] as usize);
        }
        let (mut searcher, mut found) = (Searcher::new(), Vec::new());
        for query in 0..3 {
            let query: Vec<f32> = if query == 0 {
                lists.row(n / 2).to_vec()
            } else {
                (0..d).map(|j| number((1 << 20) + query * d + j)).collect()
            };
            let without = left_out.then_some((n / 2) as u32);
            let breadth = Breadth { lists: probes, ratio };
            searcher.nearest(&lists, Metric::Euclidean, &query, breadth, m, without, &mut found);
            prop_assert_eq!(&found, &naive(&lists, &query, breadth, m, without));
            let cluster = lists.cluster_of(n / 2);
            searcher.in_cluster(&lists, Metric::Euclidean, &query, cluster, m, without, &mut found);
            let mut all = naive(&lists, &query, Breadth::lists(k), n, without);
            all.retain(|found| lists.cluster_of(found.id as usize) == cluster);
            all.truncate(m);
            prop_assert_eq!(&found, &all);
            // Codes leave no row out, so without them as much is found.
            let uncoded = Lists { codes: None, ..lists };
            searcher.nearest(&uncoded, Metric::Euclidean, &query, breadth, m, without, &mut found);
            prop_assert_eq!(&found, &naive(&lists, &query, breadth, m, without));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_guide_finds_the_nearest_centroids(
        k in 4usize..150, d in 1usize..40, salt: u64, exponent in -25i32..19, away in 0i32..12, whole: bool,
    ) {
        let stream = Stream::new(salt, Purpose::Generate, 0);
        let number = |i: usize| if whole {
            (stream.hash(i as u64) % 3) as f32 - 1.0
        } else {
            (stream.uniform(i as u64) as f32 - 0.5) * 10f32.powi(exponent)
        };
        let centroids = Centroids::new(d, (0..k * d).map(number).collect());
        let query: Vec<f32> = (0..d).map(|j| number((1 << 30) + j) * 10f32.powi(away)).collect();
        let owned = ListsBuf::new(centroids.clone(), &[]);
        let mut searcher = Searcher::new();
        for count in [0, 1, k / 8, k / 4] {
            let expected = crate::kmeans::nearest(&centroids, &query, count);
            prop_assert_eq!(searcher.centroids(&owned.view(), &query, count), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Rows divided over places are found as if they were in one, with ties where distances are equal.
    #[test]
    fn parts_find_what_the_whole_finds(
        n in 1usize..200, d in 1usize..6, k in 1usize..9, parts in 1usize..5, probes in 0usize..10, m in 1usize..25,
        salt: u64, left_out: bool, ratio in prop::option::of(1.0f64..3.0),
    ) {
        let stream = Stream::new(salt, Purpose::Generate, 0);
        let number = |i: usize| (stream.hash(i as u64) % 5) as f32 - 2.0;
        let rows: Vec<f32> = (0..n * d).map(number).collect();
        let centroids = Centroids::new(d, (0..k * d).map(|i| number((1 << 30) + i)).collect());
        let whole = ListsBuf::new(centroids.clone(), &rows);
        let lists = whole.view();
        let query: Vec<f32> = lists.row(n / 2).to_vec();
        let without = left_out.then_some((n / 2) as u32);
        let breadth = Breadth { lists: probes, ratio };
        let (mut searcher, mut found) = (Searcher::new(), Vec::new());
        searcher.nearest(&lists, Metric::Euclidean, &query, breadth, m, without, &mut found);

        let left = without.map(|place| (lists.cluster_of(place as usize) as u32, whole.ids()[place as usize]));
        let size = |cluster: u32| {
            lists.range(cluster as usize).len() as u64 - u64::from(left.is_some_and(|(own, _)| own == cluster))
        };
        let near = reach(&centroids, size, &query, breadth, m);
        let mut all = Vec::new();
        for part in 0..parts {
            let chosen: Vec<usize> = (0..n).filter(|row| stream.hash((1 << 40) + *row as u64) as usize % parts == part).collect();
            let rows: Vec<f32> = chosen.iter().flat_map(|row| rows[row * d..][..d].to_vec()).collect();
            let owned = ListsBuf::new(centroids.clone(), &rows);
            let row_of = |place: u32| chosen[owned.ids()[place as usize] as usize] as u32;
            let without = left.and_then(|(_, row)| (0..chosen.len() as u32).find(|place| row_of(*place) == row));
            let mut found = Vec::new();
            searcher.within(&owned.view(), Metric::Euclidean, &query, &near, m, without, &mut found);
            let view = owned.view();
            all.extend(found.iter().map(|near| (near.distance, view.cluster_of(near.id as usize), row_of(near.id))));
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        all.truncate(m);
        let row_of = |place: u32| whole.ids()[place as usize];
        let expected: Vec<_> =
            found.iter().map(|near| (near.distance, lists.cluster_of(near.id as usize), row_of(near.id))).collect();
        prop_assert_eq!(all, expected);
    }
}

#[test]
fn all_lists_are_exact_and_few_reach_the_recall() {
    let (n, d, k) = (20_000, 24, 64);
    let rows = blobs(n, d, 200, 5);
    let owned = ListsBuf::new(Centroids::new(d, rows[..k * d].to_vec()), &rows);
    let lists = owned.view();
    let (mut searcher, mut found) = (Searcher::new(), Vec::new());
    let queries = blobs(200, d, 200, 6);
    for recall in [0.8, 0.95] {
        let chosen = || breadth_for(&lists, Metric::Euclidean, recall, 10, 200, 1, || true);
        let breadth = chosen().unwrap();
        assert!(breadth.lists < k / 2, "{recall}: {breadth:?}");
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(alone.install(chosen), Some(breadth));
        let mut hits = 0;
        for query in queries.chunks_exact(d) {
            let truth = brute_force(lists.rows(), Metric::Euclidean, query, 10);
            searcher.nearest(&lists, Metric::Euclidean, query, Breadth::lists(k), 10, None, &mut found);
            assert_eq!(found, truth);
            searcher.nearest(&lists, Metric::Euclidean, query, breadth, 10, None, &mut found);
            hits += found.iter().filter(|found| truth.contains(found)).count();
        }
        assert!(hits as f64 >= recall * 2000.0, "{recall}: {hits} hits of 2000 with {breadth:?}");
    }
    // Cosine distances are half the squared ones.
    searcher.nearest(&lists, Metric::Cosine, &queries[..d], Breadth::lists(k), 3, None, &mut found);
    assert_eq!(found, brute_force(lists.rows(), Metric::Cosine, &queries[..d], 3));
}

/// Differences beyond the range of `f32` exclude nothing.
#[test]
fn rows_at_the_ends_of_the_range_are_found() {
    let d = 3;
    let rows: Vec<f32> =
        (0..24 * d).map(|i| if i / d % 2 == 0 { 3e38 } else { -3e38 } * (1.0 - i as f32 / 200.0)).collect();
    let owned = ListsBuf::new(Centroids::new(d, rows[..2 * d].to_vec()), &rows);
    let lists = owned.view();
    let (mut searcher, mut found) = (Searcher::new(), Vec::new());
    for query in rows.chunks_exact(d) {
        searcher.nearest(&lists, Metric::Euclidean, query, Breadth::lists(2), 20, None, &mut found);
        assert_eq!(found, brute_force(lists.rows(), Metric::Euclidean, query, 20));
    }
}

#[test]
fn what_cannot_be_sure_takes_all_lists() {
    let all = Some(Breadth::lists(2));
    let owned = ListsBuf::new(Centroids::new(1, vec![0.0, 9.0]), &[0.0, 1.0, 9.0]);
    assert_eq!(breadth_for(&owned.view(), Metric::Euclidean, 1.0, 10, 100, 1, || true), all);
    assert_eq!(breadth_for(&owned.view(), Metric::Euclidean, 1.0, 10, 100, 1, || false), None);
    let owned = ListsBuf::new(Centroids::new(1, vec![0.0, 9.0]), &[]);
    assert_eq!(breadth_for(&owned.view(), Metric::Euclidean, 0.5, 10, 100, 1, || true), all);
}

#[test]
fn damage_is_named() {
    let centroids = Centroids::new(1, vec![0.0, 9.0]);
    let view = |starts: &[u64], terms: &[f32]| {
        let codes = Codes { bytes: &[0; 48], terms, radii: &[1.0, 0.0] };
        let rows = &[0.0, 1.0, 9.0];
        let uncoded = Lists::new(&centroids, starts, rows, None).map(|lists| lists.len());
        let coded = Lists::new(&centroids, starts, rows, Some(codes)).map(|lists| lists.len());
        assert!(uncoded == coded || terms.len() != 9);
        coded
    };
    assert_eq!(view(&[0, 2, 3], &[0.0; 9]), Ok(3));
    assert_eq!(view(&[0, 3], &[0.0; 9]), Err(ListsError::Length { array: "starts", found: 2, expected: 3 }));
    assert_eq!(view(&[0, 2, 3], &[0.0; 8]), Err(ListsError::Length { array: "terms", found: 8, expected: 9 }));
    assert_eq!(view(&[0, 4, 3], &[0.0; 9]), Err(ListsError::Starts(1)));
    assert_eq!(view(&[0, 2, 2], &[0.0; 9]), Err(ListsError::Starts(2)));
    assert_eq!(view(&[1, 2, 3], &[0.0; 9]), Err(ListsError::Starts(2)));
}
