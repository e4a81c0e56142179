//! Connections to a server that speaks Redis' protocol, encrypted or not.

use super::SharedSettings;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(2);

/// How a connection is encrypted, and whom it is to lead to: a server whose certificate names the host that is connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM text of certificate authorities to trust beside the built-in ones.
    pub ca_bundle: Option<String>,
}

impl TlsSettings {
    fn config(&self) -> io::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        if let Some(bundle) = &self.ca_bundle {
            let given = CertificateDer::pem_slice_iter(bundle.as_bytes()).collect::<Result<Vec<_>, _>>();
            let given = given.map_err(|error| io::Error::other(format!("the CA bundle is no PEM text: {error}")))?;
            if roots.add_parsable_certificates(given).0 == 0 {
                return Err(io::Error::other("the CA bundle holds no certificate authority"));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Ok(config.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth())
    }
}

/// A connection that is logged in.
pub(super) async fn connect(settings: &SharedSettings) -> RedisResult<MultiplexedConnection> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("not connected within {} s", CONNECT.as_secs()));
    tokio::time::timeout(CONNECT, open(settings)).await.map_err(late)?
}

async fn open(settings: &SharedSettings) -> RedisResult<MultiplexedConnection> {
    let SharedSettings { host, port, tls, .. } = settings;
    let stream = TcpStream::connect((host.as_str(), *port)).await?;
    stream.set_nodelay(true)?;
    match tls {
        None => log_in(settings, stream).await,
        Some(tls) => {
            let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
            let stream = TlsConnector::from(Arc::new(tls.config()?)).connect(name, stream).await?;
            log_in(settings, stream).await
        }
    }
}

async fn log_in(
    settings: &SharedSettings,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> RedisResult<MultiplexedConnection> {
    let mut login = redis::RedisConnectionInfo::default();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password);
    }
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(settings.timeout));
    let (connection, driver) = MultiplexedConnection::new_with_config(&login, stream, config).await?;
    // Ends with the last handle of the connection.
    tokio::spawn(driver);
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_must_hold_certificate_authorities() {
        let with = |bundle: &str| TlsSettings { ca_bundle: Some(bundle.to_owned()) }.config().map(drop);
        assert!(TlsSettings::default().config().is_ok());
        for (bundle, words) in [
            ("", "holds no certificate authority"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no certificate authority"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "no PEM text"),
        ] {
            let error = with(bundle).unwrap_err().to_string();
            assert!(error.contains(words), "{bundle:?}: {error}");
        }
    }
}
