//! Checkpoints: the coordinator's state in the object store, so that a restarted coordinator goes on where the last one
//! was.
//!
//! Checkpoints are numbered objects that are only ever created, never overwritten. A coordinator that starts claims the
//! next number with a higher epoch; one that was replaced finds its own next number taken and stops. So at most one
//! coordinator of a run makes progress, on every store that can create an object conditionally.

use coterie_data::store::{Location, failure};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{sync::watch, task::JoinHandle};

use crate::error::RunError;

/// A checkpoint's place in the sequence and what it holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checkpoint<M> {
    /// Incarnation of the coordinator that wrote it.
    pub epoch: u64,
    /// Digest of job and input plan: another job or changed data starts afresh.
    pub identity: String,
    /// Number of the current step.
    pub step: u64,
    /// The machine; `None` right after a claim without an earlier state.
    pub machine: Option<M>,
}

/// The checkpoints of one run.
#[derive(Debug)]
pub struct Checkpoints {
    location: Location,
    /// Number of the next checkpoint.
    next: u64,
    /// Numbers of those that exist, oldest first.
    kept: Vec<u64>,
}

/// Checkpoints kept at any time: the last one, and the one before it in case that a reader is at it.
const KEEP: usize = 2;

impl Checkpoints {
    /// Claims the run for a new incarnation and returns its predecessor's last state.
    ///
    /// # Errors
    /// When the store fails. A checkpoint that cannot be decoded is skipped: an older one, or a fresh start, gives the same
    /// result later.
    pub async fn claim<M: DeserializeOwned + Serialize + Clone>(
        location: Location,
        identity: &str,
    ) -> Result<(Self, Checkpoint<M>), RunError> {
        for _ in 0..16 {
            let numbers = list(&location).await?;
            let mut last: Option<Checkpoint<M>> = None;
            for number in numbers.iter().rev() {
                if let Some(found) = read::<M>(&location, *number).await? {
                    last = Some(found);
                    break;
                }
            }
            let epoch = last.as_ref().map_or(0, |found| found.epoch) + 1;
            let resumed = last.filter(|found| found.identity == identity);
            let claimed = Checkpoint {
                epoch,
                identity: identity.to_owned(),
                step: resumed.as_ref().map_or(0, |found| found.step),
                machine: resumed.and_then(|found| found.machine),
            };
            let mut checkpoints =
                Self { location: location.clone(), next: numbers.last().map_or(1, |number| number + 1), kept: numbers };
            if checkpoints.put(&claimed).await? {
                return Ok((checkpoints, claimed));
            }
        }
        Err(RunError::transient(format!("{}: other coordinators keep claiming this run", location.uri)))
    }

    /// Writes the next checkpoint.
    ///
    /// # Errors
    /// When the store fails, or another coordinator has taken over.
    pub async fn save<M: Serialize>(&mut self, checkpoint: &Checkpoint<M>) -> Result<(), RunError> {
        if self.put(checkpoint).await? {
            return Ok(());
        }
        Err(RunError::transient(format!(
            "{}: another coordinator has taken over this run; this one (epoch {}) stops",
            self.location.uri, checkpoint.epoch
        )))
    }

    /// Removes all checkpoints of a run that is over. What cannot be removed is harmless.
    pub async fn clear(self) {
        for number in self.kept {
            let path = path(&self.location, number);
            if let Err(error) = self.location.store.delete(&path).await {
                tracing::debug!(%path, %error, "a checkpoint was left behind");
            }
        }
    }

    async fn put<M: Serialize>(&mut self, checkpoint: &Checkpoint<M>) -> Result<bool, RunError> {
        let bytes = postcard::to_stdvec(checkpoint)
            .map_err(|error| RunError::transient(format!("encode a checkpoint: {error}")))?;
        let digest = blake3::hash(&bytes);
        let sealed = [digest.as_bytes().as_slice(), &bytes].concat();
        let path = path(&self.location, self.next);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let store = &self.location.store;
        match store.put_opts(&path, PutPayload::from(sealed.clone()), options).await {
            Ok(_) => {}
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                // A put whose answer was lost is retried by the client and then meets its own object.
                let there = store.get(&path).await.ok();
                let same = match there {
                    Some(there) => there.bytes().await.is_ok_and(|bytes| bytes == sealed),
                    None => false,
                };
                if !same {
                    return Ok(false);
                }
            }
            Err(error) => return Err(failure(&self.location.uri, "writing a checkpoint", &error).into()),
        }
        self.kept.push(self.next);
        self.next += 1;
        while self.kept.len() > KEEP {
            let old = self.kept.remove(0);
            if let Err(error) = store.delete(&self::path(&self.location, old)).await {
                tracing::debug!(number = old, %error, "an old checkpoint was left behind");
            }
        }
        Ok(true)
    }
}

/// Writes checkpoints beside the run: the steps never wait for the store. While one is being written, only the newest of
/// those offered is kept; a successor then repeats a few more steps, to the same result.
#[derive(Debug)]
pub struct Saver<M> {
    newest: watch::Sender<Option<Checkpoint<M>>>,
    task: JoinHandle<Result<Checkpoints, RunError>>,
}

impl<M: Serialize + Clone + Send + Sync + 'static> Saver<M> {
    /// Takes charge of a run's checkpoints.
    #[must_use]
    pub fn new(mut checkpoints: Checkpoints) -> Self {
        let (newest, mut offered) = watch::channel(None::<Checkpoint<M>>);
        let task = tokio::spawn(async move {
            while offered.changed().await.is_ok() {
                let checkpoint = offered.borrow_and_update().clone();
                if let Some(checkpoint) = checkpoint {
                    checkpoints.save(&checkpoint).await?;
                }
            }
            Ok(checkpoints)
        });
        Self { newest, task }
    }

    /// Offers the state after a step.
    pub fn offer(&self, checkpoint: Checkpoint<M>) {
        self.newest.send_replace(Some(checkpoint));
    }

    /// Completes if checkpoints cannot be written any more.
    pub async fn failed(&mut self) -> RunError {
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) | Err(_) => RunError::transient("checkpoints are not written any more"),
        }
    }

    /// Waits until what was offered is written, and gives the checkpoints back.
    ///
    /// # Errors
    /// When the last write failed.
    pub async fn finish(self) -> Result<Checkpoints, RunError> {
        drop(self.newest);
        self.task.await.map_err(|error| RunError::transient(format!("the checkpoints' task ended: {error}")))?
    }
}

fn path(location: &Location, number: u64) -> Path {
    location.path.clone().join(format!("checkpoint-{number:010}"))
}

async fn list(location: &Location) -> Result<Vec<u64>, RunError> {
    let listed: Result<Vec<_>, _> = location.store.list(Some(&location.path)).try_collect().await;
    let objects = match listed {
        Ok(objects) => objects,
        Err(object_store::Error::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(failure(&location.uri, "listing checkpoints", &error).into()),
    };
    let number = |path: &Path| path.filename()?.strip_prefix("checkpoint-")?.parse().ok();
    let mut numbers: Vec<u64> = objects.iter().filter_map(|object| number(&object.location)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

async fn read<M: DeserializeOwned>(location: &Location, number: u64) -> Result<Option<Checkpoint<M>>, RunError> {
    let path = path(location, number);
    let bytes = match location.store.get(&path).await {
        Ok(found) => found.bytes().await.map_err(|error| failure(&location.uri, "reading a checkpoint", &error))?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(failure(&location.uri, "reading a checkpoint", &error).into()),
    };
    let Some((seal, body)) = bytes.split_at_checked(blake3::OUT_LEN) else { return Ok(None) };
    if blake3::hash(body).as_bytes().as_slice() != seal {
        tracing::warn!(%path, "a checkpoint is damaged and was skipped");
        return Ok(None);
    }
    Ok(postcard::from_bytes(body).ok())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    fn location() -> Location {
        Location { store: Arc::new(InMemory::new()), path: Path::from("runs/a-r1"), uri: "memory".into() }
    }

    #[tokio::test]
    async fn a_new_incarnation_resumes_the_state_and_fences_the_old_one() {
        let place = location();
        let (mut old, first) = Checkpoints::claim::<String>(place.clone(), "job").await.unwrap();
        assert_eq!((first.epoch, first.machine), (1, None));
        old.save(&Checkpoint { epoch: 1, identity: "job".into(), step: 7, machine: Some("seven".to_owned()) })
            .await
            .unwrap();
        let (mut new, resumed) = Checkpoints::claim::<String>(place.clone(), "job").await.unwrap();
        assert_eq!((resumed.epoch, resumed.step, resumed.machine.as_deref()), (2, 7, Some("seven")));
        let late = old
            .save(&Checkpoint { machine: Some("eight".to_owned()), step: 8, epoch: 1, identity: "job".into() })
            .await;
        assert!(late.unwrap_err().message.contains("another coordinator has taken over"));
        new.save(&Checkpoint { machine: Some("eight".to_owned()), step: 8, ..resumed }).await.unwrap();
        new.clear().await;
        assert_eq!(list(&place).await.unwrap(), Vec::<u64>::new());
    }

    #[tokio::test]
    async fn another_job_starts_afresh_with_a_higher_epoch() {
        let place = location();
        let (mut old, claimed) = Checkpoints::claim::<String>(place.clone(), "job").await.unwrap();
        old.save(&Checkpoint { machine: Some("state".to_owned()), ..claimed }).await.unwrap();
        let (_, fresh) = Checkpoints::claim::<String>(place, "changed job").await.unwrap();
        assert_eq!((fresh.epoch, fresh.step, fresh.machine), (2, 0, None));
    }

    #[tokio::test]
    async fn a_damaged_checkpoint_is_skipped() {
        let place = location();
        let (mut old, claimed) = Checkpoints::claim::<String>(place.clone(), "job").await.unwrap();
        old.save(&Checkpoint { machine: Some("good".to_owned()), step: 3, ..claimed.clone() }).await.unwrap();
        place
            .store
            .put(&path(&place, 9), PutPayload::from_static(b"rubbish that is longer than a digest of 32 bytes"))
            .await
            .unwrap();
        let (_, resumed) = Checkpoints::claim::<String>(place, "job").await.unwrap();
        assert_eq!((resumed.epoch, resumed.machine.as_deref()), (2, Some("good")));
    }
}
