//! Faults on purpose, for tests.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::layout::Cluster;
use super::{control, wait};

/// Kills the database and starts it again on the same data.
pub(crate) fn restart_etcd(cluster: &Cluster) -> Result<()> {
    let database = control::database(cluster);
    let wrapper = cluster.process(&database.name)?;
    wrapper.child()?.kill()?;
    wrapper.kill()?;
    database.start(cluster)?;
    wait::until("the API server to find the database", Duration::from_secs(60), || Ok(cluster.answers()))
}

/// Stops the API server for a while: it neither answers nor closes connections.
pub(crate) fn pause_apiserver(cluster: &Cluster, pause: Duration) -> Result<()> {
    let wrapper = cluster.process("kube-apiserver")?;
    let server = wrapper.child()?;
    server.signal("STOP")?;
    sleep(pause);
    // The wrapper stops with what it runs.
    server.signal("CONT")?;
    wrapper.signal("CONT")
}
