//! Which answers a server keeps.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use coterie_crds::run::{CacheConfig, RedisConfig, RedisTlsConfig};
use coterie_serving::{CacheSettings, SharedSettings, TlsSettings};

use super::{duration, host_and_port};
use crate::{Failure, size};

/// Which answers are kept.
#[derive(Args)]
pub(super) struct CacheOptions {
    /// Memory for answers that took long to compute, as in 64Mi; 0 keeps none.
    #[arg(long, value_name = "SIZE", default_value = "64Mi", value_parser = size::parse)]
    cache: u64,
    /// How long an answer is kept.
    #[arg(long, value_name = "DURATION", default_value = "600s", value_parser = duration)]
    cache_time_to_live: Duration,
    /// A server that speaks Redis' protocol, through which replicas share answers; rediss:// before it encrypts the connection.
    /// COTERIE_REDIS_USERNAME and COTERIE_REDIS_PASSWORD say who logs in.
    #[arg(long, value_name = "[rediss://]HOST:PORT", value_parser = redis_address)]
    redis: Option<RedisAddress>,
    /// PEM file of certificate authorities to trust beside the built-in ones, for a rediss:// server.
    #[arg(long, value_name = "FILE", requires = "redis")]
    redis_ca: Option<PathBuf>,
    /// How long the server's answer is waited for.
    #[arg(long, value_name = "DURATION", default_value = "5ms", value_parser = duration)]
    redis_timeout: Duration,
}

/// Where a server for shared answers is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RedisAddress {
    host: String,
    port: u16,
    tls: bool,
}

impl CacheOptions {
    pub(super) fn settings(self) -> Result<CacheSettings, Failure> {
        let Self { cache, cache_time_to_live, redis, redis_ca, redis_timeout } = self;
        let shared = match (redis, redis_ca) {
            (Some(RedisAddress { tls: false, .. }), Some(_)) => {
                return Err(Failure::usage(
                    "--redis-ca is for encrypted connections; write rediss:// before the address of --redis, or leave --redis-ca out",
                ));
            }
            (Some(RedisAddress { host, port, tls }), ca) => {
                let ca_bundle = ca.as_deref().map(certificates).transpose()?;
                Some(shared((host, port), tls.then_some(TlsSettings { ca_bundle }), redis_timeout))
            }
            (None, _) => None,
        };
        Ok(CacheSettings { bytes: cache, time_to_live: cache_time_to_live, shared })
    }
}

/// The text of a PEM file of certificates.
fn certificates(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("read the certificates {}: {error}", path.display())))?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        return Ok(text);
    }
    Err(Failure::usage(format!(
        "{} holds no certificate; --redis-ca names a PEM file (-----BEGIN CERTIFICATE----- ...)",
        path.display()
    )))
}

pub(super) fn cache_settings(config: CacheConfig) -> CacheSettings {
    let CacheConfig { bytes, time_to_live_seconds, redis } = config;
    let redis = redis.map(|RedisConfig { host, port, tls, timeout_millis }| {
        let tls = tls.map(|RedisTlsConfig { ca_bundle }| TlsSettings { ca_bundle });
        shared((host, port), tls, Duration::from_millis(timeout_millis))
    });
    CacheSettings { bytes, time_to_live: Duration::from_secs(time_to_live_seconds), shared: redis }
}

/// A server for shared answers, with the login from the environment.
fn shared((host, port): (String, u16), tls: Option<TlsSettings>, timeout: Duration) -> SharedSettings {
    let from = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (username, password) = (from("COTERIE_REDIS_USERNAME"), from("COTERIE_REDIS_PASSWORD"));
    SharedSettings { host, port, tls, username, password, timeout }
}

/// The address of a server that speaks Redis' protocol.
fn redis_address(text: &str) -> Result<RedisAddress, String> {
    let (tls, address) = match text.split_once("://") {
        None => (false, text),
        Some(("redis", address)) => (false, address),
        Some(("rediss", address)) => (true, address),
        Some((scheme, _)) => {
            return Err(format!(
                "{scheme}:// is not spoken here; write HOST:PORT, or rediss://HOST:PORT for encryption"
            ));
        }
    };
    if address.contains('@') {
        return Err("who logs in is told by COTERIE_REDIS_USERNAME and COTERIE_REDIS_PASSWORD in the environment, where other users \
                    of this machine cannot read it; write the address alone, as in rediss://cache:6379"
            .to_owned());
    }
    let (host, port) = host_and_port(address.trim_end_matches('/'))?;
    Ok(RedisAddress { host, port, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_says_whether_a_connection_is_encrypted() {
        let at = |tls| RedisAddress { host: "cache".to_owned(), port: 6380, tls };
        for (text, tls) in [("cache:6380", false), ("redis://cache:6380", false), ("rediss://cache:6380/", true)] {
            assert_eq!(redis_address(text), Ok(at(tls)), "{text}");
        }
        for (wrong, words) in [
            ("https://cache:6380", "https:// is not spoken here"),
            ("rediss://me:secret@cache:6380", "COTERIE_REDIS_PASSWORD"),
            ("rediss://cache", "host and a port"),
        ] {
            let error = redis_address(wrong).unwrap_err();
            assert!(error.contains(words) && !error.contains("secret@"), "{wrong}: {error}");
        }
    }
}
