//! The engines of one model, and what can befall them.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::machine::Machine;

/// What can befall an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Killed by somebody.
    Kill,
    /// Killed by itself, in the middle of a request.
    OutOfMemory,
    /// Takes requests and answers none.
    Hang,
    /// Falls silent in the middle of an answer, which no limit cuts, until somebody kills it.
    Stall,
    /// Breaks off in the middle of an answer.
    Reset,
    /// Answers every other request with an error.
    Errors,
    /// Is slow to begin.
    Delay,
    /// Is unready and ready in turns.
    Flap,
}

impl Trouble {
    pub(crate) const ALL: [Self; 8] = [
        Self::Kill,
        Self::OutOfMemory,
        Self::Hang,
        Self::Stall,
        Self::Reset,
        Self::Errors,
        Self::Delay,
        Self::Flap,
    ];

    /// What the simulated engine is told; `None` for a kill.
    fn faults(self) -> Option<Value> {
        Some(match self {
            Self::Kill => return None,
            Self::OutOfMemory => json!({"out_of_memory": true}),
            Self::Hang => json!({"hang_rate": 1.0}),
            Self::Stall => json!({"stall_rate": 0.5, "after_chunks": 3}),
            Self::Reset => json!({"reset_rate": 0.5, "after_chunks": 3}),
            Self::Errors => json!({"error_rate": 0.5, "error_status": 503}),
            Self::Delay => json!({"delay_ms": 700}),
            Self::Flap => json!({"unhealthy": true}),
        })
    }
}

/// The engines of one model on a machine.
pub(crate) struct Engines<'m> {
    machine: &'m Machine,
    model: &'static str,
    http: reqwest::Client,
}

impl<'m> Engines<'m> {
    pub(crate) fn of(machine: &'m Machine, model: &'static str) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20));
        Self {
            machine,
            model,
            http: http.build().unwrap(),
        }
    }

    /// Gets one engine into trouble and waits for `pause`; an engine that is not there now has trouble enough.
    pub(crate) async fn trouble(
        &self,
        trouble: Trouble,
        pause: Duration,
        random: &mut fastrand::Rng,
    ) -> bool {
        let addresses = self.addresses();
        if addresses.is_empty() {
            return false;
        }
        let address = &addresses[random.usize(..addresses.len())];
        let met = match trouble.faults() {
            Some(faults) => self.tell(address, &faults).await,
            None => self.kill(address),
        };
        tokio::time::sleep(pause).await;
        match trouble {
            Trouble::Kill | Trouble::OutOfMemory => met,
            Trouble::Stall => met && self.kill(address),
            _ => {
                // If it died meanwhile, the next one in its place has no faults.
                self.tell(address, &json!({})).await;
                met
            }
        }
    }

    /// Ends all trouble.
    pub(crate) async fn calm_down(&self) {
        for address in self.addresses() {
            self.tell(&address, &json!({})).await;
        }
    }

    /// How many are ready.
    pub(crate) fn ready(&self) -> usize {
        let pods = self.pods();
        let ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array();
            conditions
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        };
        pods.iter().filter(ready).count()
    }

    /// The metrics of the router and of all engines; empty if one of them does not answer.
    pub(crate) async fn metrics(&self, router: &str) -> String {
        let mut pages = String::new();
        let engines = self.addresses();
        let engines = engines
            .iter()
            .map(|address| format!("http://{address}:8000"));
        for url in engines.chain([router.to_owned()]) {
            let answer = self.http.get(format!("{url}/metrics")).send().await;
            let Ok(answer) = answer else {
                return String::new();
            };
            pages.push_str(&answer.text().await.unwrap_or_default());
        }
        pages
    }

    async fn tell(&self, address: &str, faults: &Value) -> bool {
        let url = format!("http://{address}:8000/sim/faults");
        let answer = self.http.post(url).json(faults).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    fn kill(&self, address: &str) -> bool {
        let mut killed = false;
        for pid in self.machine.processes() {
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let is_engine = arguments
                .split(|byte| *byte == 0)
                .any(|argument| argument == address.as_bytes());
            if is_engine && let Some(pid) = Pid::from_raw(pid) {
                killed |= kill_process(pid, Signal::KILL).is_ok();
            }
        }
        killed
    }

    fn addresses(&self) -> Vec<String> {
        let pods = self.pods();
        let addresses = pods
            .iter()
            .filter_map(|pod| pod["status"]["podIP"].as_str());
        addresses.map(str::to_owned).collect()
    }

    fn pods(&self) -> Vec<Value> {
        let label = format!("app={}", self.model);
        let listed = self
            .machine
            .kubectl(&["get", "pods", "-o", "json", "-l", &label]);
        let mut list: Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
        match list["items"].take() {
            Value::Array(pods) => pods,
            _ => Vec::new(),
        }
    }
}
