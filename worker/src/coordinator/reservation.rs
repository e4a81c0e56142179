//! Which version a run will publish, settled before it writes anything.
//!
//! Runs may share an output, and a coordinator may be started again at any moment. So a run takes its version by creating
//! `<output>/reservations/<version>`, which fails when another run has it: no two runs ever write below the same version. A
//! restarted coordinator finds its own reservation. Just before the model is published the reservation says how the run
//! ended, so that a coordinator whose last words were lost can repeat them.

use coterie_data::store::{Location, failure};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};

use crate::{
    error::RunError,
    publish::{failed, summary::Summary},
};

/// Versions tried before a run gives up: so many others would have to take theirs at the same time.
const ATTEMPTS: u64 = 1_000;

/// What a reservation's object holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Holder {
    run: String,
    /// How the run ends, once its model is about to be published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
}

/// A version that only this run may publish.
#[derive(Clone, Debug)]
pub(super) struct Reservation {
    location: Location,
    run: String,
    /// The version.
    pub(super) version: String,
    /// What an earlier incarnation of this run was about to say when it published.
    pub(super) summary: Option<Summary>,
}

impl Reservation {
    /// The reservation that an earlier incarnation of `run` made.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn find(output: &Location, run: &str) -> Result<Option<Self>, RunError> {
        let found = list(output).await?.into_iter().find(|(_, holder)| holder.run == run);
        Ok(found.map(|(number, holder)| Self {
            location: output.clone(),
            run: run.to_owned(),
            version: format!("v{number}"),
            summary: holder.summary,
        }))
    }

    /// Reserves `wanted`, or else the version after all that are published or reserved.
    ///
    /// # Errors
    /// When the store fails, or another run holds the version that was asked for.
    pub(super) async fn make(output: &Location, run: &str, wanted: Option<&str>) -> Result<Self, RunError> {
        if let Some(version) = wanted {
            let holder = create(output, run, version).await?;
            return match holder {
                None => Ok(Self::new(output, run, version)),
                Some(holder) => Err(RunError::spec(format!(
                    "{}: model version {version} is reserved by run {holder}; choose another version, or remove \
                     reservations/{version} there if that run is gone for good",
                    output.uri
                ))),
            };
        }
        // In this order: a run removes its reservation only after its version is published, so one of the two shows it.
        let reserved = list(output).await?.last().map_or(0, |(number, _)| *number);
        let published = coterie_model::versions(output.store.as_ref(), &output.path)
            .await
            .map_err(|error| failed(output, &error))?;
        let published = published.last().and_then(|version| number(version)).unwrap_or(0);
        let first = reserved.max(published).saturating_add(1);
        for number in first..first.saturating_add(ATTEMPTS) {
            let version = format!("v{number}");
            if create(output, run, &version).await?.is_none() {
                return Ok(Self::new(output, run, &version));
            }
        }
        Err(RunError::transient(format!("{}: other runs keep taking the next model version", output.uri)))
    }

    fn new(output: &Location, run: &str, version: &str) -> Self {
        Self { location: output.clone(), run: run.to_owned(), version: version.to_owned(), summary: None }
    }

    /// Says what the run will say when its model is published.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn announce(&mut self, summary: &Summary) -> Result<(), RunError> {
        self.summary = Some(summary.clone());
        let path = path(&self.location, &self.version);
        let holder = Holder { run: self.run.clone(), summary: self.summary.clone() };
        let put = self.location.store.put(&path, encode(&holder)?).await;
        put.map(drop).map_err(|error| failure(&self.location.uri, "reserving a model version", &error).into())
    }

    /// Gives the version up, or back. What cannot be removed is harmless: the number is passed over.
    pub(super) async fn remove(self) {
        let path = path(&self.location, &self.version);
        if let Err(error) = self.location.store.delete(&path).await {
            tracing::debug!(%path, %error, "a reservation was left behind");
        }
    }
}

/// Creates the reservation; gives the run that holds it already, when that is another one.
async fn create(output: &Location, run: &str, version: &str) -> Result<Option<String>, RunError> {
    let path = path(output, version);
    let payload = encode(&Holder { run: run.to_owned(), summary: None })?;
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match output.store.put_opts(&path, payload, options).await {
        Ok(_) => Ok(None),
        // A put whose answer was lost is retried by the client and then meets its own object.
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
            let holder = read(output, &path).await?.map_or_else(|| "another".to_owned(), |holder| holder.run);
            Ok((holder != run).then_some(holder))
        }
        Err(error) => Err(failure(&output.uri, "reserving a model version", &error).into()),
    }
}

/// All reservations, lowest version first. One that cannot be read is somebody's, nobody knows whose.
async fn list(output: &Location) -> Result<Vec<(u64, Holder)>, RunError> {
    let directory = output.path.clone().join("reservations");
    let listed: Result<Vec<_>, _> = output.store.list(Some(&directory)).try_collect().await;
    let objects = match listed {
        Ok(objects) => objects,
        Err(object_store::Error::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(failure(&output.uri, "listing reserved model versions", &error).into()),
    };
    let mut found = Vec::new();
    for object in objects {
        let Some(number) = object.location.filename().and_then(number) else { continue };
        // Gone in the meantime: its run is over, and its version published or given up.
        if let Some(holder) = read(output, &object.location).await? {
            found.push((number, holder));
        }
    }
    found.sort_unstable_by_key(|(number, _)| *number);
    Ok(found)
}

async fn read(output: &Location, path: &object_store::path::Path) -> Result<Option<Holder>, RunError> {
    let failed = |error: &object_store::Error| failure(&output.uri, "reading a reserved model version", error);
    let bytes = match output.store.get(path).await {
        Ok(found) => found.bytes().await.map_err(|error| failed(&error))?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(failed(&error).into()),
    };
    Ok(Some(serde_json::from_slice(&bytes).unwrap_or(Holder { run: "unknown".to_owned(), summary: None })))
}

fn path(output: &Location, version: &str) -> object_store::path::Path {
    output.path.clone().join("reservations").join(version)
}

fn number(version: &str) -> Option<u64> {
    let number = version.strip_prefix('v')?.parse().ok()?;
    (version == format!("v{number}")).then_some(number)
}

fn encode(holder: &Holder) -> Result<PutPayload, RunError> {
    serde_json::to_vec(holder)
        .map(PutPayload::from)
        .map_err(|error| RunError::transient(format!("encode a reservation: {error}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::{memory::InMemory, path::Path};

    use super::*;

    fn output() -> Location {
        Location { store: Arc::new(InMemory::new()), path: Path::from("out"), uri: "memory".into() }
    }

    async fn publish(output: &Location, version: &str) {
        let manifest = coterie_model::version_path(&output.path, version).join("manifest.json");
        output.store.put(&manifest, PutPayload::from_static(b"{}")).await.unwrap();
    }

    #[tokio::test]
    async fn runs_that_share_an_output_get_versions_of_their_own() {
        let output = output();
        publish(&output, "v3").await;
        let a = Reservation::make(&output, "a-r1", None).await.unwrap();
        let b = Reservation::make(&output, "b-r1", None).await.unwrap();
        assert_eq!((a.version.as_str(), b.version.as_str()), ("v4", "v5"));
        // A restarted coordinator has what it had.
        let again = Reservation::find(&output, "a-r1").await.unwrap().unwrap();
        assert_eq!((again.version.as_str(), again.summary), ("v4", None));
        assert!(Reservation::find(&output, "a-r2").await.unwrap().is_none());
        // The version of a run that gave up is free again once no higher one is taken.
        b.remove().await;
        publish(&output, "v4").await;
        a.remove().await;
        assert_eq!(Reservation::make(&output, "c-r1", None).await.unwrap().version, "v5");
    }

    #[tokio::test]
    async fn many_runs_at_once_never_share_a_version() {
        let output = output();
        let runs: Vec<String> = (0..20).map(|run| format!("run-{run}")).collect();
        let made = futures::future::join_all(runs.iter().map(|run| Reservation::make(&output, run, None))).await;
        let mut versions: Vec<String> = made.into_iter().map(|made| made.unwrap().version).collect();
        versions.sort();
        versions.dedup();
        assert_eq!(versions.len(), 20);
    }

    #[tokio::test]
    async fn a_version_asked_for_is_given_unless_another_run_has_it() {
        let output = output();
        for _ in 0..2 {
            assert_eq!(Reservation::make(&output, "a-r1", Some("v7")).await.unwrap().version, "v7");
        }
        let refused = Reservation::make(&output, "b-r1", Some("v7")).await.unwrap_err();
        assert_eq!(refused.exit_code, 64);
        assert!(refused.message.contains("v7 is reserved by run a-r1"), "{refused}");
        assert_eq!(Reservation::make(&output, "b-r1", None).await.unwrap().version, "v8");
    }
}
