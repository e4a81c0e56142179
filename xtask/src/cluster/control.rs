//! The control plane: database, API server, controllers, scheduler, names.

use anyhow::Result;

use super::config;
use super::layout::Cluster;
use super::network::{self, Node};
use super::node::{Component, option};

const DATABASE: &str = "http://127.0.0.1:2379";

pub(super) fn database(cluster: &Cluster) -> Component {
    let options = vec![
        option("data-dir", cluster.state().join("etcd")),
        format!("--listen-client-urls={DATABASE}"),
        format!("--advertise-client-urls={DATABASE}"),
        "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        // Nothing here has to survive a loss of power.
        "--unsafe-no-fsync".to_owned(),
    ];
    Component::program("etcd", Node::FIRST, "etcd", options)
}

pub(super) fn api_server(cluster: &Cluster) -> Component {
    let pki = |name: &str| cluster.pki().join(name);
    let options = vec![
        format!("--etcd-servers={DATABASE}"),
        format!("--advertise-address={}", Node::FIRST.address()),
        format!("--service-cluster-ip-range={}", network::SERVICES),
        "--allow-privileged".to_owned(),
        // Who is it?
        option("tls-cert-file", pki("kube-apiserver.crt")),
        option("tls-private-key-file", pki("kube-apiserver.key")),
        option("client-ca-file", pki("ca.crt")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        option("service-account-key-file", pki("service-accounts.pub")),
        option("service-account-signing-key-file", pki("service-accounts.key")),
        // May they?
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction,PodSecurity".to_owned(),
        // Who did what?
        option("audit-policy-file", cluster.source("config/audit-policy.yaml")),
        option("audit-log-path", cluster.audit_log()),
        "--audit-log-format=json".to_owned(),
        "--audit-log-maxsize=4096".to_owned(),
        // Kubelets, and servers of further APIs.
        option("kubelet-certificate-authority", pki("ca.crt")),
        option("kubelet-client-certificate", pki("kubelet-client.crt")),
        option("kubelet-client-key", pki("kubelet-client.key")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        option("requestheader-client-ca-file", pki("ca.crt")),
        "--requestheader-allowed-names=aggregator".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        option("proxy-client-cert-file", pki("aggregator.crt")),
        option("proxy-client-key-file", pki("aggregator.key")),
    ];
    Component::new("kube-apiserver", Node::FIRST, "kube-apiserver", options)
}

/// What needs the API server.
pub(super) fn controllers(cluster: &Cluster) -> [Component; 2] {
    let pki = |name: &str| cluster.pki().join(name);
    let controllers = vec![
        option("kubeconfig", pki("kube-controller-manager.kubeconfig")),
        option("root-ca-file", pki("ca.crt")),
        option("service-account-private-key-file", pki("service-accounts.key")),
        "--use-service-account-credentials".to_owned(),
        option("cluster-signing-cert-file", pki("ca.crt")),
        option("cluster-signing-key-file", pki("ca.key")),
        "--leader-elect=false".to_owned(),
    ];
    let scheduler = vec![option("kubeconfig", pki("kube-scheduler.kubeconfig")), "--leader-elect=false".to_owned()];
    [
        Component::new("kube-controller-manager", Node::FIRST, "kube-controller-manager", controllers),
        Component::new("kube-scheduler", Node::FIRST, "kube-scheduler", scheduler),
    ]
}

pub(super) fn names(cluster: &Cluster) -> Result<Component> {
    let (address, kubeconfig) = (Node::FIRST.address().to_string(), cluster.pki().join("coredns.kubeconfig"));
    let file = cluster.state().join("Corefile");
    config::write(cluster, "Corefile", &[("address", &address), ("kubeconfig", &kubeconfig.to_string_lossy())], &file)?;
    Ok(Component::new("coredns", Node::FIRST, "coredns", vec![format!("-conf={}", file.display())]))
}
