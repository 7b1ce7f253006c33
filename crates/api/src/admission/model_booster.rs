//! Rules MB-V1 to MB-V6.

use kthena_schema::{Fault, go};
use serde_json::Value;

use super::at::At;
use super::{invalid, kv_connector};

const MOST_REPLICAS: i64 = 1_000_000;
const DISAGGREGATED: &str = "vLLMDisaggregated";
const DEFAULT_PORT: u16 = 8000;

pub(super) fn check(root: &At<'_>, faults: &mut Vec<Fault>) {
    let backend = root.field("spec").field("backend");
    let workers: Vec<At<'_>> = backend.field("workers").items().collect();
    check_replicas(&backend.field("replicas"), faults);
    for worker in &workers {
        check_image(&worker.field("image"), faults);
    }
    check_worker_types(&backend, &workers, faults);
    faults.extend(port_fault(backend.field("type").text(), &workers));
    faults.extend(volume_fault(&backend));
    if let Err(why) = kv_connector::check(backend.field("name").text(), &workers) {
        let detail = format!("invalid kv connector configuration: {why}");
        faults.push(invalid(
            backend.field("workers").path,
            backend.field("name").text(),
            detail,
        ));
    }
}

/// The type of a worker; absent counts as `server`.
pub(super) fn worker_type<'v>(worker: &At<'v>) -> &'v str {
    match worker.field("type").text() {
        "" => "server",
        name => name,
    }
}

fn check_replicas(replicas: &At<'_>, faults: &mut Vec<Fault>) {
    if let Some(count) = replicas.int().filter(|count| *count > MOST_REPLICAS) {
        faults.push(replicas.invalid(format!("replicas ({count}) cannot exceed {MOST_REPLICAS}")));
    }
}

fn check_image(image: &At<'_>, faults: &mut Vec<Fault>) {
    let text = image.text();
    if text.is_empty() {
        return;
    }
    if text.trim().is_empty() {
        faults.push(image.invalid(
            "invalid container image reference: image cannot be empty or whitespace only",
        ));
    } else if text.contains(char::is_whitespace) {
        faults.push(
            image.invalid("invalid container image reference: image cannot contain whitespace"),
        );
    }
}

fn check_worker_types(backend: &At<'_>, workers: &[At<'_>], faults: &mut Vec<Fault>) {
    let kind = backend.field("type").text();
    let (allowed, listed): (&[&str], &str) = match kind {
        "vLLM" | "SGLang" | "MindIE" => {
            check_single_worker(kind, backend, workers, faults);
            return;
        }
        DISAGGREGATED => (&["prefill", "decode"], "'prefill' or 'decode'"),
        "MindIEDisaggregated" => (
            &["prefill", "decode", "controller", "coordinator"],
            "'prefill', 'decode', 'controller', or 'coordinator'",
        ),
        _ => return,
    };
    for worker in workers
        .iter()
        .filter(|worker| !allowed.contains(&worker_type(worker)))
    {
        let detail = format!("If backend type is '{kind}', all workers must be type {listed}");
        faults.push(invalid(
            worker.field("type").path,
            worker_type(worker),
            detail,
        ));
    }
}

fn check_single_worker(kind: &str, backend: &At<'_>, workers: &[At<'_>], faults: &mut Vec<Fault>) {
    match workers {
        [worker] if worker_type(worker) == "server" => {}
        [worker] => {
            let detail = format!("If backend type is '{kind}', the worker type must be 'server'");
            faults.push(invalid(
                worker.field("type").path,
                worker_type(worker),
                detail,
            ));
        }
        several => {
            let detail = format!("If backend type is '{kind}', there must be exactly one worker");
            faults.push(invalid(
                backend.field("workers").path,
                several.len(),
                detail,
            ));
        }
    }
}

/// All engines of a backend must listen on one port; the first problem is reported.
fn port_fault(kind: &str, workers: &[At<'_>]) -> Option<Fault> {
    if !matches!(kind, "vLLM" | DISAGGREGATED) {
        return None;
    }
    let mut common: Option<u16> = None;
    for worker in workers
        .iter()
        .filter(|worker| matches!(worker_type(worker), "server" | "prefill" | "decode"))
    {
        let port = match port_of(worker) {
            Ok(port) => port,
            Err(fault) => return Some(fault),
        };
        let first = *common.get_or_insert(port);
        if first != port {
            let detail = format!("workers use different engine ports: {first} and {port}");
            return Some(invalid(
                worker.field("config").field("port").path,
                port,
                detail,
            ));
        }
    }
    None
}

fn port_of(worker: &At<'_>) -> Result<u16, Fault> {
    let config = worker.field("config");
    let at = config.field("port");
    let kind = worker_type(worker);
    let port = match config.value {
        Value::Null => return Ok(DEFAULT_PORT),
        Value::Object(map) => match map.get("port") {
            None => return Ok(DEFAULT_PORT),
            Some(port) => port,
        },
        _ => {
            // The content of a configuration must not show up in a message.
            let detail =
                format!("failed to get port for worker {kind}: config must be a JSON object");
            return Err(invalid(at.path, Value::Null, detail));
        }
    };
    let text = match port {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        Value::Number(number) => number
            .as_f64()
            .map_or_else(|| number.to_string(), go::float),
        other => other.to_string(),
    };
    let parsed = text.parse::<u16>().ok().filter(|port| *port > 0);
    parsed.ok_or_else(|| {
        invalid(
            at.path,
            port.clone(),
            format!("invalid port {} for worker {kind}", go::quote(&text)),
        )
    })
}

/// A model on a volume must lie in the volume that is mounted as the cache.
fn volume_fault(backend: &At<'_>) -> Option<Fault> {
    let (model, cache) = (backend.field("modelURI"), backend.field("cacheURI"));
    let source = model.text().strip_prefix("pvc://")?;
    let Some(claim) = cache.text().strip_prefix("pvc://") else {
        let detail = "when modelURI uses pvc://, cacheURI must also use pvc:// so that the volume is mounted";
        return Some(invalid(cache.path.clone(), cache.text(), detail));
    };
    if source.split('/').any(|segment| segment == "..") {
        return Some(model.invalid("pvc:// modelURI must not contain '..' path segments"));
    }
    let claim = claim.trim_matches('/');
    if claim.is_empty() || claim.contains('/') {
        let detail = "pvc:// cacheURI must contain a single PVC claim name with no path separator; claim names cannot contain '/'";
        return Some(cache.invalid(detail));
    }
    let segments: Vec<&str> = source
        .split('/')
        .filter(|segment| !matches!(*segment, "" | "."))
        .collect();
    let path = format!("/{}", segments.join("/"));
    if segments.first() != Some(&claim) {
        let mount = go::quote(&format!("/{claim}"));
        let detail = format!(
            "PVC source path {} is not reachable via cacheURI mount {mount}",
            go::quote(&path)
        );
        return Some(model.invalid(detail));
    }
    None
}
