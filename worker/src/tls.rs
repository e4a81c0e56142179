//! Mutual TLS inside a run. A run has its own certificate authority, made when it starts; its coordinator and workers
//! share one certificate under it, and nobody else has one. What a run's processes say to each other is private to them.

use std::{io::Write, path::Path};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::error::RunError;

/// Name in the run's certificate, whatever the coordinator's address.
const NAME: &str = "coterie-run";

/// Makes the authority and the certificate of a run in `directory`. The authority's key is forgotten at once.
///
/// # Errors
/// When keys cannot be made or files cannot be written.
pub fn create(directory: &Path) -> Result<(), RunError> {
    let failed = |error: rcgen::Error| RunError::transient(format!("make the run's certificates: {error}"));
    let mut authority = CertificateParams::new(Vec::new()).map_err(failed)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_key = KeyPair::generate().map_err(failed)?;
    let authority_certificate = authority.self_signed(&authority_key).map_err(failed)?;
    let issuer = Issuer::new(authority, authority_key);

    let mut member = CertificateParams::new(vec![NAME.to_owned()]).map_err(failed)?;
    member.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let member_key = KeyPair::generate().map_err(failed)?;
    let member_certificate = member.signed_by(&member_key, &issuer).map_err(failed)?;

    write(directory, "ca.pem", &authority_certificate.pem())?;
    write(directory, "cert.pem", &member_certificate.pem())?;
    write(directory, "key.pem", &member_key.serialize_pem())
}

/// TLS settings of the coordinator.
///
/// # Errors
/// When the files cannot be read.
pub fn server(directory: &Path) -> Result<ServerTlsConfig, RunError> {
    let (authority, identity) = read(directory)?;
    Ok(ServerTlsConfig::new().identity(identity).client_ca_root(authority))
}

/// TLS settings of a worker.
///
/// # Errors
/// When the files cannot be read.
pub fn client(directory: &Path) -> Result<ClientTlsConfig, RunError> {
    let (authority, identity) = read(directory)?;
    Ok(ClientTlsConfig::new().ca_certificate(authority).identity(identity).domain_name(NAME))
}

fn read(directory: &Path) -> Result<(Certificate, Identity), RunError> {
    let file = |name: &str| {
        let path = directory.join(name);
        std::fs::read(&path).map_err(|error| RunError::transient(format!("read {}: {error}", path.display())))
    };
    Ok((Certificate::from_pem(file("ca.pem")?), Identity::from_pem(file("cert.pem")?, file("key.pem")?)))
}

fn write(directory: &Path, name: &str, text: &str) -> Result<(), RunError> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = directory.join(name);
    let failed = |error: std::io::Error| RunError::transient(format!("write {}: {error}", path.display()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
