//! Defaults of a pod's spec, wherever it stands: in a Pod or in the template of a workload.

use kthena_api::quantity::Amount;
use serde_json::{Map, Value, json};

use super::json::{fill, fill_positive, is_unset, items_mut, object_mut, within};

/// Permission bits 0644, in decimal as the API shows them.
const FILE_MODE: i64 = 0o644;

/// Fills what the API server fills in any pod spec.
pub(crate) fn fill_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    fill(spec, "restartPolicy", "Always");
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill(spec, "dnsPolicy", "ClusterFirst");
    fill(spec, "schedulerName", "default-scheduler");
    fill(spec, "securityContext", json!({}));
    mirror_service_account(spec);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items_mut(spec, list) {
            fill_container(container, host_network);
        }
    }
    for volume in items_mut(spec, "volumes") {
        fill_volume(volume);
    }
}

/// Fills what the API server fills in a Pod's own spec but not in templates.
pub(crate) fn fill_pod_only(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    fill(spec, "enableServiceLinks", true);
    fill(spec, "priority", 0);
    fill(spec, "preemptionPolicy", "PreemptLowerPriority");
    for list in ["containers", "initContainers"] {
        for container in items_mut(spec, list) {
            request_what_is_limited(container);
        }
    }
    tolerate_short_outages(spec);
}

/// The deprecated `serviceAccount` and `serviceAccountName` always agree.
fn mirror_service_account(spec: &mut Value) {
    let of = |name: &str| {
        spec.get(name)
            .filter(|value| !is_unset(Some(value)))
            .cloned()
    };
    if let Some(name) = of("serviceAccountName").or_else(|| of("serviceAccount")) {
        spec["serviceAccountName"] = name.clone();
        spec["serviceAccount"] = name;
    }
}

fn fill_container(container: &mut Value, host_network: bool) {
    fill(container, "terminationMessagePath", "/dev/termination-log");
    fill(container, "terminationMessagePolicy", "File");
    fill(container, "resources", json!({}));
    within(container, "resources", spell_amounts);
    if let Some(policy) = container
        .get("image")
        .and_then(Value::as_str)
        .map(pull_policy)
    {
        fill(container, "imagePullPolicy", policy);
    }
    for port in items_mut(container, "ports") {
        fill(port, "protocol", "TCP");
        if host_network && let Some(number) = port.get("containerPort").cloned() {
            fill_positive(port, "hostPort", number.as_i64().unwrap_or_default());
        }
    }
    for env in items_mut(container, "env") {
        within(env, "valueFrom", |from| {
            within(from, "fieldRef", |reference| {
                fill(reference, "apiVersion", "v1");
            });
        });
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        within(container, probe, fill_probe);
    }
    within(container, "lifecycle", |hooks| {
        for hook in ["postStart", "preStop"] {
            within(hooks, hook, |hook| within(hook, "httpGet", fill_http_get));
        }
    });
}

/// Writes amounts in their canonical form; what is none is left for validation.
fn spell_amounts(resources: &mut Value) {
    for list in ["limits", "requests"] {
        let amounts = resources.get_mut(list).and_then(Value::as_object_mut);
        for (_, amount) in amounts.into_iter().flatten() {
            let text = match &*amount {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            if let Ok(canonical) = text.parse::<Amount>() {
                *amount = canonical.to_string().into();
            }
        }
    }
}

/// `Always` for the tag `latest`, written or implied; a digest or another tag never changes.
fn pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or(image);
    let is_latest =
        !image.contains('@') && matches!(last.split_once(':'), None | Some((_, "latest")));
    if is_latest { "Always" } else { "IfNotPresent" }
}

fn fill_probe(probe: &mut Value) {
    fill_positive(probe, "timeoutSeconds", 1);
    fill_positive(probe, "periodSeconds", 10);
    fill_positive(probe, "successThreshold", 1);
    fill_positive(probe, "failureThreshold", 3);
    within(probe, "httpGet", fill_http_get);
    if let Some(grpc) = object_mut(probe, "grpc") {
        grpc.entry("service").or_insert_with(|| "".into());
    }
}

fn fill_http_get(action: &mut Value) {
    fill(action, "path", "/");
    fill(action, "scheme", "HTTP");
}

/// A limit without a request is a request of the same amount.
fn request_what_is_limited(container: &mut Value) {
    let Some(resources) = object_mut(container, "resources") else {
        return;
    };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    let requests = resources.entry("requests").or_insert_with(|| json!({}));
    if requests.is_null() {
        *requests = json!({});
    }
    if let Some(requests) = requests.as_object_mut() {
        for (name, amount) in limits {
            requests.entry(name).or_insert(amount);
        }
    }
}

fn fill_volume(volume: &mut Value) {
    let Some(map) = volume.as_object_mut() else {
        return;
    };
    if !map
        .iter()
        .any(|(name, source)| name != "name" && !source.is_null())
    {
        map.insert("emptyDir".into(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        within(volume, source, |source| {
            fill(source, "defaultMode", FILE_MODE);
        });
    }
    if let Some(host_path) = object_mut(volume, "hostPath") {
        host_path.entry("type").or_insert_with(|| "".into());
    }
    within(volume, "downwardAPI", fill_downward_items);
    within(volume, "projected", |projected| {
        for source in items_mut(projected, "sources") {
            within(source, "downwardAPI", fill_downward_items);
            within(source, "serviceAccountToken", |token| {
                fill(token, "expirationSeconds", 3600);
            });
        }
    });
}

fn fill_downward_items(source: &mut Value) {
    for item in items_mut(source, "items") {
        within(item, "fieldRef", |reference| {
            fill(reference, "apiVersion", "v1");
        });
    }
}

/// Adds the two tolerations every pod gets, unless it says something about those taints itself.
fn tolerate_short_outages(spec: &mut Value) {
    let Some(map) = spec.as_object_mut() else {
        return;
    };
    let tolerations = map.entry("tolerations").or_insert_with(|| json!([]));
    if tolerations.is_null() {
        *tolerations = json!([]);
    }
    let Some(tolerations) = tolerations.as_array_mut() else {
        return;
    };
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let covered = tolerations.iter().any(|toleration| {
            let text = |name: &str| {
                toleration
                    .get(name)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            matches!(text("effect"), "" | "NoExecute")
                && (text("key") == key || (text("key").is_empty() && text("operator") == "Exists"))
        });
        if !covered {
            tolerations.push(json!({
                "effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": 300,
            }));
        }
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`, from cpu and memory of all containers.
pub(crate) fn quality_of_service(spec: &Value) -> &'static str {
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| super::json::items(spec, list));
    let (mut any, mut all_limited) = (false, true);
    for container in containers {
        let of = |part: &str| {
            container
                .pointer(&format!("/resources/{part}"))
                .and_then(Value::as_object)
        };
        let amount = |part: Option<&Map<String, Value>>, name: &str| {
            part.and_then(|part| part.get(name))
                .filter(|amount| !is_zero(amount))
                .cloned()
        };
        for name in ["cpu", "memory"] {
            let (limit, request) = (amount(of("limits"), name), amount(of("requests"), name));
            any |= limit.is_some() || request.is_some();
            all_limited &= limit.is_some() && limit == request;
        }
    }
    match (any, all_limited) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn is_zero(amount: &Value) -> bool {
    match amount {
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim_end_matches(|c: char| c.is_ascii_alphabetic()) == "0",
        _ => true,
    }
}
