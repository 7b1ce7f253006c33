//! One of several replicas works, the others wait: leader election with a Lease.
//!
//! A lease counts as held for its duration since this process last saw it change, so clocks of different hosts
//! need not agree. The holder renews it well before that; one that cannot renew stops working before anyone
//! else may start.
//!
//! # Invariants
//!
//! - Work runs only between a successful take-over and the renew deadline after the last renewal.
//! - A clean end gives the lease back, so that the next replica starts at once.

mod judge;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use judge::{Observation, Verdict};

/// Which lease, and whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Who this process is among the replicas.
    pub identity: String,
    /// How long others respect the lease after its last change.
    pub duration: Duration,
    /// How long the holder tries to renew before it gives up.
    pub renew_deadline: Duration,
    /// Pause between two looks at the lease.
    pub retry_period: Duration,
}

/// Why leading ended although nobody asked for it.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The lease could not be renewed in time, or somebody else holds it.
    #[error("leader election lost: lease {namespace}/{name} was not renewed in time")]
    Lost {
        /// Namespace of the Lease.
        namespace: String,
        /// Name of the Lease.
        name: String,
    },
}

impl LeaseConfig {
    /// The usual timings: 15 s duration, 10 s renew deadline, 2 s between looks.
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        identity: impl Into<String>,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// `<host>_<random>`: unique even if the host name is not.
pub fn identity(host: &str) -> String {
    format!("{host}_{}", uuid::Uuid::new_v4())
}

/// Waits to become the leader, then runs `work` until it ends, `shutdown` fires or the lease is lost.
///
/// The token given to `work` is cancelled in the last two cases; `work` is always awaited to its end.
pub async fn lead<W, F, T>(
    client: Client,
    config: &LeaseConfig,
    shutdown: &CancellationToken,
    work: W,
) -> Result<Option<T>, LeaseError>
where
    W: FnOnce(CancellationToken) -> F,
    F: Future<Output = T>,
{
    let mut candidate = Candidate {
        leases: Api::namespaced(client, &config.namespace),
        config,
        seen: Observation::default(),
    };
    tokio::select! {
        () = shutdown.cancelled() => return Ok(None),
        () = candidate.acquire() => {}
    }
    tracing::info!(lease = config.name, identity = config.identity, "leading");
    let stop = shutdown.child_token();
    let mut work = std::pin::pin!(work(stop.clone()));
    let output = tokio::select! {
        output = &mut work => output,
        () = candidate.keep() => {
            stop.cancel();
            work.await;
            return Err(LeaseError::Lost { namespace: config.namespace.clone(), name: config.name.clone() });
        }
    };
    candidate.release().await;
    Ok(Some(output))
}

struct Candidate<'a> {
    leases: Api<Lease>,
    config: &'a LeaseConfig,
    seen: Observation,
}

impl Candidate<'_> {
    async fn acquire(&mut self) {
        loop {
            match self.attempt().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, lease = self.config.name, "lease cannot be taken");
                }
            }
            // Spread the looks of several waiting replicas.
            sleep(
                self.config
                    .retry_period
                    .mul_f64(1.0 + 0.2 * fastrand::f64()),
            )
            .await;
        }
    }

    /// Renews until that fails for too long.
    async fn keep(&mut self) {
        let mut deadline = Instant::now() + self.config.renew_deadline;
        loop {
            sleep(self.config.retry_period).await;
            match timeout_at(deadline, self.attempt()).await {
                Ok(Ok(true)) => deadline = Instant::now() + self.config.renew_deadline,
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => {
                    tracing::warn!(%error, lease = self.config.name, "lease not renewed");
                }
            }
            if Instant::now() >= deadline {
                return;
            }
        }
    }

    /// One look at the lease and, if it is ours to take or keep, one write. True = held now.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let stored = self.leases.get_opt(&self.config.name).await?;
        let now = Instant::now();
        let spec = stored.as_ref().and_then(|lease| lease.spec.as_ref());
        let verdict = match &stored {
            None => Verdict::Create,
            Some(_) => judge::judge(spec, &mut self.seen, &self.config.identity, now),
        };
        let written = match (verdict, stored) {
            (Verdict::Wait, _) => return Ok(false),
            (Verdict::Create, _) | (_, None) => {
                let metadata = ObjectMeta {
                    name: Some(self.config.name.clone()),
                    ..ObjectMeta::default()
                };
                let lease = Lease {
                    metadata,
                    spec: Some(self.spec(None, 0)),
                };
                self.leases.create(&PostParams::default(), &lease).await
            }
            (Verdict::Take { transitions }, Some(mut lease)) => {
                lease.spec = Some(self.spec(None, transitions));
                self.leases
                    .replace(&self.config.name, &PostParams::default(), &lease)
                    .await
            }
            (Verdict::Renew, Some(mut lease)) => {
                let old = lease.spec.take().unwrap_or_default();
                lease.spec = Some(self.spec(old.acquire_time, old.lease_transitions.unwrap_or(0)));
                self.leases
                    .replace(&self.config.name, &PostParams::default(), &lease)
                    .await
            }
        };
        match written {
            Ok(lease) => {
                self.seen.note(lease.spec.as_ref(), Instant::now());
                Ok(true)
            }
            // Another replica was faster. Its lease is looked at next time.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Shortens the lease to a second and names no holder. Failing that, it runs out by itself.
    async fn release(&mut self) {
        let Ok(Some(mut lease)) = self.leases.get_opt(&self.config.name).await else {
            return;
        };
        let old = lease.spec.take().unwrap_or_default();
        if old.holder_identity.as_deref() != Some(self.config.identity.as_str()) {
            return;
        }
        let mut spec = self.spec(old.acquire_time, old.lease_transitions.unwrap_or(0));
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        lease.spec = Some(spec);
        if let Err(error) = self
            .leases
            .replace(&self.config.name, &PostParams::default(), &lease)
            .await
        {
            tracing::warn!(%error, lease = self.config.name, "lease not released, it will run out");
        }
    }

    fn spec(&self, acquired: Option<MicroTime>, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.config.identity.clone()),
            lease_duration_seconds: i32::try_from(self.config.duration.as_secs()).ok(),
            acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}
