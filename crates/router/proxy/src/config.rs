//! What a router runs with.

use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use kthena_router_filters::settings::QueueConfig;
use kthena_router_filters::sticky::StickyLimits;
use kthena_router_health::HealthConfig;
use kthena_router_observability::{LogFormat, LogOutput};
use kthena_router_pipeline::ErrorStyle;
use kthena_router_sharing::SharingConfig;

use crate::kv::KvConfig;
use crate::profile_reload::SchedulingConfig;
use crate::scrape::ScrapeConfig;
use crate::tls::{EngineTrust, TlsFiles};

/// Settings of a router, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterConfig {
    /// The inference listener. The unspecified IPv6 address takes IPv4 connections too.
    pub listen: SocketAddr,
    /// What the inference listener proves itself with; `None` = it serves without TLS.
    pub tls: Option<TlsFiles>,
    /// How engines prove who they are, where they speak TLS.
    pub engine_trust: EngineTrust,
    /// The debug listener, if any. It answers whoever reaches it, so it belongs on the loopback interface.
    pub debug_listen: Option<SocketAddr>,
    /// The metrics listener, if any.
    pub metrics_listen: Option<SocketAddr>,
    /// Serve `/metrics` on the inference listener as well.
    pub expose_metrics: bool,
    /// Threads that serve requests.
    pub workers: NonZeroUsize,
    /// How errors are written.
    pub error_style: ErrorStyle,
    /// Tell requests that carry `x-kthena-explain: 1` in an answer's header of that name where they went and why.
    pub explain: bool,
    /// When an endpoint is ejected, and how it comes back.
    pub health: HealthConfig,
    /// How requests wait for their turn.
    pub queue: QueueConfig,
    /// Where counts and consumption are shared with other routers; `None` = each router is by itself.
    pub sharing: Option<SharingConfig>,
    /// How many sessions may be bound to pods.
    pub sticky: StickyLimits,
    /// How requests are placed.
    pub scheduling: SchedulingConfig,
    /// How engines are asked for their state; `None` = they are not.
    pub scrape: Option<ScrapeConfig>,
    /// How it is found out what engines hold in their caches; `None` = it is not.
    pub kv: Option<KvConfig>,
    /// Form and place of the access log; `None` = off.
    pub access_log: Option<(LogFormat, LogOutput)>,
    /// From the signal to the end of the last connection; includes the lame duck.
    pub drain_timeout: Duration,
    /// How long connections are still accepted after readiness was taken back.
    pub lame_duck: Duration,
    /// Bounds on what clients may do.
    pub limits: Limits,
}

/// Bounds on what one connection may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body.
    pub body: usize,
    /// Bytes of a request head.
    pub head: usize,
    /// From the first byte of a head to its last.
    pub head_time: Duration,
    /// Without progress: between requests, inside a body, while the client does not read.
    pub idle: Duration,
    /// To open a connection to an engine, the TLS handshake included.
    pub connect: Duration,
    /// Without a byte from or to an engine that a request waits for, to within two seconds; `None` = no limit.
    pub engine_idle: Option<Duration>,
    /// From the head of a request to the head of its answer, queues and all attempts included; `None` = no limit.
    pub answer: Option<Duration>,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8080)),
            tls: None,
            engine_trust: EngineTrust::default(),
            debug_listen: None,
            metrics_listen: Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 9090))),
            expose_metrics: false,
            workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            error_style: ErrorStyle::OpenAi,
            explain: false,
            health: HealthConfig::default(),
            queue: QueueConfig::off(),
            sharing: None,
            sticky: StickyLimits::default(),
            scheduling: SchedulingConfig::default(),
            scrape: None,
            kv: None,
            access_log: Some((LogFormat::Text, LogOutput::Stdout)),
            drain_timeout: Duration::from_mins(5),
            lame_duck: Duration::from_secs(5),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 << 20,
            head: 64 << 10,
            head_time: Duration::from_secs(10),
            idle: Duration::from_mins(3),
            connect: Duration::from_secs(5),
            engine_idle: Some(Duration::from_mins(10)),
            answer: None,
        }
    }
}
