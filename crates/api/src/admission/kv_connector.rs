//! Rule MB-V6: prefill and decode workers must hand KV caches over in the same way.

use kthena_schema::go;
use serde_json::{Map, Value};

use super::at::At;
use super::model_booster::worker_type;

const SUPPORTED: &str = "LMCacheConnectorV1, MooncakeConnector, MooncakeConnectorV1, NixlConnector";

/// A connector as an engine names it and as the router knows it.
struct Connector {
    name: String,
    protocol: &'static str,
}

/// The first thing that is wrong. The order of the workers does not matter.
pub(super) fn check(backend: &str, workers: &[At<'_>]) -> Result<(), String> {
    let prefill = only(backend, "prefill", workers)?;
    let decode = only(backend, "decode", workers)?;
    let prefill = prefill.map_or(Ok(None), |worker| connector(worker, "prefill"))?;
    let decode = decode.map_or(Ok(None), |worker| connector(worker, "decode"))?;
    match (prefill, decode) {
        (Some(prefill), Some(decode)) if prefill.protocol != decode.protocol => Err(format!(
            "backend {backend}: kv_connector mismatch between prefill ({}) and decode ({}) workers; prefill and decode must use the same kv connector",
            go::quote(&prefill.name),
            go::quote(&decode.name),
        )),
        (Some(connector), None) => Err(one_side(backend, "prefill", &connector, "decode")),
        (None, Some(connector)) => Err(one_side(backend, "decode", &connector, "prefill")),
        _ => Ok(()),
    }
}

fn one_side(backend: &str, side: &str, connector: &Connector, other: &str) -> String {
    format!(
        "backend {backend}: {side} worker specifies kv_connector {} but the {other} worker has no kv-transfer-config; prefill and decode must configure the same kv connector",
        go::quote(&connector.name)
    )
}

fn only<'w, 'v>(
    backend: &str,
    kind: &str,
    workers: &'w [At<'v>],
) -> Result<Option<&'w At<'v>>, String> {
    let found: Vec<&At<'_>> = workers
        .iter()
        .filter(|worker| worker_type(worker) == kind)
        .collect();
    if found.len() > 1 {
        return Err(format!(
            "backend {backend}: found {} {kind} workers, expected at most 1; duplicate {kind} workers are not supported",
            found.len()
        ));
    }
    Ok(found.first().copied())
}

fn connector(worker: &At<'_>, kind: &str) -> Result<Option<Connector>, String> {
    let fail = |why: String| Err(format!("worker {kind}: {why}"));
    let config = match worker.field("config").value {
        Value::Null => return Ok(None),
        Value::Object(map) => map,
        _ => return fail("invalid config: it must be a JSON object".to_owned()),
    };
    let text = match config.get("kv-transfer-config") {
        None => return Ok(None),
        Some(Value::String(text)) => text,
        Some(other) => {
            return fail(format!(
                "kv-transfer-config must be a JSON string, got {}",
                go_type(other)
            ));
        }
    };
    let settings: Map<String, Value> = match serde_json::from_str(text) {
        Ok(settings) => settings,
        Err(error) => return fail(format!("invalid kv-transfer-config: {error}")),
    };
    let setting = |name: &str| {
        settings
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let Some(name) = setting("kv_connector") else {
        return fail("kv-transfer-config is set but kv_connector is missing".to_owned());
    };
    let Some(protocol) = protocol(name) else {
        return fail(format!(
            "unsupported kv_connector {} (supported: {SUPPORTED})",
            go::quote(name)
        ));
    };
    let Some(role) = setting("kv_role") else {
        return fail("kv-transfer-config is set but kv_role is missing".to_owned());
    };
    let own = if kind == "prefill" {
        "kv_producer"
    } else {
        "kv_consumer"
    };
    if role != own && role != "kv_both" {
        return fail(format!(
            "invalid kv_role {}, expected one of [{own}, kv_both]",
            go::quote(role)
        ));
    }
    Ok(Some(Connector {
        name: name.to_owned(),
        protocol,
    }))
}

fn protocol(connector: &str) -> Option<&'static str> {
    Some(match connector {
        "LMCacheConnectorV1" => "lmcache",
        "MooncakeConnector" | "MooncakeConnectorV1" => "mooncake",
        "NixlConnector" => "nixl",
        _ => return None,
    })
}

/// What Go calls the type of a decoded JSON value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
