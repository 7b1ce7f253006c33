//! Rules MR-V1 to MR-V10, and those of `sessionSticky`.

use kthena_schema::Fault;
use serde_json::Value;

use super::at::At;
use super::{invalid, names};

pub(super) fn check(root: &At<'_>, faults: &mut Vec<Fault>) {
    let spec = root.field("spec");
    let adapters = spec.field("loraAdapters");
    if spec.field("modelName").text().is_empty() && adapters.len() == 0 {
        faults.push(spec.required("either modelName or loraAdapters must be specified"));
    }
    for adapter in adapters.items().filter(|adapter| adapter.text().is_empty()) {
        faults.push(invalid(
            adapter.path,
            "",
            "lora adapter name cannot be an empty string",
        ));
    }
    for rule in spec.field("rules").items() {
        check_rule(&rule, adapters.len() > 0, faults);
    }
    check_sticky(&spec.field("sessionSticky"), faults);
}

fn check_rule(rule: &At<'_>, lora: bool, faults: &mut Vec<Fault>) {
    if rule.is_absent() {
        faults.push(rule.invalid("rule must not be nil"));
        return;
    }
    let targets = rule.field("targetModels");
    if targets.len() == 0 {
        faults.push(targets.required("each rule must have at least one target model"));
        return;
    }
    let mut total = 0_i64;
    for target in targets.items() {
        if target.is_absent() {
            faults.push(target.invalid("target model must not be nil"));
            continue;
        }
        check_target(&target, lora, faults);
        total = total.saturating_add(target.field("weight").int().unwrap_or(100));
    }
    if total == 0 {
        faults.push(invalid(
            targets.path.clone(),
            0,
            "total weight must be greater than zero",
        ));
    }
    check_match(&rule.field("modelMatch"), faults);
}

fn check_target(target: &At<'_>, lora: bool, faults: &mut Vec<Fault>) {
    let server = target.field("modelServerName");
    let provider = target.field("externalModelProviderName");
    if server.text().is_empty() == provider.text().is_empty() {
        let names = format!("{}/{}", server.text(), provider.text());
        let detail = "exactly one of modelServerName or externalModelProviderName must be set";
        faults.push(invalid(target.path.clone(), names, detail));
    }
    if lora && !provider.text().is_empty() {
        faults.push(provider.invalid("lora routes must target modelServerName"));
    }
}

fn check_match(condition: &At<'_>, faults: &mut Vec<Fault>) {
    for (_, header) in condition.field("headers").entries() {
        check_regex(&header.field("regex"), faults);
    }
    check_regex(&condition.field("uri").field("regex"), faults);
}

fn check_regex(regex: &At<'_>, faults: &mut Vec<Fault>) {
    if let Value::String(pattern) = regex.value
        && let Err(error) = crate::regex::compile(pattern)
    {
        faults.push(regex.invalid(error.to_string()));
    }
}

fn check_sticky(sticky: &At<'_>, faults: &mut Vec<Fault>) {
    if sticky.is_absent() {
        return;
    }
    let seconds = sticky.field("sessionAffinitySeconds");
    if seconds.int().is_some_and(|seconds| seconds < 1) {
        faults.push(seconds.invalid("must be at least 1"));
    }
    let sources = sticky.field("sources");
    if sources.len() == 0 {
        faults.push(sources.required("at least one source of the session's key must be specified"));
    }
    for source in sources.items() {
        let name = source.field("name");
        match source.field("type").text() {
            _ if name.text().is_empty() => {
                faults.push(name.required("name must be specified"));
            }
            "Header" if !names::is_http_token(name.text()) => {
                faults.push(name.invalid("header name is invalid"));
            }
            "Cookie" if !names::is_http_token(name.text()) => {
                faults.push(name.invalid("cookie name is invalid"));
            }
            "Body" if name.text() != "user" => {
                faults.push(name.invalid("only the field user of a body is looked for"));
            }
            _ => {}
        }
    }
}
