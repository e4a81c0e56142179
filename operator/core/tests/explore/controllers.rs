//! What Kubernetes does with the objects, one small move at a time: which moves are possible, and what a move changes. The order of moves is
//! somebody else's choice.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::apiserver::Server;
use super::dice::Dice;
use super::training::Models;
use super::{deployments, garbage, jobs, kubelet};

/// One step of one controller.
#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    /// The Job controller.
    Job(jobs::JobMove),
    /// The kubelet of a training pod.
    Pod(kubelet::PodMove),
    /// The Deployment controller and the autoscaler.
    Deployment(deployments::DeploymentMove),
    /// The garbage collector.
    Garbage(garbage::GarbageMove),
}

/// What controllers remember beside the objects.
#[derive(Clone, Debug, Default)]
pub struct Controllers {
    /// The object store.
    pub models: Models,
    /// Failed attempts by uid of the Job and index.
    pub failures: BTreeMap<(String, i32), i32>,
    /// The template whose pods were last all ready, by uid of the Deployment.
    pub running: BTreeMap<String, PodTemplateSpec>,
    /// Pods made so far.
    pub pods: u64,
    /// Whether time jumps or rough hands made a run fail that was meant to succeed.
    pub unlucky: bool,
}

impl Controllers {
    /// All moves that are possible now.
    pub fn moves(&self, server: &Server) -> Vec<Move> {
        let mut moves = Vec::new();
        garbage::moves(server, &mut moves);
        jobs::moves(self, server, &mut moves);
        kubelet::moves(server, &mut moves);
        deployments::moves(self, server, &mut moves);
        moves
    }

    /// Makes a move.
    pub fn carry_out(&mut self, server: &mut Server, step: &Move, dice: &mut Dice) {
        match step {
            Move::Job(step) => jobs::carry_out(self, server, step),
            Move::Pod(step) => kubelet::carry_out(self, server, step, dice),
            Move::Deployment(step) => deployments::carry_out(self, server, step),
            Move::Garbage(step) => garbage::carry_out(server, step),
        }
    }

    /// When time alone makes a new move possible.
    pub fn timer(server: &Server) -> Option<Timestamp> {
        jobs::timer(server).into_iter().chain(deployments::timer(server)).min()
    }
}
