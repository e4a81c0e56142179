//! The replicas of a model version as a whole: one Deployment, or one per shard where the similar items are divided.
//!
//! A version that is divided in another way is another fleet with another name, so that the traffic moves from one to the other as it moves
//! between versions: once all replicas are ready. No question then meets shards of two divisions.

use coterie_crds::names::label;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::context::Context;
use crate::replicas::{available, desired, is_ready, stuck, version_of};

/// Most shards of a fleet, whatever a label says.
const MOST: u32 = 64;

/// Between the version and the number of shards in the name of a fleet.
const OF: &str = "-of-";

/// A shard of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// From 0.
    pub(crate) number: u32,
    /// How many there are, at least 2.
    pub(crate) of: u32,
}

/// The Deployments of a fleet, one for each shard; `None` for one that is missing.
#[derive(Clone, Debug)]
pub(crate) struct Fleet<'a> {
    members: Vec<Option<&'a Deployment>>,
}

/// The name of the fleet that serves a model version, which its objects are labelled with: the version alone, or `v1-of-3`.
pub(crate) fn name(version: &str, shards: u32) -> String {
    if shards > 1 { format!("{version}{OF}{shards}") } else { version.to_owned() }
}

/// The model version that a fleet serves.
pub(crate) fn version(fleet: &str) -> &str {
    fleet.split_once(OF).map_or(fleet, |(version, _)| version)
}

/// The number of shards of a fleet.
pub(crate) fn shards(fleet: &str) -> u32 {
    fleet.split_once(OF).and_then(|(_, shards)| shards.parse().ok()).unwrap_or(1).clamp(1, MOST)
}

/// A fleet in words: its version, and its shards if it has any.
pub(crate) fn title(fleet: &str) -> String {
    match shards(fleet) {
        1 => version(fleet).to_owned(),
        shards => format!("{} in {shards} shards", version(fleet)),
    }
}

/// The Deployments of a fleet, if there are any.
pub(crate) fn of<'a>(context: &Context<'a>, fleet: &str) -> Option<Fleet<'a>> {
    let mut members = vec![None; shards(fleet) as usize];
    let ours = |deployment: &&Deployment| version_of(&deployment.metadata) == Some(fleet);
    for deployment in context.children.deployments.iter().filter(ours) {
        if let Some(member) = members.get_mut(shard_of(&deployment.metadata) as usize) {
            member.get_or_insert(deployment);
        }
    }
    members.iter().any(Option::is_some).then_some(Fleet { members })
}

/// The shard that an object belongs to.
fn shard_of(metadata: &ObjectMeta) -> u32 {
    let shard = metadata.labels.as_ref().and_then(|labels| labels.get(label::SHARD));
    shard.and_then(|shard| shard.parse().ok()).unwrap_or_default()
}

impl<'a> Fleet<'a> {
    /// The Deployment of a shard, by its number.
    pub(crate) fn member(&self, number: u32) -> Option<&'a Deployment> {
        self.members.get(number as usize).copied().flatten()
    }

    /// The only Deployment, where there are no shards.
    pub(crate) fn alone(&self) -> Option<&'a Deployment> {
        match self.members[..] {
            [only] => only,
            _ => None,
        }
    }

    /// Any Deployment: their pods are configured alike.
    pub(crate) fn any(&self) -> Option<&'a Deployment> {
        self.members.iter().copied().flatten().next()
    }

    /// Whether every shard has a Deployment of which this holds.
    pub(crate) fn all(&self, holds: impl Fn(&Deployment) -> bool) -> bool {
        self.members.iter().all(|member| member.is_some_and(&holds))
    }

    /// Replicas that answer, of the shard with the fewest.
    pub(crate) fn available(&self) -> i32 {
        self.members.iter().map(|member| member.map_or(0, available)).min().unwrap_or(0)
    }

    /// The shards with fewer replicas that answer than are asked for, in words. `None` if all have theirs, or there are no shards.
    pub(crate) fn lacking(&self) -> Option<String> {
        let lacks = |member: &Option<&Deployment>| member.map_or(0, available) < self.desired();
        let lacking = self.members.iter().enumerate().filter(|(_, member)| lacks(member));
        let numbers: Vec<String> = lacking.map(|(number, _)| number.to_string()).collect();
        match &numbers[..] {
            _ if self.members.len() == 1 => None,
            [] => None,
            [number] => Some(format!("shard {number} lacks replicas")),
            _ => Some(format!("shards {} lack replicas", numbers.join(", "))),
        }
    }

    /// Replicas asked for, of each shard.
    pub(crate) fn desired(&self) -> i32 {
        self.members.iter().copied().flatten().map(desired).max().unwrap_or(0)
    }

    /// Whether all of so many replicas of each shard are of the newest template and answer.
    pub(crate) fn is_ready(&self, replicas: i32) -> bool {
        self.all(|deployment| is_ready(deployment, replicas))
    }

    /// Why a Deployment has given up.
    pub(crate) fn stuck(&self) -> Option<String> {
        let divided = self.members.len() > 1;
        self.members.iter().zip(0..).find_map(|(member, number)| {
            let why = stuck((*member)?)?;
            Some(if divided { format!("shard {number}: {why}") } else { why })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_version_and_shards() {
        for (version_text, number, text, words) in [
            ("v1", 1, "v1", "v1"),
            ("v12", 3, "v12-of-3", "v12 in 3 shards"),
            ("v1", 64, "v1-of-64", "v1 in 64 shards"),
        ] {
            assert_eq!(name(version_text, number), text);
            assert_eq!((version(text), shards(text), title(text).as_str()), (version_text, number, words));
        }
        // Whatever somebody writes into a label is some fleet.
        assert_eq!((version("x-of-y"), shards("x-of-y"), shards("v1-of-0")), ("x", 1, 1));
        assert_eq!(shards("v1-of-4000000000"), MOST);
    }
}
