//! `plugins`: who takes part, and with which weight.

use serde_yaml_ng::Value;

use super::node::{Findings, Node};
use super::{FilterName, SchedulerConfig, ScorerName};

const NO_EFFECT: &str = "has no effect: a plugin takes part if it is listed under `enabled`";

pub(super) fn read(plugins: &Node<'_>, config: &mut SchedulerConfig, found: &mut Findings) {
    let mut score = None;
    for (key, value) in plugins.members(found).unwrap_or_default() {
        match key.as_str() {
            "Filter" => config.filters = filters(&value, found),
            "Score" => score = Some(value),
            _ => found.unknown(&value),
        }
    }
    let score = score.unwrap_or_else(|| plugins.absent("Score"));
    config.scorers = scorers(&score, found);
}

/// The list `enabled` of a kind of plugins.
fn enabled<'v>(kind: &Node<'v>, found: &mut Findings) -> Vec<Node<'v>> {
    let mut enabled = Vec::new();
    for (key, value) in kind.members(found).unwrap_or_default() {
        match key.as_str() {
            "enabled" => enabled = value.elements(found),
            "disabled" => {
                if !value.elements(found).is_empty() {
                    found.notice(&value, NO_EFFECT);
                }
            }
            _ => found.unknown(&value),
        }
    }
    enabled
}

fn filters(kind: &Node<'_>, found: &mut Findings) -> Vec<FilterName> {
    let mut filters = Vec::new();
    for entry in enabled(kind, found) {
        let Some(name) = entry.scalar() else {
            found.fault(
                &entry,
                format!("must be a filter's name, not {}", entry.kind()),
            );
            continue;
        };
        let known = FilterName::ALL
            .into_iter()
            .find(|filter| filter.as_str() == name);
        match known {
            None => {
                let names = FilterName::ALL.map(FilterName::as_str).join(", ");
                let message = format!("unknown filter `{name}`, ignored; there are {names}");
                found.notice(&entry, message);
            }
            Some(filter) if filters.contains(&filter) => {
                found.notice(&entry, format!("`{name}` is listed twice"));
            }
            Some(filter) => filters.push(filter),
        }
    }
    filters
}

fn scorers(kind: &Node<'_>, found: &mut Findings) -> Vec<(ScorerName, i64)> {
    let faults_before = found.faults.len();
    let entries = enabled(kind, found);
    let mut scorers: Vec<(ScorerName, i64)> = Vec::new();
    for entry in &entries {
        let Some((name, weight)) = scorer(entry, found) else {
            continue;
        };
        if name == ScorerName::Random && entries.len() > 1 {
            found.notice(entry, "`random` has no effect next to other plugins");
            continue;
        }
        match scorers.iter_mut().find(|(other, _)| *other == name) {
            Some(earlier) => {
                found.notice(entry, "listed twice; the last weight counts");
                earlier.1 = weight;
            }
            None => scorers.push((name, weight)),
        }
    }
    if scorers.is_empty() && found.faults.len() == faults_before {
        let message = "no score plugin is left under `enabled`, so no request could be placed";
        found.fault(kind, message);
    } else if !scorers.is_empty() && scorers.iter().all(|(_, weight)| *weight == 0) {
        found.notice(kind, "all weights are 0, so requests are placed at random");
    }
    scorers
}

fn scorer(entry: &Node<'_>, found: &mut Findings) -> Option<(ScorerName, i64)> {
    if entry.is_null() {
        found.fault(entry, "must be a mapping, not nothing");
    }
    let (mut name, mut weight) = (None, Some(0));
    for (key, value) in entry.members(found)? {
        match key.as_str() {
            "name" => name = Some(value),
            "weight" => weight = read_weight(&value, found),
            _ => found.unknown(&value),
        }
    }
    let name = name.unwrap_or_else(|| entry.absent("name"));
    let Some(text) = name.scalar() else {
        found.fault(
            &name,
            format!("must be a plugin's name, not {}", name.kind()),
        );
        return None;
    };
    let known = ScorerName::ALL
        .into_iter()
        .find(|scorer| scorer.as_str() == text);
    if known.is_none() {
        let names = ScorerName::ALL.map(ScorerName::as_str).join(", ");
        let message = format!("unknown score plugin `{text}`, ignored; there are {names}");
        found.notice(&name, message);
    }
    Some((known?, weight?))
}

/// A weight; `None` after a fault.
fn read_weight(node: &Node<'_>, found: &mut Findings) -> Option<i64> {
    let weight = match node.value() {
        Value::Null => Some(0),
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_u64().map(|_| i64::MAX))
            .or_else(|| {
                number
                    .as_f64()
                    .filter(|real| real.is_finite())
                    .map(truncated)
            }),
        _ => None,
    };
    let Some(weight) = weight else {
        found.fault(node, format!("must be a number, not {}", node.kind()));
        return None;
    };
    if weight < 0 {
        found.notice(node, format!("{weight} is negative; 0 is used"));
    }
    Some(weight.max(0))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a fraction is cut off; what is beyond the range saturates"
)]
fn truncated(real: f64) -> i64 {
    real as i64
}
