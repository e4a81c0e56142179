//! What the API server knows about each kind: what it fills in, what cannot be changed, what makes a new generation.

use std::collections::BTreeMap;

use coterie_crds::ClusteringJob;
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, PodSpec, Secret, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::apiserver::{Refused, Server, Stored, Table};

macro_rules! stored {
    ($kind:ty, $table:ident, { $($behaviour:item)* }) => {
        impl Stored for $kind {
            fn table(server: &Server) -> &Table<Self> {
                &server.$table
            }
            fn table_mut(server: &mut Server) -> &mut Table<Self> {
                &mut server.$table
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
            $($behaviour)*
        }
    };
}

/// Of kinds that the operator does not apply.
fn never_applied<T>() -> Result<T, Refused> {
    Err(Refused::Invalid("nobody applies this kind".to_owned()))
}

stored!(ClusteringJob, clustering_jobs, {
    fn fill(&mut self) {
        self.status.get_or_insert_default();
    }
    fn merge(&self, _: &Self, _: Option<&Self>) -> Result<Self, Refused> {
        never_applied()
    }
    fn new_generation(&self, old: &Self) -> bool {
        self.spec != old.spec || self.metadata.deletion_timestamp != old.metadata.deletion_timestamp
    }
});

stored!(ConfigMap, config_maps, {
    fn fill(&mut self) {}
    fn merge(&self, applied: &Self, _: Option<&Self>) -> Result<Self, Refused> {
        if self.immutable == Some(true) && (self.data != applied.data || applied.immutable != Some(true)) {
            return Err(Refused::Invalid("data: field is immutable when `immutable` is set".to_owned()));
        }
        Ok(Self { metadata: self.metadata.clone(), ..applied.clone() })
    }
    fn new_generation(&self, _: &Self) -> bool {
        false
    }
});

stored!(Secret, secrets, {
    fn fill(&mut self) {}
    fn merge(&self, _: &Self, _: Option<&Self>) -> Result<Self, Refused> {
        never_applied()
    }
    fn new_generation(&self, _: &Self) -> bool {
        false
    }
});

stored!(Service, services, {
    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        let headless = spec.cluster_ip.get_or_insert_with(|| "10.0.0.1".to_owned()) == "None";
        spec.cluster_ips.get_or_insert_with(|| vec![if headless { "None" } else { "10.0.0.1" }.to_owned()]);
        spec.type_.get_or_insert_with(|| "ClusterIP".to_owned());
        spec.session_affinity.get_or_insert_with(|| "None".to_owned());
        spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".to_owned());
        spec.ip_families.get_or_insert_with(|| vec!["IPv4".to_owned()]);
        spec.ip_family_policy.get_or_insert_with(|| "SingleStack".to_owned());
        for port in spec.ports.iter_mut().flatten() {
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
            port.target_port.get_or_insert(IntOrString::Int(port.port));
        }
    }
    fn merge(&self, applied: &Self, _: Option<&Self>) -> Result<Self, Refused> {
        let old = self.spec.clone().unwrap_or_default();
        let mut spec = applied.spec.clone().unwrap_or_default();
        if spec.cluster_ip.is_some() && spec.cluster_ip != old.cluster_ip {
            return Err(Refused::Invalid("spec.clusterIP: field is immutable".to_owned()));
        }
        spec.cluster_ip = old.cluster_ip;
        spec.cluster_ips = old.cluster_ips;
        Ok(Self { metadata: self.metadata.clone(), spec: Some(spec), status: self.status.clone() })
    }
    fn new_generation(&self, _: &Self) -> bool {
        false
    }
});

stored!(Job, jobs, {
    fn fill(&mut self) {
        let (name, uid) =
            (self.metadata.name.clone().unwrap_or_default(), self.metadata.uid.clone().unwrap_or_default());
        let spec = self.spec.get_or_insert_default();
        spec.suspend.get_or_insert(false);
        spec.completions.get_or_insert(1);
        spec.parallelism.get_or_insert(1);
        spec.backoff_limit.get_or_insert(6);
        spec.manual_selector.get_or_insert(false);
        let own = BTreeMap::from([("batch.kubernetes.io/controller-uid".to_owned(), uid)]);
        spec.selector
            .get_or_insert_with(|| LabelSelector { match_labels: Some(own.clone()), ..LabelSelector::default() });
        let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.extend(own);
        labels.insert("batch.kubernetes.io/job-name".to_owned(), name);
        fill_pod(spec.template.spec.get_or_insert_default());
        self.status.get_or_insert_default();
    }
    fn merge(&self, _: &Self, _: Option<&Self>) -> Result<Self, Refused> {
        Err(Refused::Invalid("spec.template: field is immutable".to_owned()))
    }
    fn new_generation(&self, old: &Self) -> bool {
        self.spec != old.spec || self.metadata.deletion_timestamp != old.metadata.deletion_timestamp
    }
});

stored!(Pod, pods, {
    fn fill(&mut self) {
        self.status.get_or_insert_default().phase.get_or_insert_with(|| "Pending".to_owned());
    }
    fn merge(&self, _: &Self, _: Option<&Self>) -> Result<Self, Refused> {
        never_applied()
    }
    fn new_generation(&self, _: &Self) -> bool {
        false
    }
});

stored!(Deployment, deployments, {
    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.replicas.get_or_insert(1);
        spec.revision_history_limit.get_or_insert(10);
        spec.progress_deadline_seconds.get_or_insert(600);
        spec.strategy.get_or_insert_default().type_.get_or_insert_with(|| "RollingUpdate".to_owned());
        fill_pod(spec.template.spec.get_or_insert_default());
        self.status.get_or_insert_default();
        let annotations = self.metadata.annotations.get_or_insert_default();
        annotations.entry("deployment.kubernetes.io/revision".to_owned()).or_insert_with(|| "1".to_owned());
    }
    fn merge(&self, applied: &Self, before: Option<&Self>) -> Result<Self, Refused> {
        let old = self.spec.clone().unwrap_or_default();
        let mut spec = applied.spec.clone().unwrap_or_default();
        if spec.selector != old.selector {
            return Err(Refused::Invalid("spec.selector: field is immutable".to_owned()));
        }
        // A field that nobody applies any more goes back to its default; one that an autoscaler set stays.
        let ours = before.and_then(|before| before.spec.as_ref()).is_some_and(|spec| spec.replicas.is_some());
        if spec.replicas.is_none() && !(ours && old.replicas == before.and_then(|b| b.spec.as_ref()?.replicas)) {
            spec.replicas = old.replicas;
        }
        Ok(Self { metadata: self.metadata.clone(), spec: Some(spec), status: self.status.clone() })
    }
    fn new_generation(&self, old: &Self) -> bool {
        self.spec != old.spec
    }
});

stored!(HorizontalPodAutoscaler, autoscalers, {
    fn fill(&mut self) {
        self.spec.get_or_insert_default().min_replicas.get_or_insert(1);
        self.status.get_or_insert_default();
    }
    fn merge(&self, applied: &Self, _: Option<&Self>) -> Result<Self, Refused> {
        Ok(Self { metadata: self.metadata.clone(), spec: applied.spec.clone(), status: self.status.clone() })
    }
    fn new_generation(&self, _: &Self) -> bool {
        false
    }
});

stored!(PodDisruptionBudget, budgets, {
    fn fill(&mut self) {
        self.status.get_or_insert_default();
    }
    fn merge(&self, applied: &Self, _: Option<&Self>) -> Result<Self, Refused> {
        Ok(Self { metadata: self.metadata.clone(), spec: applied.spec.clone(), status: self.status.clone() })
    }
    fn new_generation(&self, old: &Self) -> bool {
        self.spec != old.spec
    }
});

stored!(NetworkPolicy, policies, {
    fn fill(&mut self) {
        let spec = self.spec.get_or_insert_default();
        spec.policy_types.get_or_insert_with(|| vec!["Ingress".to_owned()]);
        let ingress = spec.ingress.iter_mut().flatten().filter_map(|rule| rule.ports.as_mut());
        let egress = spec.egress.iter_mut().flatten().filter_map(|rule| rule.ports.as_mut());
        for port in ingress.chain(egress).flatten() {
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }
    fn merge(&self, applied: &Self, _: Option<&Self>) -> Result<Self, Refused> {
        Ok(Self { metadata: self.metadata.clone(), spec: applied.spec.clone() })
    }
    fn new_generation(&self, old: &Self) -> bool {
        self.spec != old.spec
    }
});

fn fill_pod(spec: &mut PodSpec) {
    spec.restart_policy.get_or_insert_with(|| "Always".to_owned());
    spec.dns_policy.get_or_insert_with(|| "ClusterFirst".to_owned());
    spec.scheduler_name.get_or_insert_with(|| "default-scheduler".to_owned());
    spec.termination_grace_period_seconds.get_or_insert(30);
    spec.security_context.get_or_insert_default();
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        container.termination_message_path.get_or_insert_with(|| "/dev/termination-log".to_owned());
        container.termination_message_policy.get_or_insert_with(|| "File".to_owned());
        container.image_pull_policy.get_or_insert_with(|| "IfNotPresent".to_owned());
        let probes = [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
        for probe in probes.into_iter().flatten() {
            probe.timeout_seconds.get_or_insert(1);
            probe.period_seconds.get_or_insert(10);
            probe.success_threshold.get_or_insert(1);
            probe.failure_threshold.get_or_insert(3);
        }
    }
    for volume in spec.volumes.iter_mut().flatten() {
        if let Some(map) = &mut volume.config_map {
            map.default_mode.get_or_insert(0o644);
        }
        if let Some(secret) = &mut volume.secret {
            secret.default_mode.get_or_insert(0o644);
        }
    }
}
