//! Rules SG-V1 to SG-V4, SG-V10 and SG-V11; the rules about rollouts are in `model_serving_rollout`.

use kthena_schema::Fault;
use serde_json::Value;

use super::at::At;
use super::{invalid, model_serving_rollout as rollout, names};

pub(super) fn check(root: &At<'_>, faults: &mut Vec<Fault>) {
    let spec = root.field("spec");
    let template = spec.field("template");
    let roles: Vec<At<'_>> = template.field("roles").items().collect();
    check_generated_names(root, &spec, &roles, faults);
    for role in &roles {
        check_role_name(role, faults);
    }
    for role in &roles {
        check_images(role, faults);
    }
    check_replicas(&spec, &template, &roles, faults);
    rollout::check_group_level(&spec, faults);
    rollout::check_partitions(&spec, &roles, faults);
    rollout::check_role_max_unavailable(&spec, &roles, faults);
    check_gang(&template, &roles, faults);
    check_workers(&roles, faults);
    rollout::check_policies(&spec, faults);
}

/// A replica count; absent counts as 1.
pub(super) fn replicas_of(at: &At<'_>) -> i64 {
    at.field("replicas").int().unwrap_or(1)
}

/// The longest name that would be made for each role must be a DNS label.
fn check_generated_names(root: &At<'_>, spec: &At<'_>, roles: &[At<'_>], faults: &mut Vec<Fault>) {
    let name = root.field("metadata").field("name");
    for role in roles {
        let generated = format!(
            "{}-{}-{}-{}-{}",
            name.text(),
            replicas_of(spec),
            role.field("name").text(),
            replicas_of(role),
            role.field("workerReplicas").int().unwrap_or(0),
        );
        let wrong = names::dns_1035(&generated);
        if !wrong.is_empty() {
            let detail = format!("invalid name: {}", wrong.join("; "));
            faults.push(invalid(name.path.clone(), name.text(), detail));
        }
    }
}

fn check_role_name(role: &At<'_>, faults: &mut Vec<Fault>) {
    let name = role.field("name");
    let wrong = names::dns_1035(name.text());
    if !wrong.is_empty() {
        let detail = format!(
            "role name must be a valid DNS-1035 label (lowercase alphanumeric characters or '-', must start with a letter): {}",
            wrong.join("; ")
        );
        faults.push(invalid(
            name.path,
            name.value.as_str().unwrap_or(""),
            detail,
        ));
    }
}

fn check_images(role: &At<'_>, faults: &mut Vec<Fault>) {
    for template in ["entryTemplate", "workerTemplate"] {
        let containers = role.field(template).field("spec").field("containers");
        for container in containers.items() {
            let image = container.field("image");
            let text = image.text();
            if text.is_empty() {
                continue;
            }
            if text.trim().is_empty() {
                let detail =
                    "invalid container image reference: image cannot be empty or whitespace only";
                faults.push(image.invalid(detail));
            } else if text.contains(' ') {
                faults.push(
                    image.invalid("invalid container image reference: image cannot contain spaces"),
                );
            }
        }
    }
}

fn check_replicas(spec: &At<'_>, template: &At<'_>, roles: &[At<'_>], faults: &mut Vec<Fault>) {
    let negative_or_absent = |at: &At<'_>| at.int().is_none_or(|count| count < 0);
    let replicas = spec.field("replicas");
    if negative_or_absent(&replicas) {
        faults.push(replicas.invalid("replicas must be a non-negative integer"));
    }
    if roles.is_empty() {
        let path = template.field("roles").path;
        faults.push(invalid(path, Value::Null, "roles must be specified"));
    }
    for role in roles {
        let replicas = role.field("replicas");
        if negative_or_absent(&replicas) {
            faults.push(replicas.invalid("role replicas must be a non-negative integer"));
        }
    }
}

fn check_gang(template: &At<'_>, roles: &[At<'_>], faults: &mut Vec<Fault>) {
    for (name, least) in template
        .field("gangPolicy")
        .field("minRoleReplicas")
        .entries()
    {
        let Some(role) = roles.iter().find(|role| role.field("name").text() == name) else {
            let detail = format!("role {name} does not exist in template.roles");
            faults.push(invalid(least.path, name, detail));
            continue;
        };
        let (count, replicas) = (least.int().unwrap_or(0), replicas_of(role));
        if count > replicas {
            faults.push(least.invalid(format!(
                "minRoleReplicas ({count}) for role {name} cannot exceed replicas ({replicas})"
            )));
        }
        if count < 0 {
            faults.push(least.invalid(format!(
                "minRoleReplicas for role {name} must be non-negative"
            )));
        }
    }
}

fn check_workers(roles: &[At<'_>], faults: &mut Vec<Fault>) {
    for role in roles {
        let workers = role.field("workerReplicas");
        let count = workers.int().unwrap_or(0);
        if count < 0 {
            faults.push(workers.invalid("workerReplicas must be a non-negative integer"));
        }
        let template = role.field("workerTemplate");
        if count > 0 && template.is_absent() {
            faults.push(
                template
                    .required("workerTemplate is required when workerReplicas is greater than 0"),
            );
        }
    }
}
