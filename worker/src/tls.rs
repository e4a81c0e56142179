//! Mutual TLS inside a run, with the run's own certificates; see [`coterie_protocol::identity`].

use std::{io::Write, path::Path, sync::Arc, time::Duration};

use coterie_protocol::identity::{self, CA_FILE, CERT_FILE, KEY_FILE, NAME};
use futures::{Stream, StreamExt, stream::FuturesUnordered};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::error::{RunError, chain};

/// Time that a peer has to prove who it is.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Peers that may be proving who they are at the same time; more wait in the kernel's queue.
const HANDSHAKES: usize = 256;
/// Pause after a failed accept, which means that the process ran out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Makes the certificates of a run in `directory`.
///
/// # Errors
/// When keys cannot be made or files cannot be written.
pub fn create(directory: &Path) -> Result<(), RunError> {
    let certificates = identity::issue().map_err(|error| RunError::transient(chain(&error)))?;
    certificates.files().into_iter().try_for_each(|(name, text)| write(directory, name, text))
}

/// The coordinator's side: TLS 1.3 only, and only for peers with the run's certificate.
///
/// # Errors
/// When the files cannot be read or do not fit together.
pub fn acceptor(directory: &Path) -> Result<TlsAcceptor, RunError> {
    let unusable = |error: &dyn std::error::Error| {
        RunError::transient(format!(
            "the run's certificates in {} cannot be used: {}",
            directory.display(),
            chain(error)
        ))
    };
    let certificates = |name: &str| -> Result<Vec<CertificateDer<'static>>, RunError> {
        let pem = file(directory, name)?;
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| unusable(&error))
    };
    let mut authorities = RootCertStore::empty();
    for authority in certificates(CA_FILE)? {
        authorities.add(authority).map_err(|error| unusable(&error))?;
    }
    let key = PrivateKeyDer::from_pem_slice(&file(directory, KEY_FILE)?).map_err(|error| unusable(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(&provider))
        .build()
        .map_err(|error| unusable(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(CERT_FILE)?, key)
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Connections whose peers have proved who they are. A slow or foreign peer holds up nobody.
pub fn incoming(
    listener: TcpListener,
    acceptor: TlsAcceptor,
) -> impl Stream<Item = Result<TlsStream<TcpStream>, std::io::Error>> {
    let state = (listener, acceptor, FuturesUnordered::new());
    futures::stream::unfold(state, |(listener, acceptor, mut handshakes)| async move {
        loop {
            tokio::select! {
                accepted = listener.accept(), if handshakes.len() < HANDSHAKES => match accepted {
                    Ok((stream, _)) => {
                        let _ = stream.set_nodelay(true);
                        handshakes.push(tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "connection not accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(shaken) = handshakes.next(), if !handshakes.is_empty() => match shaken {
                    Ok(Ok(stream)) => return Some((Ok(stream), (listener, acceptor, handshakes))),
                    Ok(Err(error)) => tracing::debug!(%error, "a peer without the run's certificate was refused"),
                    Err(_elapsed) => tracing::debug!("a peer was too slow to prove who it is"),
                },
            }
        }
    })
}

/// TLS settings of a worker.
///
/// # Errors
/// When the files cannot be read.
pub fn client(directory: &Path) -> Result<ClientTlsConfig, RunError> {
    let authority = Certificate::from_pem(file(directory, CA_FILE)?);
    let identity = Identity::from_pem(file(directory, CERT_FILE)?, file(directory, KEY_FILE)?);
    Ok(ClientTlsConfig::new().ca_certificate(authority).identity(identity).domain_name(NAME))
}

fn file(directory: &Path, name: &str) -> Result<Vec<u8>, RunError> {
    let path = directory.join(name);
    std::fs::read(&path).map_err(|error| RunError::transient(format!("read {}: {error}", path.display())))
}

fn write(directory: &Path, name: &str, text: &str) -> Result<(), RunError> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = directory.join(name);
    let failed = |error: std::io::Error| RunError::transient(format!("write {}: {error}", path.display()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use rustls::{ClientConfig, pki_types::ServerName};
    use tokio_rustls::TlsConnector;

    use super::*;

    fn connector(
        directory: &Path,
        versions: &[&'static rustls::SupportedProtocolVersion],
        member: bool,
    ) -> TlsConnector {
        let mut authorities = RootCertStore::empty();
        authorities.add(CertificateDer::from_pem_slice(&file(directory, CA_FILE).unwrap()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(authorities);
        let config = if member {
            let certificate = CertificateDer::from_pem_slice(&file(directory, CERT_FILE).unwrap()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(&file(directory, KEY_FILE).unwrap()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        TlsConnector::from(Arc::new(config))
    }

    #[tokio::test]
    async fn only_members_of_the_run_get_in_and_only_with_tls_1_3() {
        let directory = tempfile::tempdir().unwrap();
        create(directory.path()).unwrap();
        let stranger = tempfile::tempdir().unwrap();
        create(stranger.path()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = Box::pin(incoming(listener, acceptor(directory.path()).unwrap()));
        let name = || ServerName::try_from(NAME).unwrap();
        let dial = |connector: TlsConnector| async move {
            let stream = TcpStream::connect(address).await.unwrap();
            connector.connect(name(), stream).await
        };
        let tls13 = &[&rustls::version::TLS13][..];
        // Refused peers are never seen; the one after them is.
        let silent = TcpStream::connect(address).await.unwrap();
        let clients = async {
            assert!(dial(connector(directory.path(), &[&rustls::version::TLS12], true)).await.is_err());
            assert!(dial(connector(stranger.path(), tls13, true)).await.is_err());
            let _ = dial(connector(directory.path(), tls13, false)).await;
            dial(connector(directory.path(), tls13, true)).await.unwrap()
        };
        let (accepted, client) = tokio::join!(incoming.next(), clients);
        let accepted = accepted.unwrap().unwrap();
        assert_eq!(accepted.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        assert_eq!(accepted.get_ref().0.peer_addr().unwrap(), client.get_ref().0.local_addr().unwrap());
        drop(silent);
    }
}
