//! Checks of pod specs, and of what an update may change in a Pod.

use kthena_schema::{Fault, FieldPath};
use serde_json::Value;

use crate::core_types::json::{items, items_mut, text};

/// Members of a pod spec that an update may change; what is wrong with a change of the first three is said by name.
const CHANGEABLE: &[&str] = &["activeDeadlineSeconds", "tolerations", "schedulingGates"];

/// Checks a spec that stands in a Pod or in a template.
pub(super) fn spec(spec: Option<&Value>, path: &FieldPath, faults: &mut Vec<Fault>) {
    let nothing = Value::Null;
    let spec = spec.unwrap_or(&nothing);
    if items(spec, "containers").next().is_none() {
        faults.push(Fault::required(path.field("containers"), ""));
    }
    let mut names: Vec<&str> = Vec::new();
    let volumes = volumes(spec, path, faults);
    for list in ["initContainers", "containers"] {
        for (index, container) in items(spec, list).enumerate() {
            let at = path.field(list).index(index);
            let name = text(container, &["name"]);
            label_name(name, &at.field("name"), faults);
            if !name.is_empty() && names.contains(&name) {
                faults.push(Fault::duplicate(at.field("name"), name));
            }
            names.push(name);
            container_parts(container, &at, &volumes, faults);
        }
    }
    let choices: [(&str, &[&str]); 2] = [
        ("restartPolicy", &["Always", "Never", "OnFailure"]),
        (
            "dnsPolicy",
            &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        ),
    ];
    for (member, allowed) in choices {
        let value = text(spec, &[member]);
        if !value.is_empty() && !allowed.contains(&value) {
            faults.push(Fault::not_supported(path.field(member), value, allowed));
        }
    }
    let grace = spec
        .get("terminationGracePeriodSeconds")
        .and_then(Value::as_i64);
    if let Some(grace) = grace.filter(|grace| *grace < 0) {
        let detail = "must be greater than or equal to 0";
        faults.push(Fault::invalid(
            path.field("terminationGracePeriodSeconds"),
            grace,
            detail,
        ));
    }
}

fn volumes<'a>(spec: &'a Value, path: &FieldPath, faults: &mut Vec<Fault>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (index, volume) in items(spec, "volumes").enumerate() {
        let at = path.field("volumes").index(index).field("name");
        let name = text(volume, &["name"]);
        label_name(name, &at, faults);
        if names.contains(&name) {
            faults.push(Fault::duplicate(at, name));
        }
        names.push(name);
    }
    names
}

fn container_parts(container: &Value, path: &FieldPath, volumes: &[&str], faults: &mut Vec<Fault>) {
    if text(container, &["image"]).is_empty() {
        faults.push(Fault::required(path.field("image"), ""));
    }
    for (index, port) in items(container, "ports").enumerate() {
        let at = path.field("ports").index(index);
        port_number(
            port.get("containerPort"),
            &at.field("containerPort"),
            faults,
        );
    }
    for (index, env) in items(container, "env").enumerate() {
        let at = path.field("env").index(index);
        if text(env, &["name"]).is_empty() {
            faults.push(Fault::required(at.field("name"), ""));
        }
        let both =
            !text(env, &["value"]).is_empty() && env.get("valueFrom").is_some_and(Value::is_object);
        if both {
            let detail = "may not be specified when `value` is not empty";
            faults.push(Fault::invalid(at.field("valueFrom"), "", detail));
        }
    }
    for (index, mount) in items(container, "volumeMounts").enumerate() {
        let at = path.field("volumeMounts").index(index);
        let name = text(mount, &["name"]);
        if name.is_empty() {
            faults.push(Fault::required(at.field("name"), ""));
        } else if !volumes.contains(&name) {
            let fault = Fault::invalid(at.field("name"), name, "");
            faults.push(Fault {
                kind: kthena_schema::FaultKind::NotFound,
                ..fault
            });
        }
        if text(mount, &["mountPath"]).is_empty() {
            faults.push(Fault::required(at.field("mountPath"), ""));
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(found) = container.get(probe).filter(|probe| probe.is_object()) {
            handler(found, &path.field(probe), faults);
        }
    }
}

fn handler(probe: &Value, path: &FieldPath, faults: &mut Vec<Fault>) {
    let kinds = ["exec", "httpGet", "tcpSocket", "grpc"];
    let given = kinds
        .iter()
        .filter(|kind| probe.get(**kind).is_some_and(Value::is_object));
    match given.count() {
        1 => {}
        0 => faults.push(Fault::required(path.clone(), "must specify a handler type")),
        _ => faults.push(Fault::forbidden(
            path.clone(),
            "may not specify more than 1 handler type",
        )),
    }
}

/// Checks a name that must be a DNS label.
fn label_name(name: &str, path: &FieldPath, faults: &mut Vec<Fault>) {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() {
        faults.push(Fault::required(path.clone(), ""));
    } else if name.len() > 63 {
        faults.push(Fault::invalid(
            path.clone(),
            name,
            "must be no more than 63 characters",
        ));
    } else if !name.bytes().all(inner) || name.starts_with('-') || name.ends_with('-') {
        let detail = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
            start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
            '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
        faults.push(Fault::invalid(path.clone(), name, detail));
    }
}

/// Checks a port that must be given.
pub(super) fn port_number(port: Option<&Value>, path: &FieldPath, faults: &mut Vec<Fault>) {
    match port.and_then(Value::as_i64) {
        Some(1..=65535) => {}
        other => {
            let detail = "must be between 1 and 65535, inclusive";
            faults.push(Fault::invalid(
                path.clone(),
                other.unwrap_or_default(),
                detail,
            ));
        }
    }
}

/// Refuses changes of a running pod beyond the few that are allowed.
pub(super) fn update(object: &Value, old: &Value, faults: &mut Vec<Fault>) {
    let path = FieldPath::new("spec");
    let of = |object: &Value| object.get("spec").cloned().unwrap_or_default();
    let (mut now, before) = (of(object), of(old));
    for list in ["containers", "initContainers"] {
        if items(&now, list).count() != items(&before, list).count() {
            let detail = "pod updates may not add or remove containers";
            faults.push(Fault::forbidden(path.field(list), detail));
            return;
        }
    }
    if items(&before, "tolerations")
        .any(|held| !items(&now, "tolerations").any(|kept| kept == held))
    {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        faults.push(Fault::forbidden(path.field("tolerations"), detail));
    }
    if now == before {
        return;
    }
    for list in ["containers", "initContainers"] {
        for (container, held) in items_mut(&mut now, list).zip(items(&before, list)) {
            container["image"] = held["image"].clone();
        }
    }
    if let Some(now) = now.as_object_mut() {
        for member in CHANGEABLE {
            match before.get(*member) {
                Some(held) => now.insert((*member).to_owned(), held.clone()),
                None => now.remove(*member),
            };
        }
    }
    if now != before {
        let detail = "pod updates may not change fields other than `spec.containers[*].image`,\
            `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
            tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        faults.push(Fault::forbidden(path, detail));
    }
}
