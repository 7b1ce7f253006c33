//! What a pod asks of the node, and whether the node has it.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::quantity;

/// The resource name of GPUs.
pub const GPU: &str = "nvidia.com/gpu";

/// An amount of each resource the node hands out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Thousandths of a CPU.
    pub cpu_milli: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// GPUs.
    pub gpus: i64,
    /// Pods.
    pub pods: i64,
}

/// What is missing for a pod to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// Resources that do not suffice, with what is asked and what is free.
    pub lacking: Vec<Lack>,
}

/// One resource that does not suffice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// Resource name.
    pub resource: String,
    /// Asked.
    pub asked: i64,
    /// Free.
    pub free: i64,
    /// Unit of both, for a person.
    pub unit: &'static str,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0/1 nodes are available: ")?;
        for (index, lack) in self.lacking.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let Lack {
                resource,
                asked,
                free,
                unit,
            } = lack;
            write!(
                f,
                "{comma}insufficient {resource} (asks {asked}{unit}, {free}{unit} free)"
            )?;
        }
        Ok(())
    }
}

impl Amount {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory: self.memory.saturating_add(other.memory),
            gpus: self.gpus.saturating_add(other.gpus),
            pods: self.pods.saturating_add(other.pods),
        }
    }

    /// The greater of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.max(other.cpu_milli),
            memory: self.memory.max(other.memory),
            gpus: self.gpus.max(other.gpus),
            pods: self.pods.max(other.pods),
        }
    }

    /// Whether `self` is still free when `used` of `total` is taken. A resource not asked for is never lacking.
    pub fn fits(self, total: Self, used: Self) -> Result<(), Shortage> {
        let rows = [
            ("cpu", self.cpu_milli, total.cpu_milli - used.cpu_milli, "m"),
            ("memory", self.memory, total.memory - used.memory, " bytes"),
            (GPU, self.gpus, total.gpus - used.gpus, ""),
            ("pods", self.pods, total.pods - used.pods, ""),
        ];
        let lacking: Vec<Lack> = rows
            .into_iter()
            .filter(|(_, asked, free, _)| *asked > 0 && asked > free)
            .map(|(resource, asked, free, unit)| Lack {
                resource: resource.to_owned(),
                asked,
                free,
                unit,
            })
            .collect();
        if lacking.is_empty() {
            Ok(())
        } else {
            Err(Shortage { lacking })
        }
    }
}

/// What a pod asks: its containers together with its sidecars, or its greediest init container if that is more.
pub fn of_pod(pod: &Pod) -> Amount {
    let Some(spec) = &pod.spec else {
        return Amount::default();
    };
    let mut sidecars = Amount::default();
    let mut peak = Amount::default();
    for init in spec.init_containers.iter().flatten() {
        let own = of_container(init);
        if init.restart_policy.as_deref() == Some("Always") {
            sidecars = sidecars.plus(own);
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars.plus(own));
        }
    }
    let mains = spec
        .containers
        .iter()
        .map(of_container)
        .fold(sidecars, Amount::plus);
    let overhead = spec.overhead.as_ref().map_or_else(Amount::default, read);
    Amount {
        pods: 1,
        ..mains.max(peak).plus(overhead)
    }
}

/// What one container asks; a limit without a request counts as the request.
pub fn of_container(container: &Container) -> Amount {
    let Some(ResourceRequirements {
        requests, limits, ..
    }) = &container.resources
    else {
        return Amount::default();
    };
    let mut asked = limits.clone().unwrap_or_default();
    asked.extend(requests.clone().unwrap_or_default());
    read(&asked)
}

fn read(quantities: &BTreeMap<String, Quantity>) -> Amount {
    let units = |name: &str| quantities.get(name).and_then(quantity::units).unwrap_or(0);
    Amount {
        cpu_milli: quantities.get("cpu").and_then(quantity::milli).unwrap_or(0),
        memory: units("memory"),
        gpus: units(GPU),
        pods: 0,
    }
}
