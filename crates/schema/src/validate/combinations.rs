//! `allOf`, `anyOf`, `oneOf` and `not`.

use serde_json::Value;

use super::push_composite;
use crate::fault::{Fault, FaultKind};
use crate::node::{Limits, Schema};
use crate::path::Trail;

pub(super) fn check(limits: &Limits, value: &Value, trail: &Trail<'_>, faults: &mut Vec<Fault>) {
    let outcome = |schema: &Schema| {
        let mut found = Vec::new();
        super::check(&schema.0, value, None, trail, &mut found);
        found
    };
    if !limits.any_of.is_empty() {
        let failures: Vec<_> = limits.any_of.iter().map(outcome).collect();
        if failures.iter().all(|found| !found.is_empty()) {
            push_composite(faults, trail, "must validate at least one schema (anyOf)");
            merge(faults, nearest(failures));
        }
    }
    if !limits.one_of.is_empty() {
        let failures: Vec<_> = limits.one_of.iter().map(outcome).collect();
        match failures.iter().filter(|found| found.is_empty()).count() {
            1 => {}
            0 => {
                push_composite(
                    faults,
                    trail,
                    "must validate one and only one schema (oneOf). Found none valid",
                );
                merge(faults, nearest(failures));
            }
            several => {
                let rest = format!(
                    "must validate one and only one schema (oneOf). Found {several} valid alternatives"
                );
                push_composite(faults, trail, &rest);
            }
        }
    }
    check_all_and_not(limits, trail, faults, &outcome);
}

fn check_all_and_not(
    limits: &Limits,
    trail: &Trail<'_>,
    faults: &mut Vec<Fault>,
    outcome: &dyn Fn(&Schema) -> Vec<Fault>,
) {
    let mut failed = 0;
    for schema in &limits.all_of {
        let found = outcome(schema);
        failed += usize::from(!found.is_empty());
        merge(faults, found);
    }
    if failed > 0 {
        let none = if failed == limits.all_of.len() {
            ". None validated"
        } else {
            ""
        };
        push_composite(
            faults,
            trail,
            &format!("must validate all the schemas (allOf){none}"),
        );
    }
    if limits
        .not
        .as_ref()
        .is_some_and(|schema| outcome(schema).is_empty())
    {
        push_composite(faults, trail, "must not validate the schema (not)");
    }
}

/// The faults of the alternative that came closest: the fewest wrong types, then the first.
fn nearest(failures: Vec<Vec<Fault>>) -> Vec<Fault> {
    let wrong_types = |found: &Vec<Fault>| {
        found
            .iter()
            .filter(|fault| fault.kind == FaultKind::TypeInvalid)
            .count()
    };
    failures
        .into_iter()
        .min_by_key(wrong_types)
        .unwrap_or_default()
}

/// Adds faults that are not there yet.
fn merge(faults: &mut Vec<Fault>, found: Vec<Fault>) {
    for fault in found {
        let known = faults.iter().any(|known| {
            known.path == fault.path
                && known.detail == fault.detail
                && known.kind != FaultKind::Required
        });
        if !known {
            faults.push(fault);
        }
    }
}
