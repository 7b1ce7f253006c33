//! Where the shared state is, and how often it is looked at.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisResult};

/// A Redis server.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Empty = none.
    pub password: String,
}

/// Settings of sharing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharingConfig {
    /// The server.
    pub redis: RedisConfig,
    /// Names this router among the others; unique for each start of a router.
    pub router: String,
    /// Longest wait for an answer of Redis; after that the connection is given up.
    pub limit: Duration,
    /// Shortest time between two looks at the others' counts.
    pub period: Duration,
    /// How long a router that says nothing is believed to live.
    pub lease: Duration,
}

const DEFAULT_PORT: u16 = 6379;

impl RedisConfig {
    /// Reads `REDIS_HOST`, `REDIS_PORT` and `REDIS_PASSWORD` through `get`. `None` if no host is named. The second value
    /// says what could not be understood.
    pub fn from_env(get: &dyn Fn(&str) -> Option<String>) -> (Option<Self>, Vec<String>) {
        let mut warnings = Vec::new();
        let Some(host) = get("REDIS_HOST").filter(|host| !host.is_empty()) else {
            return (None, warnings);
        };
        let port = get("REDIS_PORT").filter(|port| !port.is_empty());
        let port = port.map_or(DEFAULT_PORT, |text| {
            text.parse().unwrap_or_else(|_| {
                warnings.push(format!(
                    "REDIS_PORT: {text:?} is not a port; {DEFAULT_PORT} is used"
                ));
                DEFAULT_PORT
            })
        });
        let password = get("REDIS_PASSWORD").unwrap_or_default();
        let config = Self {
            host,
            port,
            password,
        };
        (Some(config), warnings)
    }

    pub(crate) fn connection_info(&self) -> RedisResult<ConnectionInfo> {
        let address = ConnectionAddr::Tcp(self.host.clone(), self.port);
        let info = address.into_connection_info()?;
        if self.password.is_empty() {
            return Ok(info);
        }
        let login = RedisConnectionInfo::default().set_password(&self.password);
        Ok(info.set_redis_settings(login))
    }
}

impl SharingConfig {
    /// The usual times.
    pub fn new(redis: RedisConfig, router: String) -> Self {
        Self {
            redis,
            router,
            limit: Duration::from_millis(100),
            period: Duration::from_millis(50),
            lease: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
