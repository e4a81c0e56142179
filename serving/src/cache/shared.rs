//! Answers that replicas share through a server that speaks Redis' protocol.

use super::connect::{TlsSettings, connect};
use super::key::Key;
use super::{Answer, stored};
use crate::metrics::Metrics;
use redis::RedisError;
use redis::aio::MultiplexedConnection;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// First pause before another attempt to connect, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Answers that are being sent at once; more are not shared.
const SENDING: usize = 64;

/// Where answers are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSettings {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is encrypted; not at all when unset.
    pub tls: Option<TlsSettings>,
    /// User to log in as; the default user when unset.
    pub username: Option<String>,
    /// Password to log in with.
    pub password: Option<String>,
    /// How long an answer is waited for.
    pub timeout: Duration,
}

/// A connection that is there or being made again.
#[derive(Debug)]
pub(super) struct Shared {
    settings: SharedSettings,
    time_to_live: Duration,
    connection: Mutex<Option<MultiplexedConnection>>,
    /// Told when the connection was given up.
    lost: Notify,
    sending: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for SharedSettings {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl Shared {
    /// Connects now and whenever the connection is lost, for as long as what is returned is held.
    pub(super) fn start(settings: SharedSettings, time_to_live: Duration, metrics: Arc<Metrics>) -> Arc<Self> {
        let shared = Arc::new(Self {
            settings,
            time_to_live,
            connection: Mutex::default(),
            lost: Notify::new(),
            sending: Arc::new(Semaphore::new(SENDING)),
            metrics,
        });
        let held = Arc::downgrade(&shared);
        tokio::spawn(async move {
            let mut pause = PAUSES.0;
            while let Some(shared) = held.upgrade() {
                match connect(&shared.settings).await {
                    Ok(connection) => {
                        tracing::info!(server = ?shared.settings, "sharing answers");
                        pause = PAUSES.0;
                        shared.set(Some(connection));
                        shared.lost.notified().await;
                    }
                    Err(error) => {
                        tracing::warn!(server = ?shared.settings, %error, "answers cannot be shared; trying again");
                        pause = (2 * pause).min(PAUSES.1);
                    }
                }
                drop(shared);
                tokio::time::sleep(pause).await;
            }
        });
        shared
    }

    /// An answer that some replica has shared.
    pub(super) async fn get(&self, key: Key) -> Option<Answer> {
        let mut connection = self.connection()?;
        match redis::cmd("GET").arg(key.text()).query_async::<Option<Vec<u8>>>(&mut connection).await {
            Ok(text) => text.and_then(|text| stored::decode(&text)),
            Err(error) => {
                self.give_up(&error);
                None
            }
        }
    }

    /// Shares an answer, aside from whoever waits for it.
    pub(super) fn put(self: &Arc<Self>, key: Key, answer: Arc<Answer>) {
        let Some(mut connection) = self.connection() else { return };
        let Ok(permit) = Arc::clone(&self.sending).try_acquire_owned() else { return };
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let Some(text) = stored::encode(&answer) else { return };
            let mut command = redis::cmd("SET");
            command.arg(key.text()).arg(text).arg("PX").arg(shared.time_to_live.as_millis() as u64);
            if let Err(error) = command.query_async::<()>(&mut connection).await {
                shared.give_up(&error);
            }
            drop(permit);
        });
    }

    fn connection(&self) -> Option<MultiplexedConnection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, connection: Option<MultiplexedConnection>) -> bool {
        self.metrics.set_sharing(connection.is_some());
        let mut place = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, connection).is_some()
    }

    /// Leaves the server alone for a while.
    fn give_up(&self, error: &RedisError) {
        // Of several requests that wait for it, the first to fail says so.
        if self.set(None) {
            tracing::warn!(server = ?self.settings, %error, "answers are not shared for a while");
            self.lost.notify_one();
        }
    }
}
