//! The certificate authority of the cluster, everybody's certificate, and the kubeconfigs that name them.

use std::fs;

use anyhow::{Context as _, Result};

use super::config;
use super::layout::Cluster;
use super::network::{self, Node};
use crate::process::check;

/// Who may do everything.
const ADMINISTRATORS: &str = "/O=system:masters";

/// Makes the authority and what the control plane needs.
pub(super) fn create(cluster: &Cluster) -> Result<()> {
    let pki = cluster.pki();
    fs::create_dir_all(&pki).with_context(|| format!("cannot create {}", pki.display()))?;
    certificate(cluster, "ca", "/CN=coterie-test", None, &["basicConstraints=critical,CA:TRUE"])?;
    key(cluster, "service-accounts")?;

    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ];
    let names = names.map(|name| format!("DNS:{name}"));
    let addresses = [network::API_SERVICE.to_string(), Node::FIRST.address().to_string(), "127.0.0.1".to_owned()];
    let addresses = addresses.map(|address| format!("IP:{address}"));
    server(cluster, "kube-apiserver", "/CN=kube-apiserver", &[names.as_slice(), &addresses].concat().join(","))?;

    client(cluster, "kubelet-client", &format!("{ADMINISTRATORS}/CN=kube-apiserver"))?;
    client(cluster, "aggregator", "/CN=aggregator")?;
    for user in ["kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        user_of_the_api(cluster, user, &format!("/CN=system:{user}"))?;
    }
    user_of_the_api(cluster, "coredns", "/CN=coredns")?;
    client(cluster, "admin", &format!("{ADMINISTRATORS}/CN=admin"))?;
    let kubeconfig = cluster.kubeconfig();
    write_kubeconfig(cluster, "admin", &kubeconfig)
}

/// One certificate for both: the kubelet calls the API server and is called by it.
pub(super) fn kubelet(cluster: &Cluster, node: Node) -> Result<()> {
    let name = node.name();
    let names = format!("subjectAltName=DNS:{name},IP:{}", node.address());
    let subject = format!("/O=system:nodes/CN=system:node:{name}");
    certificate(cluster, &name, &subject, Some("ca"), &["extendedKeyUsage=clientAuth,serverAuth", &names])?;
    write_kubeconfig(cluster, &name, &cluster.pki().join(format!("{name}.kubeconfig")))
}

fn user_of_the_api(cluster: &Cluster, name: &str, subject: &str) -> Result<()> {
    client(cluster, name, subject)?;
    write_kubeconfig(cluster, name, &cluster.pki().join(format!("{name}.kubeconfig")))
}

fn write_kubeconfig(cluster: &Cluster, user: &str, to: &std::path::Path) -> Result<()> {
    let (address, pki) = (Node::FIRST.address().to_string(), cluster.pki());
    config::write(
        cluster,
        "kubeconfig.yaml",
        &[("address", &address), ("pki", &pki.to_string_lossy()), ("user", user)],
        to,
    )
}

fn client(cluster: &Cluster, name: &str, subject: &str) -> Result<()> {
    certificate(cluster, name, subject, Some("ca"), &["extendedKeyUsage=clientAuth"])
}

fn server(cluster: &Cluster, name: &str, subject: &str, names: &str) -> Result<()> {
    let names = format!("subjectAltName={names}");
    certificate(cluster, name, subject, Some("ca"), &["extendedKeyUsage=serverAuth", &names])
}

/// A key and a certificate for it, signed by the named authority or by itself.
fn certificate(
    cluster: &Cluster,
    name: &str,
    subject: &str,
    authority: Option<&str>,
    extensions: &[&str],
) -> Result<()> {
    let mut command = cluster.hermetic("openssl");
    command.current_dir(cluster.pki()).args(["req", "-x509", "-noenc", "-days", "3650"]);
    command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject]);
    command.arg("-config").arg(cluster.source("config/openssl.cnf"));
    command.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")]);
    if let Some(authority) = authority {
        command.args(["-CA", &format!("{authority}.crt"), "-CAkey", &format!("{authority}.key")]);
    }
    for extension in extensions {
        command.args(["-addext", extension]);
    }
    check(&mut command)
}

/// A bare key pair, which signs the tokens of service accounts.
fn key(cluster: &Cluster, name: &str) -> Result<()> {
    let (private, public) = (format!("{name}.key"), format!("{name}.pub"));
    let openssl = |arguments: &[&str]| check(cluster.hermetic("openssl").current_dir(cluster.pki()).args(arguments));
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &private])?;
    openssl(&["pkey", "-in", &private, "-pubout", "-out", &public])
}
