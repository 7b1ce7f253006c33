//! Rows of services and of what stands behind them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::read::{NONE, age, count, items, joined, name, pairs, text, text_or};

/// More addresses or ports than this are only counted.
const SHOWN: usize = 3;

pub(super) fn service_cells(service: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(service),
        json!(text_or(service, &["spec", "type"], "ClusterIP")),
        json!(text_or(service, &["spec", "clusterIP"], NONE)),
        json!(external_address(service)),
        json!(ports(service)),
        age(service, now),
        json!(pairs(service, &["spec", "selector"])),
    ]
}

fn external_address(service: &Value) -> String {
    let external = || {
        items(service, &["spec", "externalIPs"])
            .iter()
            .filter_map(Value::as_str)
    };
    match text(service, &["spec", "type"]) {
        "ExternalName" => text(service, &["spec", "externalName"]).to_owned(),
        "LoadBalancer" => {
            let ingress = items(service, &["status", "loadBalancer", "ingress"])
                .iter()
                .map(|ingress| text_or(ingress, &["ip"], text(ingress, &["hostname"])));
            joined(ingress.chain(external()), "<pending>")
        }
        _ => joined(external(), NONE),
    }
}

fn ports(service: &Value) -> String {
    let ports: Vec<String> = items(service, &["spec", "ports"])
        .iter()
        .map(|port| {
            let protocol = text_or(port, &["protocol"], "TCP");
            let number = count(port, &["port"]);
            match count(port, &["nodePort"]) {
                0 => format!("{number}/{protocol}"),
                node_port => format!("{number}:{node_port}/{protocol}"),
            }
        })
        .collect();
    joined(ports.iter().map(String::as_str), NONE)
}

pub(super) fn endpoints_cells(endpoints: &Value, now: Timestamp) -> Vec<Value> {
    let mut shown = Vec::new();
    for subset in items(endpoints, &["subsets"]) {
        for address in items(subset, &["addresses"]) {
            let ip = text(address, &["ip"]);
            match items(subset, &["ports"]) {
                [] => shown.push(ip.to_owned()),
                ports => shown.extend(
                    ports
                        .iter()
                        .map(|port| format!("{ip}:{}", count(port, &["port"]))),
                ),
            }
        }
    }
    vec![
        name(endpoints),
        json!(limited(&shown, NONE)),
        age(endpoints, now),
    ]
}

pub(super) fn slice_cells(slice: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = items(slice, &["ports"])
        .iter()
        .filter_map(|port| port.get("port")?.as_i64().map(|number| number.to_string()))
        .collect();
    let addresses: Vec<String> = items(slice, &["endpoints"])
        .iter()
        .flat_map(|endpoint| items(endpoint, &["addresses"]))
        .filter_map(|address| Some(address.as_str()?.to_owned()))
        .collect();
    vec![
        name(slice),
        json!(text(slice, &["addressType"])),
        json!(limited(&ports, "<unset>")),
        json!(limited(&addresses, "<unset>")),
        age(slice, now),
    ]
}

/// The first few, and how many there are beyond.
fn limited(shown: &[String], missing: &str) -> String {
    let more = shown.len().saturating_sub(SHOWN);
    let text = joined(shown.iter().take(SHOWN).map(String::as_str), missing);
    if more == 0 {
        text
    } else {
        format!("{text} + {more} more...")
    }
}
