//! `coterie operator`: looks after the `ClusteringJob`s of a cluster.

use std::net::SocketAddr;

use clap::Args;
use coterie_operator::{Config, Error, Settings};
use jiff::SignedDuration;
use tokio::net::TcpListener;

use crate::{Failure, serve::runtime, signals};

/// Look after the ClusteringJobs of a Kubernetes cluster: train, serve, report.
///
/// The cluster is the one that KUBECONFIG names, or that of the pod the operator runs in.
#[derive(Args)]
pub(crate) struct Operator {
    /// Image of training and serving pods. It should be the operator's own, so that all parts are of one version.
    #[arg(long, value_name = "IMAGE", env = "COTERIE_IMAGE")]
    image: String,
    /// When nodes pull the image: Always, IfNotPresent or Never.
    #[arg(long, value_name = "POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: String,
    /// Namespace to look after; may be repeated. Without it: all namespaces.
    #[arg(long = "namespace", value_name = "NAMESPACE")]
    namespaces: Vec<String>,
    /// Address for health and metrics.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080")]
    http: SocketAddr,
    /// Jobs handled at the same time.
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Time between two questions for the progress of a run, such as 5s or 1m; at least 1s.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = interval)]
    progress_interval: SignedDuration,
    /// Whether replicas agree on one that works. Without it there must be only one.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    leader_election: bool,
    /// Name of this replica, its pod.
    #[arg(long, value_name = "NAME", env = "POD_NAME", hide = true)]
    pod_name: Option<String>,
    /// Namespace of this replica, in which the replicas elect their leader.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", hide = true)]
    pod_namespace: Option<String>,
}

impl Operator {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        runtime()?.block_on(self.operate())
    }

    async fn operate(self) -> Result<(), Failure> {
        let listener = TcpListener::bind(self.http)
            .await
            .map_err(|error| Failure::usage(format!("listen on {}: {error}; choose a free address", self.http)))?;
        let mut settings = Settings::new(self.image);
        settings.image_pull_policy = self.image_pull_policy;
        settings.progress_interval = self.progress_interval;
        let config = Config {
            settings,
            namespaces: self.namespaces,
            concurrency: self.concurrency,
            leader_election: self.leader_election,
            instance: self.pod_name.unwrap_or_else(|| format!("process-{}", std::process::id())),
            lease_namespace: self.pod_namespace,
        };
        coterie_operator::run(config, listener, signals::asked()).await.map_err(|error| {
            let message = coterie_worker::error::chain(&error);
            match error {
                Error::UnknownCluster(_) => Failure::usage(message),
                Error::Client(_) | Error::LeadershipLost | Error::Task(_) => Failure::transient(message),
            }
        })
    }
}

fn interval(text: &str) -> Result<SignedDuration, String> {
    let interval: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    if interval < SignedDuration::from_secs(1) {
        return Err("the shortest interval is 1s".to_owned());
    }
    Ok(interval)
}
