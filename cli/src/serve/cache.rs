//! Which answers a server keeps.

use std::time::Duration;

use clap::Args;
use coterie_crds::run::{CacheConfig, RedisConfig};
use coterie_serving::{CacheSettings, SharedSettings};

use super::{duration, host_and_port};
use crate::size;

/// Which answers are kept.
#[derive(Args)]
pub(super) struct CacheOptions {
    /// Memory for answers that took long to compute, as in 64Mi; 0 keeps none.
    #[arg(long, value_name = "SIZE", default_value = "64Mi", value_parser = size::parse)]
    cache: u64,
    /// How long an answer is kept.
    #[arg(long, value_name = "DURATION", default_value = "600s", value_parser = duration)]
    cache_time_to_live: Duration,
    /// A server that speaks Redis' protocol, through which replicas share answers. COTERIE_REDIS_USERNAME and
    /// COTERIE_REDIS_PASSWORD say who logs in.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    redis: Option<(String, u16)>,
    /// How long the server's answer is waited for.
    #[arg(long, value_name = "DURATION", default_value = "5ms", value_parser = duration)]
    redis_timeout: Duration,
}

impl CacheOptions {
    pub(super) fn settings(self) -> CacheSettings {
        let Self { cache, cache_time_to_live, redis, redis_timeout } = self;
        CacheSettings {
            bytes: cache,
            time_to_live: cache_time_to_live,
            shared: redis.map(|(host, port)| shared(host, port, redis_timeout)),
        }
    }
}

pub(super) fn cache_settings(config: CacheConfig) -> CacheSettings {
    let CacheConfig { bytes, time_to_live_seconds, redis } = config;
    let redis = redis
        .map(|RedisConfig { host, port, timeout_millis }| shared(host, port, Duration::from_millis(timeout_millis)));
    CacheSettings { bytes, time_to_live: Duration::from_secs(time_to_live_seconds), shared: redis }
}

/// A server for shared answers, with the login from the environment.
fn shared(host: String, port: u16, timeout: Duration) -> SharedSettings {
    let from = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (username, password) = (from("COTERIE_REDIS_USERNAME"), from("COTERIE_REDIS_PASSWORD"));
    SharedSettings { host, port, username, password, timeout }
}
