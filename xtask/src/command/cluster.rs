//! `cargo xtask cluster`: a real Kubernetes on this machine, for tests.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;

use crate::cluster::{self, Cluster, faults};
use crate::context::Context;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds what is missing, brings the cluster up, and installs Coterie into it.
    Up {
        /// How many nodes.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
        nodes: u8,
        /// Without Coterie: neither its image nor its chart.
        #[arg(long)]
        bare: bool,
    },
    /// Ends all processes of the cluster and removes what it made, except built programs and logs.
    Down,
    /// Shows what runs, and where the logs are.
    Status,
    /// Only builds the programs that the cluster consists of.
    Build,
    /// Builds Coterie's image anew and imports it into every node.
    Image,
    /// Imports an archive of images, as `buildah push` or `docker save` write it, into every node.
    Load {
        /// The archive.
        archive: PathBuf,
    },
    /// Fault: kills the database and starts it again on the same data.
    RestartEtcd,
    /// Fault: stops the API server for a while, so that it neither answers nor closes connections.
    PauseApiserver {
        /// How long.
        seconds: u64,
    },
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let cluster = Cluster::new(context);
    match &arguments.command {
        Command::Up { nodes, bare } => cluster::up(&cluster, *nodes, *bare),
        Command::Down => cluster::down(&cluster),
        Command::Status => cluster::status(&cluster),
        Command::Build => cluster::components::build(&cluster),
        Command::Image => cluster::image::refresh(&cluster).map(drop),
        Command::Load { archive } => cluster::image::load_everywhere(&cluster, archive),
        Command::RestartEtcd => faults::restart_etcd(&cluster),
        Command::PauseApiserver { seconds } => faults::pause_apiserver(&cluster, Duration::from_secs(*seconds)),
    }
}
