//! What pods ask of a node, by the formula of the scheduler.

use std::collections::BTreeMap;

use kthena_api::model_serving::{PodTemplate, Role};
use serde_json::Value;

use crate::quantity;

/// Amounts by resource name, in billionths.
pub(super) type Demand = BTreeMap<String, i128>;

/// The demand of so many instances of each role.
pub(super) fn of<'a>(roles: impl Iterator<Item = (&'a Role, i32)>) -> Demand {
    let mut sum = Demand::new();
    for (role, instances) in roles {
        let instances = i128::from(instances);
        let workers = i128::from(role.worker_replicas.max(0)).saturating_mul(instances);
        add(&mut sum, &pod(&role.entry_template), instances);
        if let Some(template) = &role.worker_template {
            add(&mut sum, &pod(template), workers);
        }
    }
    sum.retain(|_, amount| *amount > 0);
    sum
}

/// One pod: its containers together, or its hungriest init container, and the overhead.
fn pod(template: &PodTemplate) -> Demand {
    let Some(spec) = &template.spec else {
        return Demand::new();
    };
    let containers = |name: &str| {
        spec.get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let mut running = Demand::new();
    for one in containers("containers") {
        add(&mut running, &container(one), 1);
    }
    // Sidecars are init containers that keep running: each later init container runs beside them.
    let mut sidecars = Demand::new();
    let mut starting = Demand::new();
    for one in containers("initContainers") {
        let own = container(one);
        if one["restartPolicy"] == "Always" {
            add(&mut sidecars, &own, 1);
            largest(&mut starting, &sidecars);
        } else {
            let mut beside = sidecars.clone();
            add(&mut beside, &own, 1);
            largest(&mut starting, &beside);
        }
    }
    add(&mut running, &sidecars, 1);
    largest(&mut running, &starting);
    add(&mut running, &amounts(spec.get("overhead")), 1);
    running
}

/// Requests; where there is none for a resource, its limit, as the server defaults it.
fn container(container: &Value) -> Demand {
    let mut demand = amounts(container.pointer("/resources/limits"));
    demand.extend(amounts(container.pointer("/resources/requests")));
    demand
}

fn amounts(list: Option<&Value>) -> Demand {
    let list = list.and_then(Value::as_object).into_iter().flatten();
    list.filter_map(|(name, amount)| Some((name.clone(), quantity::read(amount)?)))
        .collect()
}

fn add(sum: &mut Demand, more: &Demand, times: i128) {
    for (name, amount) in more {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.saturating_add(amount.saturating_mul(times));
    }
}

fn largest(demand: &mut Demand, other: &Demand) {
    for (name, amount) in other {
        let entry = demand.entry(name.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}
