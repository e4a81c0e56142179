//! Who may speak in a run. A run has its own certificate authority, made when it starts; its coordinator and workers share
//! one certificate under it, and nobody else has one. What a run's processes say to each other is private to them.

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// Name in a run's certificate, whatever the coordinator's address.
pub const NAME: &str = "coterie-run";

/// File with the authority's certificate, in the run's directory and its Secret.
pub const CA_FILE: &str = "ca.pem";

/// File with the run's certificate.
pub const CERT_FILE: &str = "cert.pem";

/// File with the certificate's key.
pub const KEY_FILE: &str = "key.pem";

/// What the processes of one run prove themselves with, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificates {
    /// The run's authority.
    pub ca_pem: String,
    /// The certificate that coordinator and workers share.
    pub cert_pem: String,
    /// Its key: secret.
    pub key_pem: String,
}

/// Certificates could not be made.
#[derive(Debug, thiserror::Error)]
#[error("make the run's certificates")]
pub struct IdentityError(#[from] rcgen::Error);

/// Makes the authority and the certificate of a run. The authority's key is forgotten at once.
///
/// # Errors
/// When the system gives no randomness.
pub fn issue() -> Result<Certificates, IdentityError> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let mut member = CertificateParams::new(vec![NAME.to_owned()])?;
    member.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    member.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let member_key = KeyPair::generate()?;
    let member_certificate = member.signed_by(&member_key, &issuer)?;
    Ok(Certificates {
        ca_pem: authority_certificate.pem(),
        cert_pem: member_certificate.pem(),
        key_pem: member_key.serialize_pem(),
    })
}

impl Certificates {
    /// Each file's name and text.
    #[must_use]
    pub fn files(&self) -> [(&'static str, &str); 3] {
        [(CA_FILE, &self.ca_pem), (CERT_FILE, &self.cert_pem), (KEY_FILE, &self.key_pem)]
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_has_an_authority_of_its_own_and_its_key_is_never_shown() {
        let (one, other) = (issue().unwrap(), issue().unwrap());
        assert_ne!(one, other);
        for (name, text) in one.files() {
            let kind = if name == KEY_FILE { "PRIVATE KEY" } else { "CERTIFICATE" };
            assert!(text.starts_with(&format!("-----BEGIN {kind}-----")), "{name}");
        }
        assert_eq!(format!("{one:?}"), "Certificates { .. }");
    }
}
