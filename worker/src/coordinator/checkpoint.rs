//! Checkpoints: the coordinator's state in the object store, so that a restarted coordinator goes on where the last one
//! was.
//!
//! Checkpoints are numbered objects that are only ever created, never overwritten. A coordinator that starts claims the
//! next number with a higher epoch; one that was replaced finds its own next number taken and stops. That number must
//! therefore stay taken: a coordinator deletes only checkpoints that it wrote itself after its claim, and the rest when
//! the run is over. So at most one coordinator of a run makes progress, on every store that can create an object
//! conditionally.

use coterie_data::store::{Location, failure};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{sync::watch, task::JoinHandle};

use crate::error::RunError;

/// Layout of a checkpoint's bytes; another one is not read.
const FORMAT: u32 = 3;

/// What is known of a checkpoint without its machine, whose layout may differ between versions of this program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    format: u32,
    /// Distinguishes two coordinators that claim at the same moment.
    incarnation: u128,
    epoch: u64,
    identity: String,
    step: u64,
}

/// The state of a run.
#[derive(Clone, Debug)]
pub struct Checkpoint<M> {
    /// Incarnation of the coordinator that wrote it, counted from 1.
    pub epoch: u64,
    /// Number of the current step.
    pub step: u64,
    /// The machine; `None` right after a claim without an earlier state.
    pub machine: Option<M>,
}

/// The checkpoints of one run.
#[derive(Debug)]
pub struct Checkpoints {
    location: Location,
    incarnation: u128,
    /// Digest of job and input plan: another job or changed data starts afresh.
    identity: String,
    /// Number of the next checkpoint.
    next: u64,
    /// Numbers up to and including the claim; they stay until the run is over.
    older: Vec<u64>,
    /// Numbers written since the claim, oldest first.
    kept: Vec<u64>,
}

/// Checkpoints kept of those since the claim: the last one, and the one before it in case that a reader is at it.
const KEEP: usize = 2;

impl Checkpoints {
    /// Claims the run for a new incarnation and returns its predecessor's last state. `incarnation` is unique to the caller.
    ///
    /// # Errors
    /// When the store fails. A checkpoint that cannot be decoded is skipped: an older one, or a fresh start, gives the same
    /// result later.
    pub async fn claim<M: DeserializeOwned + Serialize + Clone>(
        location: Location,
        identity: &str,
        incarnation: u128,
    ) -> Result<(Self, Checkpoint<M>), RunError> {
        for _ in 0..16 {
            let numbers = list(&location).await?;
            let mut epoch = 0;
            let mut resumed: Option<Checkpoint<M>> = None;
            for number in numbers.iter().rev() {
                let Some((header, machine)) = read(&location, *number).await? else { continue };
                epoch = epoch.max(header.epoch);
                if header.identity == identity && !machine.is_empty() {
                    match postcard::from_bytes(&machine) {
                        Ok(machine) => {
                            resumed =
                                Some(Checkpoint { epoch: header.epoch, step: header.step, machine: Some(machine) });
                            break;
                        }
                        Err(error) => tracing::warn!(number, %error, "a checkpoint of another version was skipped"),
                    }
                }
            }
            let claimed = Checkpoint {
                epoch: epoch + 1,
                step: resumed.as_ref().map_or(0, |found| found.step),
                machine: resumed.and_then(|found| found.machine),
            };
            let mut checkpoints = Self {
                location: location.clone(),
                incarnation,
                identity: identity.to_owned(),
                next: numbers.last().map_or(1, |number| number + 1),
                older: numbers,
                kept: Vec::new(),
            };
            if checkpoints.put(&claimed).await? {
                checkpoints.older.append(&mut checkpoints.kept);
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

    async fn put<M: Serialize>(&mut self, checkpoint: &Checkpoint<M>) -> Result<bool, RunError> {
        let header = Header {
            format: FORMAT,
            incarnation: self.incarnation,
            epoch: checkpoint.epoch,
            identity: self.identity.clone(),
            step: checkpoint.step,
        };
        let sealed = seal(&header, checkpoint.machine.as_ref())
            .map_err(|error| RunError::transient(format!("encode a checkpoint: {error}")))?;
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
            remove(&self.location, old).await;
        }
        Ok(true)
    }
}

/// Removes all checkpoints of a run that is over. What cannot be removed is harmless.
pub async fn clear(location: &Location) {
    match list(location).await {
        Ok(numbers) => {
            for number in numbers {
                remove(location, number).await;
            }
        }
        Err(error) => tracing::debug!(%error, "checkpoints were left behind"),
    }
}

async fn remove(location: &Location, number: u64) {
    let path = path(location, number);
    if let Err(error) = location.store.delete(&path).await {
        tracing::debug!(%path, %error, "a checkpoint was left behind");
    }
}

/// Writes checkpoints beside the run: the steps never wait for the store. While one is being written, only the newest of
/// those offered is kept; a successor then repeats a few more steps, to the same result.
#[derive(Debug)]
pub struct Saver<M> {
    newest: watch::Sender<Option<Checkpoint<M>>>,
    /// `None` once its failure was told.
    task: Option<JoinHandle<Result<Checkpoints, RunError>>>,
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
        Self { newest, task: Some(task) }
    }

    /// Offers the state after a step.
    pub fn offer(&self, checkpoint: Checkpoint<M>) {
        self.newest.send_replace(Some(checkpoint));
    }

    /// Completes if checkpoints cannot be written any more.
    pub async fn failed(&mut self) -> RunError {
        let Some(task) = &mut self.task else { return unwritten() };
        let ended = task.await;
        self.task = None;
        match ended {
            Ok(Err(error)) => error,
            Ok(Ok(_)) | Err(_) => unwritten(),
        }
    }

    /// Waits until what was offered is written, and gives the checkpoints back.
    ///
    /// # Errors
    /// When the last write failed, or an earlier one.
    pub async fn finish(self) -> Result<Checkpoints, RunError> {
        drop(self.newest);
        let task = self.task.ok_or_else(unwritten)?;
        task.await.map_err(|error| RunError::transient(format!("the checkpoints' task ended: {error}")))?
    }
}

fn unwritten() -> RunError {
    RunError::transient("checkpoints are not written any more")
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

/// Digest, length of the header, header, machine (nothing if there is none).
fn seal<M: Serialize>(header: &Header, machine: Option<&M>) -> Result<Vec<u8>, postcard::Error> {
    let header = postcard::to_stdvec(header)?;
    let machine = machine.map(postcard::to_stdvec).transpose()?.unwrap_or_default();
    let body = [&(header.len() as u32).to_le_bytes()[..], &header, &machine].concat();
    Ok([blake3::hash(&body).as_bytes().as_slice(), &body].concat())
}

fn unseal(sealed: &[u8]) -> Option<(Header, Vec<u8>)> {
    let (digest, body) = sealed.split_at_checked(blake3::OUT_LEN)?;
    if blake3::hash(body).as_bytes().as_slice() != digest {
        return None;
    }
    let (length, rest) = body.split_first_chunk::<4>()?;
    let (header, machine) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let header: Header = postcard::from_bytes(header).ok()?;
    (header.format == FORMAT).then(|| (header, machine.to_vec()))
}

async fn read(location: &Location, number: u64) -> Result<Option<(Header, Vec<u8>)>, RunError> {
    let path = path(location, number);
    let bytes = match location.store.get(&path).await {
        Ok(found) => found.bytes().await.map_err(|error| failure(&location.uri, "reading a checkpoint", &error))?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(failure(&location.uri, "reading a checkpoint", &error).into()),
    };
    let found = unseal(&bytes);
    if found.is_none() {
        tracing::warn!(%path, "a damaged checkpoint was skipped");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    fn location() -> Location {
        Location { store: Arc::new(InMemory::new()), path: Path::from("runs/a-r1"), uri: "memory".into() }
    }

    fn state(epoch: u64, step: u64, machine: &str) -> Checkpoint<String> {
        Checkpoint { epoch, step, machine: Some(machine.to_owned()) }
    }

    #[tokio::test]
    async fn a_new_incarnation_resumes_the_state_and_fences_the_old_one() {
        let place = location();
        let (mut old, first) = Checkpoints::claim::<String>(place.clone(), "job", 1).await.unwrap();
        assert_eq!((first.epoch, first.machine), (1, None));
        old.save(&state(1, 7, "seven")).await.unwrap();
        let (mut new, resumed) = Checkpoints::claim::<String>(place.clone(), "job", 2).await.unwrap();
        assert_eq!((resumed.epoch, resumed.step, resumed.machine.as_deref()), (2, 7, Some("seven")));
        // However many checkpoints the new one writes and deletes, the old one's next number stays taken.
        for step in 8..20 {
            new.save(&state(2, step, "further")).await.unwrap();
        }
        let (third, _) = Checkpoints::claim::<String>(place.clone(), "job", 3).await.unwrap();
        let late = old.save(&state(1, 8, "eight")).await;
        assert!(late.unwrap_err().message.contains("another coordinator has taken over"));
        assert!(new.save(&state(2, 20, "late")).await.is_err());
        drop(third);
        clear(&place).await;
        assert_eq!(list(&place).await.unwrap(), Vec::<u64>::new());
    }

    #[tokio::test]
    async fn of_two_that_claim_at_the_same_moment_one_wins() {
        let place = location();
        let (mut first, _) = Checkpoints::claim::<String>(place.clone(), "job", 1).await.unwrap();
        let mut second = Checkpoints { incarnation: 2, next: 1, older: vec![], kept: vec![], ..clone(&first) };
        assert!(!second.put(&Checkpoint::<String> { epoch: 1, step: 0, machine: None }).await.unwrap());
        // A put whose answer was lost is recognised.
        first.next = 1;
        assert!(first.put(&Checkpoint::<String> { epoch: 1, step: 0, machine: None }).await.unwrap());
    }

    fn clone(of: &Checkpoints) -> Checkpoints {
        Checkpoints {
            location: of.location.clone(),
            incarnation: of.incarnation,
            identity: of.identity.clone(),
            next: of.next,
            older: of.older.clone(),
            kept: of.kept.clone(),
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_once_and_stays_one() {
        let place = location();
        let (old, _) = Checkpoints::claim::<String>(place.clone(), "job", 1).await.unwrap();
        let _new = Checkpoints::claim::<String>(place, "job", 2).await.unwrap();
        let mut saver = Saver::new(old);
        saver.offer(state(1, 1, "late"));
        assert!(saver.failed().await.message.contains("another coordinator has taken over"));
        assert!(saver.failed().await.is_transient());
        assert!(saver.finish().await.unwrap_err().is_transient());
    }

    #[tokio::test]
    async fn another_job_starts_afresh_with_a_higher_epoch() {
        let place = location();
        let (mut old, _) = Checkpoints::claim::<String>(place.clone(), "job", 1).await.unwrap();
        old.save(&state(1, 1, "state")).await.unwrap();
        let (_, fresh) = Checkpoints::claim::<String>(place, "changed job", 2).await.unwrap();
        assert_eq!((fresh.epoch, fresh.step, fresh.machine), (2, 0, None));
    }

    #[tokio::test]
    async fn damage_and_other_layouts_are_skipped_and_the_epoch_still_grows() {
        let place = location();
        let (mut old, _) = Checkpoints::claim::<String>(place.clone(), "job", 1).await.unwrap();
        old.save(&state(1, 3, "good")).await.unwrap();
        let rubbish = PutPayload::from_static(b"rubbish that is longer than a digest of 32 bytes");
        place.store.put(&path(&place, 9), rubbish).await.unwrap();
        let (_, resumed) = Checkpoints::claim::<String>(place.clone(), "job", 2).await.unwrap();
        assert_eq!((resumed.epoch, resumed.machine.as_deref()), (2, Some("good")));
        // The machine of another version does not decode as this one's.
        let (_, fresh) = Checkpoints::claim::<(String, String, u64)>(place, "job", 3).await.unwrap();
        assert_eq!((fresh.epoch, fresh.machine), (3, None));
    }
}
