//! Rules SV-V1 to SV-V4.

use kthena_schema::{Fault, FieldPath};

use super::at::At;
use super::names;

pub(super) fn check(root: &At<'_>, faults: &mut Vec<Fault>) {
    let selector = root.field("spec").field("workloadSelector");
    if selector.is_absent() {
        faults.push(selector.required("workloadSelector must be specified"));
        return;
    }
    check_labels(&selector.field("matchLabels"), faults);
    let group = selector.field("pdGroup");
    if group.is_absent() {
        return;
    }
    let key = group.field("groupKey");
    if key.text().is_empty() {
        faults.push(key.required("groupKey must be specified"));
    }
    check_labels(&group.field("prefillLabels"), faults);
    check_labels(&group.field("decodeLabels"), faults);
}

/// Labels to select by: at least one, and only the first pair that is illegal is reported.
fn check_labels(labels: &At<'_>, faults: &mut Vec<Fault>) {
    if labels.len() == 0 {
        faults.push(labels.required("labels must contain at least one label"));
        return;
    }
    let wrong = labels.entries().find_map(|(key, value)| {
        let found = wrong_pair(key, value.text());
        (!found.is_empty()).then_some(found)
    });
    if let Some(wrong) = wrong {
        faults.push(labels.invalid(format!(
            "invalid selector: {}",
            kthena_schema::summary(&wrong)
        )));
    }
}

fn wrong_pair(key: &str, value: &str) -> Vec<Fault> {
    let mut wrong = Vec::new();
    let (in_key, in_value) = (names::label_key(key), names::label_value(value));
    if !in_key.is_empty() {
        wrong.push(Fault::invalid(
            FieldPath::new("key"),
            key,
            in_key.join("; "),
        ));
    }
    if !in_value.is_empty() {
        let path = FieldPath::new("values").index(0).key(key);
        wrong.push(Fault::invalid(path, value, in_value.join("; ")));
    }
    wrong
}
