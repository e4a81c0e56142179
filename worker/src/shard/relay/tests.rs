//! Workers above and below each other, over real connections, with a coordinator that only counts.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use coterie_crds::run::{CoordinatorAddress, RunConfig};
use coterie_protocol::internal::{
    Chunk, FailRequest, FailResponse, Fence, FetchRequest, HeartbeatRequest, HeartbeatResponse, Place, PollRequest,
    PollResponse, RegisterRequest, RegisterResponse, SplitRef, StatusRequest, StatusResponse, SubmitRequest,
    SubmitResponse, Work,
    coordination_client::CoordinationClient,
    coordination_server::{Coordination, CoordinationServer},
};
use futures::{Stream, future::join_all};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::{
    Relay,
    above::Above,
    ascent::{Ascent, Own},
};
use crate::{
    error::RunError,
    machine::Merge,
    reduction::contribution::{self, Reading},
    shard::link::Client,
    task::AbortOnDrop,
    tls,
};

/// Five numbers, each a piece.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Numbers(Vec<u64>);

impl Numbers {
    fn of(worker: u64) -> Self {
        Self((0..5).map(|at| 10u64.pow(at) * worker).collect())
    }
}

impl Merge for Numbers {
    fn merge(&mut self, other: Self) -> Result<(), RunError> {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
        Ok(())
    }

    fn cut(self) -> Vec<Self> {
        self.0.into_iter().map(|number| Self(vec![number])).collect()
    }

    fn join(pieces: Vec<Self>) -> Result<Self, RunError> {
        Ok(Self(pieces.into_iter().flat_map(|piece| piece.0).collect()))
    }
}

/// Counts contributions, each worker's share once, unless it is told to refuse merged ones.
#[derive(Clone, Debug, Default)]
struct Counting {
    refuses_merged: bool,
    counted: Arc<Mutex<BTreeMap<Vec<u64>, Numbers>>>,
}

impl Counting {
    fn workers(&self) -> Vec<Vec<u64>> {
        self.counted.lock().unwrap().keys().cloned().collect()
    }

    fn total(&self) -> Numbers {
        let counted = self.counted.lock().unwrap();
        let mut total = Numbers(vec![0; 5]);
        counted.values().for_each(|numbers| total.merge(numbers.clone()).unwrap());
        total
    }
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("this coordinator only counts"))
}

#[tonic::async_trait]
impl Coordination for Counting {
    type FetchStream = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

    async fn submit(&self, request: Request<Streaming<SubmitRequest>>) -> Result<Response<SubmitResponse>, Status> {
        let (header, reading) = Reading::open(request.into_inner()).await?;
        let pieces = reading.rest().await?;
        let mut workers: Vec<u64> = header.shares.iter().map(|share| share.worker).collect();
        workers.sort_unstable();
        let mut counted = self.counted.lock().unwrap();
        let known = counted.keys().flatten().any(|worker| workers.contains(worker));
        let refused = self.refuses_merged && workers.len() > 1;
        let accepted = !known && !refused;
        if accepted {
            counted.insert(workers, contribution::decode(&pieces).unwrap());
        }
        Ok(Response::new(SubmitResponse { accepted }))
    }

    async fn register(&self, _: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        not_here()
    }
    async fn heartbeat(&self, _: Request<HeartbeatRequest>) -> Result<Response<HeartbeatResponse>, Status> {
        not_here()
    }
    async fn poll(&self, _: Request<PollRequest>) -> Result<Response<PollResponse>, Status> {
        not_here()
    }
    async fn fetch(&self, _: Request<FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        not_here()
    }
    async fn fail(&self, _: Request<FailRequest>) -> Result<Response<FailResponse>, Status> {
        not_here()
    }
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        not_here()
    }
}

/// A run of which only the network is real.
struct Net {
    config: RunConfig,
    _directory: TempDir,
    _coordinator: AbortOnDrop,
}

impl Net {
    async fn new(coordinator: Counting) -> Self {
        let directory = tempfile::tempdir().unwrap();
        tls::create(directory.path()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = directory.path().join("coordinator.addr");
        std::fs::write(&address, listener.local_addr().unwrap().to_string()).unwrap();
        let incoming = tls::incoming(listener, tls::acceptor(directory.path()).unwrap());
        let server = Server::builder().add_service(CoordinationServer::new(coordinator)).serve_with_incoming(incoming);
        let config = RunConfig {
            run: "r".to_owned(),
            version: None,
            job: job(),
            coordinator: CoordinatorAddress::File(address),
            lease_millis: 1000,
            patience_millis: 1000,
            tls: directory.path().to_owned(),
            retention: None,
            relay_from_bytes: 0,
        };
        let coordinator = AbortOnDrop(tokio::spawn(async { server.await.unwrap() }));
        Self { config, _directory: directory, _coordinator: coordinator }
    }

    async fn worker(&self, id: u64) -> Worker {
        let relay = Relay::default();
        let (port, server) = super::start(&self.config, relay.clone()).await.unwrap();
        let (coordinator, _): (CoordinationClient<_>, _) = crate::shard::link::connect(&self.config).await.unwrap();
        let above = Above::new(self.config.tls.clone());
        Worker { id, relay, port, coordinator, above, _server: server }
    }
}

fn job() -> coterie_crds::resolved::ResolvedJob {
    let manifest = "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {name: j}\nspec: {source: {uri: \
                    /nowhere, columns: {vector: v}}, algorithm: {kMeans: {clusters: 2}}}\n";
    coterie_crds::validate(manifest).unwrap()
}

struct Worker {
    id: u64,
    relay: Relay,
    port: u16,
    coordinator: Client,
    above: Above,
    _server: AbortOnDrop,
}

const STEP: u64 = 3;

impl Worker {
    fn fence(&self) -> Fence {
        Fence { run: "r".to_owned(), epoch: 1, worker: self.id }
    }

    fn work(&self, parent: Option<u16>, children: &[u64]) -> Work {
        let parent = parent.map_or_else(String::new, |port| format!("127.0.0.1:{port}"));
        Work {
            step: STEP,
            splits: vec![SplitRef { split: self.id as u32, attempt: 0 }],
            place: Some(Place { parent, children: children.to_vec() }),
        }
    }

    /// Does its part of the step, after a while.
    async fn step(&mut self, parent: Option<u16>, children: &[u64], computing: Duration) -> Result<(), Status> {
        let (fence, work) = (self.fence(), self.work(parent, children));
        let (_station, arrivals) = self.relay.begin(&fence, &work);
        tokio::time::sleep(computing).await;
        let ascent = Ascent {
            coordinator: &mut self.coordinator,
            above: &mut self.above,
            fence: &fence,
            work: &work,
            arrivals,
            patience: Duration::from_millis(500),
        };
        let sent = ascent.send(Own::new(Numbers::of(self.id)).unwrap()).await;
        self.relay.end();
        sent
    }
}

const SOON: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_secs(1);

/// Workers 1 to 7: 1 and 2 below the coordinator, 3 and 4 below 1, 5 below 2, 6 and 7 below 3.
async fn seven(coordinator: &Counting, computing: impl Fn(u64) -> Duration) {
    let net = Net::new(coordinator.clone()).await;
    let mut workers = join_all((1..=7).map(|id| net.worker(id))).await;
    let ports: Vec<u16> = workers.iter().map(|worker| worker.port).collect();
    let children: [&[u64]; 7] = [&[3, 4], &[5], &[6, 7], &[], &[], &[], &[]];
    let parents = [None, None, Some(1), Some(1), Some(2), Some(3), Some(3)];
    let steps = workers.iter_mut().zip(children).zip(parents).map(|((worker, children), parent)| {
        let computing = computing(worker.id);
        worker.step(parent.map(|parent: usize| ports[parent - 1]), children, computing)
    });
    let sent = tokio::time::timeout(Duration::from_secs(20), join_all(steps)).await.expect("all workers end");
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert_eq!(coordinator.total(), Numbers::of(28), "each worker counts once: {:?}", coordinator.workers());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_contributions_hold_those_of_seven_workers() {
    let coordinator = Counting::default();
    seven(&coordinator, |id| SOON * (8 - id as u32)).await;
    assert_eq!(coordinator.workers(), [vec![1, 3, 4, 6, 7], vec![2, 5]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_goes_to_the_coordinator_with_all_it_has() {
    let coordinator = Counting::default();
    seven(&coordinator, |id| if id == 3 { LATE } else { SOON }).await;
    assert_eq!(coordinator.workers(), [vec![1, 4], vec![2, 5], vec![3, 6, 7]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_count_together_counts_one_by_one() {
    let coordinator = Counting { refuses_merged: true, ..Counting::default() };
    seven(&coordinator, |_| SOON).await;
    assert_eq!(coordinator.workers(), (1..=7).map(|id| vec![id]).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_worker_that_is_not_there() {
    let coordinator = Counting::default();
    let net = Net::new(coordinator.clone()).await;
    let (mut below, mut above) = (net.worker(1).await, net.worker(2).await);
    // Nothing listens on the port of the one above it, and one of those below never comes.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    below.step(Some(gone), &[7], SOON).await.unwrap();
    assert_eq!(coordinator.workers(), [[1]]);
    // The one above is at another step.
    let at = Work { step: STEP + 1, ..above.work(None, &[3]) };
    let (_station, _arrivals) = above.relay.begin(&above.fence(), &at);
    let mut third = net.worker(3).await;
    third.step(Some(above.port), &[], SOON).await.unwrap();
    // It has let those below go.
    above.step(None, &[4], SOON).await.unwrap();
    let mut fourth = net.worker(4).await;
    let start = std::time::Instant::now();
    fourth.step(Some(above.port), &[], SOON).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "it has been at that step and will not come there");
    assert_eq!(coordinator.workers(), [[1], [2], [3], [4]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contribution_that_breaks_off_is_not_merged() {
    let coordinator = Counting::default();
    let net = Net::new(coordinator.clone()).await;
    let (mut above, mut breaking) = (net.worker(1).await, net.worker(2).await);
    let address = format!("127.0.0.1:{}", above.port);
    let torn = async {
        let mut client = breaking.above.client(&address).await.unwrap();
        let shares = vec![contribution::share(crate::session::WorkerId(2), Vec::new())];
        let pieces = contribution::encode(&Numbers::of(2).cut()).unwrap();
        let mut messages = contribution::Spelling::whole(&breaking.fence(), STEP, shares, &pieces);
        messages.truncate(4);
        client.merge(futures::stream::iter(messages)).await
    };
    let (sent, answer) = tokio::join!(above.step(None, &[2], SOON), torn);
    sent.unwrap();
    assert!(!answer.is_ok_and(|answer| answer.get_ref().accepted));
    assert_eq!(coordinator.workers(), [[1]]);
    assert_eq!(coordinator.total(), Numbers::of(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_flows_down_as_it_arrives() {
    let net = Net::new(Counting::default()).await;
    let (above, mut below) = (net.worker(1).await, net.worker(2).await);
    let address = format!("127.0.0.1:{}", above.port);
    let (station, _arrivals) = above.relay.begin(&above.fence(), &above.work(None, &[2]));
    station.feed.push(Bytes::from_static(b"first "));
    let feed = super::Feed::default();
    let fence = below.fence();
    let fetched = async { below.above.fetch(&address, &fence, STEP, &feed).await };
    let feeding = async {
        while feed.length() < 6 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        station.feed.push(Bytes::from_static(b"second"));
        station.feed.complete();
    };
    let (fetched, ()) =
        tokio::time::timeout(Duration::from_secs(10), async { tokio::join!(fetched, feeding) }).await.unwrap();
    fetched.unwrap();
    assert_eq!(feed.complete(), Bytes::from_static(b"first second"));

    // A worker that ends in the middle says so.
    let (station, arrivals) = above.relay.begin(&above.fence(), &Work { step: STEP + 1, ..above.work(None, &[2]) });
    station.feed.push(Bytes::from_static(b"only "));
    let feed = super::Feed::default();
    let ending = async {
        while feed.length() < 5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        above.relay.end();
        drop((station, arrivals));
    };
    let fetched = async { below.above.fetch(&address, &fence, STEP + 1, &feed).await };
    let (fetched, ()) = tokio::join!(fetched, ending);
    assert_eq!(fetched.unwrap_err().code(), tonic::Code::Aborted);
    assert_eq!(feed.length(), 5, "the rest is fetched elsewhere");
}
