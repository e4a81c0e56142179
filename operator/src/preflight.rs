//! Waits until the cluster is as the operator needs it, and says what is missing. Ending instead would make the pod crash in a loop, with
//! the reason in the logs of its predecessor.

use std::time::Duration;

use coterie_crds::ClusteringJob;
use kube::{Api, Client, api::ListParams, core::Status};
use tokio::time::sleep;

use crate::failure::told;

const LONGEST: Duration = Duration::from_secs(30);

/// Completes when jobs can be listed in all the namespaces; none: in the whole cluster.
pub(crate) async fn pass(client: &Client, namespaces: &[String]) {
    let mut delay = Duration::from_secs(1);
    while let Err(error) = list(client, namespaces).await {
        tracing::error!(error = told(&error), advice = advice(&error), "cannot list jobs; trying again in {delay:?}");
        sleep(delay).await;
        delay = (delay * 2).min(LONGEST);
    }
}

async fn list(client: &Client, namespaces: &[String]) -> Result<(), kube::Error> {
    let one = ListParams::default().limit(1);
    if namespaces.is_empty() {
        return Api::<ClusteringJob>::all(client.clone()).list_metadata(&one).await.map(drop);
    }
    for namespace in namespaces {
        Api::<ClusteringJob>::namespaced(client.clone(), namespace).list_metadata(&one).await?;
    }
    Ok(())
}

/// What a person can do about it.
fn advice(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) => match **status {
            Status { code: 404, .. } => {
                "the resource ClusteringJob is not installed: install the chart, or apply the output of `coterie crd`"
            }
            Status { code: 401, .. } => "the API server does not know this identity: check the service account's token",
            Status { code: 403, .. } => {
                "this identity may not list jobs: install the chart with rbac.create, or name the namespaces it may watch"
            }
            _ => "the API server has an error: look at its state",
        },
        _ => "the API server cannot be reached: check its address, network policies and certificates",
    }
}
