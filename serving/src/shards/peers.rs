//! Which replica of a shard is asked, and when another one.
//!
//! The names of a shard's replicas are looked up every few seconds, and at once when a replica did not answer; questions go to the
//! addresses in turn. A replica that is down, busy, or of another model costs one more question, to another replica where there is one; one
//! that is slow has half of the time that is left, and two seconds at most.

use super::{Share, wire};
use crate::query::{ItemPlace, QueryError, Search, Served};
use coterie_model::items::{ItemIndex, Shard};
use coterie_protocol::internal::item_shards_client::ItemShardsClient;
use coterie_protocol::internal::{FindItemRequest, NearestItemsResponse};
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

/// How often names are looked up.
const LOOK_UP: Duration = Duration::from_secs(5);
/// How often they are after a replica did not answer.
const LOOK_UP_AGAIN: Duration = Duration::from_millis(100);
/// How long fresh names are waited for after that, before what is known is used again.
const FRESH: Duration = Duration::from_millis(250);
/// How long a replica that did not answer is passed over while another does.
const PASSED_OVER: Duration = Duration::from_secs(5);
/// Who was not given as much time is not passed over: the caller was in a hurry.
const FAIR: Duration = Duration::from_secs(1);
/// Longest time of the first replica, whatever is left: what waits takes the place of other requests.
const FIRST: Duration = Duration::from_secs(2);
/// Kept of the time that is left, so that the answer can still say what is missing.
const MARGIN: Duration = Duration::from_millis(50);
/// Time to establish a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// How often an idle connection is asked for a sign of life, and how long that may take.
const SIGN_OF_LIFE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// Largest answer: the ids of 1,000 items may be long.
const ANSWER_BYTES: usize = 64 << 20;

type Client = ItemShardsClient<Channel>;

/// The replicas of all shards.
#[derive(Debug)]
pub(crate) struct Peers {
    shards: Vec<Arc<Replicas>>,
}

/// The replicas of one shard.
#[derive(Debug)]
struct Replicas {
    /// Each `host:port`; a name may stand for several replicas.
    addresses: Vec<String>,
    known: Mutex<Known>,
    /// One lookup at a time: they cannot be cancelled.
    looking: Semaphore,
}

/// What is known of them.
#[derive(Debug, Default)]
struct Known {
    looked_up: Option<Instant>,
    addresses: Vec<SocketAddr>,
    clients: HashMap<SocketAddr, Client>,
    failed: HashMap<SocketAddr, Instant>,
    /// Turns by one with each question.
    turn: usize,
}

// === impl Peers ===

impl Peers {
    /// Peers at these addresses: of each shard those of its replicas.
    pub(crate) fn new(addresses: Vec<Vec<String>>) -> Self {
        let replicas =
            |addresses| Arc::new(Replicas { addresses, known: Mutex::default(), looking: Semaphore::new(1) });
        Self { shards: addresses.into_iter().map(replicas).collect() }
    }

    /// Number of shards.
    pub(crate) fn shards(&self) -> u32 {
        u32::try_from(self.shards.len()).unwrap_or(u32::MAX)
    }

    /// The item of a shard with this id.
    pub(crate) async fn find(
        &self,
        served: &Served,
        index: &ItemIndex,
        shard: Shard,
        id: &str,
        deadline: Instant,
    ) -> Result<Option<(ItemPlace, Vec<f32>)>, QueryError> {
        let request = FindItemRequest { shard: Some(wire::named(served, index, shard)), id: id.to_owned() };
        let ask = |mut client: Client, time| {
            let request = timed(request.clone(), time);
            async move { client.find_item(request).await }
        };
        let Some(item) = self.ask(shard, deadline, ask).await?.item else { return Ok(None) };
        let fits = item.vector.len() == served.model().dimension();
        let place = item.place.filter(|_| fits).ok_or_else(|| unreadable(shard))?;
        Ok(Some((wire::place(place), item.vector)))
    }

    /// The nearest items of a shard.
    pub(super) async fn nearest(
        &self,
        served: &Served,
        index: &ItemIndex,
        shard: Shard,
        search: &Search,
        deadline: Instant,
    ) -> Result<Share, QueryError> {
        let request = wire::request(wire::named(served, index, shard), search);
        let ask = |mut client: Client, time| {
            let request = timed(request.clone(), time);
            async move { client.nearest_items(request).await }
        };
        let NearestItemsResponse { items, identity } = self.ask(shard, deadline, ask).await?;
        let found = items.into_iter().map(wire::found).collect::<Option<_>>().ok_or_else(|| unreadable(shard))?;
        Ok(Share { found, identity })
    }

    /// Asks one replica of a shard, and another one if that fails.
    async fn ask<T, F>(
        &self,
        shard: Shard,
        deadline: Instant,
        ask: impl Fn(Client, Duration) -> F,
    ) -> Result<T, QueryError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let missing = |what| QueryError::ShardMissing { shard: shard.number(), shards: shard.of(), what };
        let replicas =
            self.shards.get(shard.number() as usize).ok_or_else(|| missing("it has no address".to_owned()))?;
        let mut words = BTreeSet::new();
        for last in [false, true] {
            let left = deadline.saturating_duration_since(Instant::now());
            let time = if last { left.saturating_sub(MARGIN) } else { FIRST.min(left / 2) };
            let begun = Instant::now();
            let mut asked = None;
            let attempt = async {
                let (address, client) = replicas.choose(last).await?;
                asked = Some(address);
                ask(client, time).await.map_err(|status| format!("{address}: {}", status.message()))
            };
            match tokio::time::timeout(time, attempt).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(what)) => {
                    words.insert(what);
                }
                Err(_elapsed) => {
                    let what = match asked {
                        Some(address) => format!("{address}: no answer within {time:.1?}"),
                        None => format!("its name is being looked up for {time:.1?}"),
                    };
                    words.insert(what);
                }
            };
            // Who had too little time has not failed. The client itself gives up a moment before.
            let hurried = time < FAIR && begun.elapsed() + MARGIN >= time;
            if let Some(address) = asked.filter(|_| !hurried) {
                replicas.pass_over(address);
            }
        }
        Err(missing(words.into_iter().collect::<Vec<_>>().join("; ")))
    }
}

/// A request that says how long its answer is waited for.
fn timed<T>(request: T, time: Duration) -> Request<T> {
    let mut request = Request::new(request);
    request.set_timeout(time);
    request
}

fn unreadable(shard: Shard) -> QueryError {
    let what = "its answer lacks fields".to_owned();
    QueryError::ShardMissing { shard: shard.number(), shards: shard.of(), what }
}

// === impl Replicas ===

impl Replicas {
    /// The replica whose turn it is, one that failed a moment ago only if there is no other. `failed` tells that one just did.
    async fn choose(self: &Arc<Self>, failed: bool) -> Result<(SocketAddr, Client), String> {
        if self.known().addresses.is_empty() {
            self.find_first().await?;
        } else if self.must_look_up(Instant::now(), failed) {
            // What is known serves where this takes long, or meanwhile.
            let this = Arc::clone(self);
            let renewal = tokio::spawn(async move { this.renew().await });
            if failed {
                let _ = tokio::time::timeout(FRESH, renewal).await;
            }
        }
        let mut known = self.known();
        let address =
            known.next(Instant::now()).ok_or_else(|| format!("{} has no replicas", self.addresses.join(", ")))?;
        let client = match known.clients.get(&address) {
            Some(client) => client.clone(),
            None => {
                let client = connect(address)?;
                known.clients.insert(address, client.clone());
                client
            }
        };
        Ok((address, client))
    }

    /// Looks the names up where nothing is known of them yet.
    async fn find_first(&self) -> Result<(), String> {
        let _turn = self.looking.acquire().await.map_err(|closed| closed.to_string())?;
        // Somebody else may have found them meanwhile.
        if !self.known().addresses.is_empty() {
            return Ok(());
        }
        let found = self.look_up().await;
        self.known().take_in(found, Instant::now())
    }

    /// Looks the names up again, unless somebody does already.
    async fn renew(&self) {
        let Ok(_turn) = self.looking.try_acquire() else { return };
        let found = self.look_up().await;
        // Something is known, so this cannot fail.
        let _ = self.known().take_in(found, Instant::now());
    }

    /// Whether names must be looked up now.
    fn must_look_up(&self, now: Instant, failed: bool) -> bool {
        let mut known = self.known();
        let after = if failed { LOOK_UP_AGAIN } else { LOOK_UP };
        let due = known.looked_up.is_none_or(|time| now >= time + after);
        if due {
            known.looked_up = Some(now);
        }
        due
    }

    /// Passes a replica over for a while.
    fn pass_over(&self, address: SocketAddr) {
        self.known().failed.insert(address, Instant::now());
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The addresses behind the names, in order.
    async fn look_up(&self) -> Result<Vec<SocketAddr>, String> {
        let (mut all, mut failure) = (BTreeSet::new(), None);
        for name in &self.addresses {
            match tokio::net::lookup_host(name).await {
                Ok(found) => all.extend(found),
                Err(error) => failure = Some(format!("{name}: {error}")),
            }
        }
        // What was known of a name that could not be looked up still holds.
        if failure.is_some() {
            all.extend(&self.known().addresses);
        }
        if all.is_empty() {
            return Err(failure.unwrap_or_else(|| format!("{} has no replicas", self.addresses.join(", "))));
        }
        Ok(all.into_iter().collect())
    }
}

// === impl Known ===

impl Known {
    /// Takes in what was found under the names. Where nothing was, what was known before still holds.
    fn take_in(&mut self, found: Result<Vec<SocketAddr>, String>, now: Instant) -> Result<(), String> {
        match found {
            Ok(addresses) => self.addresses = addresses,
            Err(what) if self.addresses.is_empty() => return Err(what),
            Err(what) => tracing::warn!(what, "replicas of a shard could not be looked up"),
        }
        let Self { addresses, clients, failed, .. } = self;
        clients.retain(|address, _| addresses.contains(address));
        failed.retain(|address, time| addresses.contains(address) && now < *time + PASSED_OVER);
        Ok(())
    }

    /// The address whose turn it is.
    fn next(&mut self, now: Instant) -> Option<SocketAddr> {
        self.turn = self.turn.wrapping_add(1);
        let well = |address: &&SocketAddr| self.failed.get(address).is_none_or(|time| now >= *time + PASSED_OVER);
        let good: Vec<&SocketAddr> = self.addresses.iter().filter(well).collect();
        let among = if good.is_empty() { self.addresses.iter().collect() } else { good };
        among.get(self.turn.checked_rem(among.len())?).map(|address| **address)
    }
}

/// A client that connects when it is first used, and again whenever its connection was lost.
fn connect(address: SocketAddr) -> Result<Client, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| format!("{address}: {error}"))?;
    let (every, within) = SIGN_OF_LIFE;
    let channel = endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(every)
        .keep_alive_timeout(within)
        .keep_alive_while_idle(true)
        .connect_lazy();
    Ok(ItemShardsClient::new(channel).max_decoding_message_size(ANSWER_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn replicas_take_turns_and_one_that_failed_sits_out() {
        let now = Instant::now();
        let mut known = Known { addresses: vec![address(1), address(2)], ..Known::default() };
        let ports = |known: &mut Known, at| {
            let mut ports: Vec<u16> = (0..4).filter_map(|_| known.next(at)).map(|address| address.port()).collect();
            ports.sort_unstable();
            ports
        };
        assert_eq!(ports(&mut known, now), [1, 1, 2, 2]);
        known.failed.insert(address(1), now);
        assert_eq!(ports(&mut known, now), [2, 2, 2, 2]);
        assert_eq!(ports(&mut known, now + PASSED_OVER), [1, 1, 2, 2]);
        // Better one that failed than none.
        known.failed.insert(address(2), now);
        assert_eq!(ports(&mut known, now), [1, 1, 2, 2]);
        assert_eq!(Known::default().next(now), None);
    }

    #[test]
    fn names_that_cannot_be_looked_up_leave_what_is_known() {
        let now = Instant::now();
        let mut known = Known::default();
        assert_eq!(known.take_in(Err("no such name".to_owned()), now), Err("no such name".to_owned()));
        assert_eq!(known.take_in(Ok(vec![address(1)]), now), Ok(()));
        known.failed.insert(address(1), now);
        assert_eq!(known.take_in(Err("no such name".to_owned()), now), Ok(()));
        assert_eq!(known.addresses, [address(1)]);
        assert_eq!(known.take_in(Ok(vec![address(2)]), now), Ok(()));
        assert!(known.failed.is_empty());
    }
}
