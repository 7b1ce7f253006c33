//! Label selectors of typed objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Whether `selector` picks an object with `labels`. An empty selector picks nothing here: the kinds that use
/// this refuse one.
pub(crate) fn matches(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let empty = BTreeMap::new();
    let labels = labels.unwrap_or(&empty);
    let pairs = selector.match_labels.as_ref();
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    if pairs.is_none_or(BTreeMap::is_empty) && expressions.is_empty() {
        return false;
    }
    pairs.is_none_or(|pairs| has_all(pairs, labels))
        && expressions.iter().all(|one| holds(one, labels))
}

/// Whether `labels` hold every pair.
pub(crate) fn has_all(pairs: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    pairs
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

fn holds(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let listed =
        || value.is_some_and(|value| requirement.values.iter().flatten().any(|one| one == value));
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}
