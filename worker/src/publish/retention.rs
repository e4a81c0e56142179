//! Old model versions are removed once a new one is there.

use std::{collections::BTreeSet, time::Duration};

use coterie_crds::{resolved::Output, run::Retention};
use coterie_data::store::Location;

use super::{failed, places::Places};
use crate::error::RunError;

/// Longest time that removing may take; what is left then is removed after the next run.
const PATIENCE: Duration = Duration::from_secs(60);

/// The versions to remove, oldest first: those beyond the `limit` newest up to `new`, but for protected ones. Versions newer
/// than `new` are somebody else's, and neither counted nor removed.
#[must_use]
pub fn expired(published: &[String], new: &str, retention: &Retention) -> Vec<String> {
    let Some(newest) = number(new) else { return Vec::new() };
    let mut older: Vec<u64> =
        published.iter().filter_map(|version| number(version)).filter(|at| *at < newest).collect();
    older.sort_unstable();
    let kept = retention.limit.saturating_sub(1) as usize;
    let beyond = older.len().saturating_sub(kept);
    let versions = older.into_iter().take(beyond).map(|number| format!("v{number}"));
    versions.filter(|version| !retention.protect.contains(version)).collect()
}

fn number(version: &str) -> Option<u64> {
    version.strip_prefix('v')?.parse().ok()
}

/// Removes what `retention` does not keep beside `new`. The run has succeeded already: failures are warnings.
pub async fn apply(location: &Location, output: &Output, new: &str, retention: &Retention) {
    match tokio::time::timeout(PATIENCE, remove(location, output, new, retention)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "old model versions were not removed; the next run tries again"),
        Err(_elapsed) => tracing::warn!("removing old model versions took too long; the next run goes on with it"),
    }
}

async fn remove(location: &Location, output: &Output, new: &str, retention: &Retention) -> Result<(), RunError> {
    let store = location.store.as_ref();
    let published = coterie_model::versions(store, &location.path).await.map_err(|error| failed(location, &error))?;
    for version in expired(&published, new, retention) {
        coterie_model::remove(store, &location.path, &version).await.map_err(|error| failed(location, &error))?;
        Places::of(output, &version)?.sweep(&BTreeSet::new(), &BTreeSet::new()).await?;
        tracing::info!(version, "old model version removed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn versions(numbers: &[u64]) -> Vec<String> {
        numbers.iter().map(|number| format!("v{number}")).collect()
    }

    fn check(published: &[u64], new: u64, limit: u32, protect: &[u64], removed: &[u64]) {
        let retention = Retention { limit, protect: versions(protect) };
        assert_eq!(expired(&versions(published), &format!("v{new}"), &retention), versions(removed));
    }

    #[test]
    fn the_oldest_beyond_the_limit_go() {
        check(&[1, 2, 3], 3, 5, &[], &[]);
        check(&[1, 2, 3, 4], 4, 2, &[], &[1, 2]);
        check(&[1, 2, 3, 4], 4, 1, &[], &[1, 2, 3]);
        check(&[2, 9, 10, 11], 11, 3, &[], &[2]);
    }

    #[test]
    fn protected_and_newer_ones_and_the_new_one_stay() {
        check(&[1, 2, 3, 4], 4, 1, &[2], &[1, 3]);
        check(&[1, 2, 3, 4, 5], 3, 1, &[], &[1, 2]);
        // A limit of 0 is out of bounds; the new version stays all the same.
        check(&[1, 2], 2, 0, &[], &[1]);
        check(&[1, 2], 3, 2, &[], &[1]);
    }

    proptest! {
        #[test]
        fn what_matters_always_stays(
            published in prop::collection::btree_set(1u64..40, 0..20),
            new in 1u64..40,
            limit in 1u32..10,
            protect in prop::collection::vec(1u64..40, 0..5),
        ) {
            let published: Vec<u64> = published.into_iter().chain([new]).collect::<BTreeSet<_>>().into_iter().collect();
            let retention = Retention { limit, protect: versions(&protect) };
            let removed = expired(&versions(&published), &format!("v{new}"), &retention);
            let left = published.iter().filter(|at| **at <= new && !removed.contains(&format!("v{at}")));
            prop_assert!(left.count() as u32 >= limit.min(published.iter().filter(|at| **at <= new).count() as u32));
            prop_assert!(removed.iter().all(|version| number(version).unwrap() < new));
            prop_assert!(removed.iter().all(|version| !retention.protect.contains(version)));
        }
    }
}
