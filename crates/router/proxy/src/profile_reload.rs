//! Keeps the scheduler as its configuration file says, while the router runs.
//!
//! # Invariants
//!
//! - A file with a fault changes nothing: the scheduler of before stays, whole.
//! - A change takes effect at once for requests that are placed from then on; those under way keep theirs.
//! - Plugins whose own settings did not change keep what they remember.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use kthena_router_observability::SchedulingFigures;
use kthena_router_plugins::config::ScorerName;
use kthena_router_plugins::kvcache_aware::KvcacheAwareConfig;
use kthena_router_plugins::{SchedulerConfig, Scheduling};
use kthena_router_scheduler::{Figure, Profile};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::configuration::{ConfigurationFaults, read_configuration};
use crate::shared::Shared;

/// How often endpoints that are gone are forgotten, and how often the file is read.
const SWEEP: Duration = Duration::from_secs(1);
const SWEEPS_PER_READ: u32 = 2;

/// How requests are placed, and the file that says so.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SchedulingConfig {
    /// What the scheduler begins with.
    pub config: SchedulerConfig,
    /// Where changes of it are read; `None` = it never changes.
    pub file: Option<SchedulingFile>,
}

/// A configuration file that was read at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulingFile {
    /// Where it is.
    pub path: PathBuf,
    /// What was in it.
    pub text: String,
}

/// The scheduler of now and what it was made of.
#[derive(Debug)]
pub(crate) struct Schedulers {
    /// What requests are placed by.
    profile: ArcSwap<Profile>,
    /// How it is asked what engines hold; `None` = no plugin wants to know.
    cached: ArcSwapOption<KvcacheAwareConfig>,
    /// Whether a plugin wants to know what engines hold.
    wanted: watch::Sender<bool>,
    /// Locked for changes only.
    scheduling: Mutex<Scheduling>,
    file: Option<SchedulingFile>,
}

impl Schedulers {
    pub(crate) fn new(config: SchedulingConfig) -> Self {
        let scheduling = Scheduling::new(config.config, fastrand::u64(..));
        let cached = cached(&scheduling.config);
        Self {
            profile: ArcSwap::new(Arc::clone(&scheduling.profile)),
            wanted: watch::Sender::new(cached.is_some()),
            cached: ArcSwapOption::new(cached),
            scheduling: Mutex::new(scheduling),
            file: config.file,
        }
    }

    /// What requests are placed by now.
    pub(crate) fn current(&self) -> Arc<Profile> {
        self.profile.load_full()
    }

    /// How it is asked what engines hold; `None` = no plugin wants to know.
    pub(crate) fn cached(&self) -> Option<Arc<KvcacheAwareConfig>> {
        self.cached.load_full()
    }

    /// Follows whether a plugin wants to know what engines hold.
    pub(crate) fn wanted(&self) -> watch::Receiver<bool> {
        self.wanted.subscribe()
    }

    /// Places by `profile` until the file changes.
    pub(crate) fn place_by(&self, profile: Profile) {
        self.profile.store(Arc::new(profile));
    }

    /// What plugins hold and did.
    pub(crate) fn figures(&self) -> SchedulingFigures {
        let mut figures = SchedulingFigures::default();
        let mut estimates = (0.0, 0.0, 0);
        self.current().figures(&mut |figure| match figure {
            Figure::PrefixEntries(count) => figures.prefix_entries += count,
            Figure::PrefixBytes(count) => figures.prefix_bytes += count,
            Figure::PrefixEvictions { model, count } => {
                *figures
                    .prefix_evictions
                    .entry(model.to_owned())
                    .or_default() += count;
            }
            Figure::EstimateErrorSeconds(sum) => estimates.0 = sum,
            Figure::EstimateOutcomeSeconds(sum) => estimates.1 = sum,
            Figure::EstimateCount(count) => {
                estimates.2 = count;
                figures.estimates = Some(estimates);
            }
        });
        figures
    }

    /// Takes over what a file says, or nothing of it.
    fn take_over(&self, text: &str) -> Result<(), ConfigurationFaults> {
        let config = read_configuration(text)?;
        let mut scheduling = self
            .scheduling
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if config != scheduling.config {
            *scheduling = scheduling.changed(config, fastrand::u64(..));
            self.profile.store(Arc::clone(&scheduling.profile));
            self.cached.store(cached(&scheduling.config));
            self.wanted.send_replace(self.cached().is_some());
            tracing::info!(profile = ?scheduling.profile, "the scheduler was changed");
        }
        Ok(())
    }
}

/// The settings by which it is asked what engines hold, if a plugin of `config` wants to know.
fn cached(config: &SchedulerConfig) -> Option<Arc<KvcacheAwareConfig>> {
    let wanted =
        config.scores_by(ScorerName::KvcacheAware) || config.scores_by(ScorerName::Adaptive);
    wanted.then(|| Arc::new(config.args.kvcache_aware))
}

/// Follows the file, and forgets endpoints that are gone. Never ends.
pub(crate) async fn run(shared: &Shared) {
    let schedulers = &shared.schedulers;
    let mut seen = schedulers.file.as_ref().map(|file| file.text.clone());
    let mut tick = tokio::time::interval(SWEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 1_u32.. {
        tick.tick().await;
        schedulers.current().sweep();
        if let (Some(file), 0) = (&schedulers.file, round % SWEEPS_PER_READ) {
            let asked = schedulers.cached().is_some();
            follow(schedulers, file, &mut seen).await;
            if !asked && schedulers.cached().is_some() && shared.kv.is_none() {
                tracing::warn!(
                    "what engines hold is not followed, since nobody wanted to know when the router started; \
                     `--kv-index` or a restart brings it"
                );
            }
        }
    }
}

/// Reads the file once. `seen` is the text that was looked at last.
async fn follow(schedulers: &Schedulers, file: &SchedulingFile, seen: &mut Option<String>) {
    let text = match tokio::fs::read_to_string(&file.path).await {
        Ok(text) => text,
        Err(error) => {
            if seen.take().is_some() {
                let path = file.path.display();
                tracing::error!(%path, %error, "the configuration cannot be read; the scheduler stays as it is");
            }
            return;
        }
    };
    if seen.as_ref() == Some(&text) {
        return;
    }
    if let Err(error) = schedulers.take_over(&text) {
        let path = file.path.display();
        tracing::error!(%path, "the configuration has faults; the scheduler stays as it is:\n{error}");
    }
    *seen = Some(text);
}

#[cfg(test)]
mod tests;
