//! Objects with any choice of optional fields: what is set survives a round trip, what is not set stays unset.

use kthena_api::crd;
use kthena_schema::Schema;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::round_trip::round_trip;

/// One object per kind with every field of its spec and status set.
fn full() -> Vec<(&'static str, Value)> {
    let condition = json!({"type": "Ready", "status": "True", "reason": "Fine", "message": "m",
        "lastTransitionTime": "2026-01-02T03:04:05Z", "observedGeneration": 2});
    let text = json!({"exact": "a", "prefix": "b", "regex": "c"});
    let stable = json!({"instances": 1, "percent": 2, "period": "15s", "selectPolicy": "Or", "stabilizationWindow": "5m0s"});
    let source = json!({
        "pod": {"name": "n", "uri": "/m", "port": 8100, "labelSelector": {"matchLabels": {"a": "b"}}},
        "prometheus": {"serverURL": "http://p", "query": "q", "auth": {}},
    });
    let target = json!({"targetRef": {"kind": "ModelServing", "name": "s", "namespace": "n"}, "metricSources": {"m": source}});
    let metrics = json!([{"name": "m", "targetValue": "500m"}]);
    let scaling = json!({"name": "r", "currentReplicas": 1, "desiredReplicas": 2, "mode": "Stable", "lastScaleTime": "2026-01-02T03:04:05Z"});
    let pod = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": {"containers": [{"name": "c"}]}});
    vec![
        (
            "ModelRoute",
            json!({"spec": {
                "modelName": "m", "loraAdapters": ["l"],
                "parentRefs": [{"group": "g", "kind": "Gateway", "namespace": "n", "name": "g", "sectionName": "s", "port": 80}],
                "rules": [{"name": "r", "modelMatch": {"headers": {"x": text}, "uri": text, "body": {"model": "m"}},
                    "targetModels": [{"modelServerName": "a", "externalModelProviderName": "p", "weight": 1}]}],
                "rateLimit": {"inputTokensPerUnit": 1, "outputTokensPerUnit": 2, "unit": "day", "global": {"redis": {"address": "h:1"}}},
                "sessionSticky": {"sessionAffinitySeconds": 60, "sources": [{"type": "JWTClaim", "name": "sub"}]},
            }}),
        ),
        (
            "ModelServer",
            json!({"spec": {
                "model": "m", "inferenceEngine": "SGLang",
                "workloadSelector": {"matchLabels": {"a": "b"}, "pdGroup": {"groupKey": "g", "prefillLabels": {"a": "p"}, "decodeLabels": {"a": "d"}}},
                "workloadPort": {"port": 1, "protocol": "https"},
                "trafficPolicy": {"timeout": "1m30s", "retry": {"attempts": 2, "retryInterval": "100ms"}},
                "kvConnector": {"type": "nixl"},
            }}),
        ),
        (
            "ExternalModelProvider",
            json!({"spec": {
            "providerType": "Anthropic", "model": "m", "baseURL": "https://h", "insecureSkipVerify": true,
            "auth": {"scheme": "Bearer", "secretRef": {"name": "s", "key": "k", "optional": false}}, "headers": {"a": "b"},
        }, "status": {"observedGeneration": 1, "conditions": [condition]}}),
        ),
        (
            "ModelServing",
            json!({"spec": {
            "replicas": 2, "schedulerName": "s", "recoveryPolicy": "None", "revisionHistoryLimit": 5,
            "plugins": [{"name": "p", "type": "BuiltIn", "config": {"any": [1]}, "scope": {"roles": ["r"], "target": "All"}}],
            "template": {"restartGracePeriodSeconds": 3, "gangPolicy": {"minRoleReplicas": {"r": 1}},
                "networkTopology": {"groupPolicy": {"mode": "soft", "highestTierAllowed": 1}, "rolePolicy": {"highestTierName": "n"}},
                "roles": [{"name": "r", "replicas": 1, "entryTemplate": pod, "workerReplicas": 1, "workerTemplate": pod,
                    "maxUnavailable": "50%", "partition": 1}]},
            "rolloutStrategy": {"type": "RoleRollingUpdate", "paused": true, "progressDeadlineSeconds": 600,
                "rollingUpdateConfiguration": {"maxUnavailable": 1, "partition": "10%", "maxSurge": "20%"}},
        }, "status": {"observedGeneration": 1, "replicas": 2, "currentReplicas": 3, "updatedReplicas": 4, "availableReplicas": 5,
            "currentRevision": "a", "updateRevision": "b", "conditions": [condition], "labelSelector": "l",
            "roles": [{"name": "r", "replicas": 6, "readyReplicas": 7, "updatedReplicas": 8}]}}),
        ),
        (
            "ModelBooster",
            json!({"spec": {
            "name": "n", "owner": "o", "modelMatch": {"uri": text},
            "backend": {"name": "b", "type": "vLLM", "modelURI": "hf://m", "cacheURI": "pvc://c", "replicas": 1, "schedulerName": "s",
                "runtimeClassName": "r", "env": [{"name": "A", "value": "1"}], "envFrom": [{"prefix": "p"}],
                "workers": [{"type": "server", "image": "i", "replicas": 1, "pods": 2, "resources": {"limits": {"cpu": "1"}},
                    "affinity": {"nodeAffinity": {}}, "tolerations": [{"key": "k"}], "config": {"a": {"b": [null]}}}]},
        }, "status": {"observedGeneration": 1, "conditions": [condition]}}),
        ),
        (
            "AutoscalingPolicy",
            json!({"spec": {
            "tolerancePercent": 0, "metrics": metrics,
            "behavior": {"scaleDown": stable, "scaleUp": {"stablePolicy": stable,
                "panicPolicy": {"percent": 1, "period": "0s", "panicThresholdPercent": 200, "panicModeHold": "1m0s"}}},
            "homogeneousTarget": {"target": target, "minReplicas": 0, "maxReplicas": 1},
            "heterogeneousTarget": {"params": [{"target": target, "cost": 0, "minReplicas": 0, "maxReplicas": 1}], "costExpansionRatePercent": 5},
            "disaggregatedTarget": {"targetRef": {"name": "s"},
                "roles": {"r": {"minReplicas": 0, "maxReplicas": 1, "metrics": metrics, "metricSources": {"m": source}}},
                "ratioConstraint": {"numeratorRole": "p", "denominatorRole": "d", "minRatio": "1", "maxRatio": "2"}},
        }, "status": {"observedGeneration": 1, "conditions": [condition], "homogeneousStatus": scaling, "heterogeneousStatus": [scaling],
            "disaggregatedStatus": {"roles": [scaling], "ratioAdjusted": true,
                "ratioStatus": {"numeratorRole": "p", "denominatorRole": "d", "currentRatio": "0.5"}}}}),
        ),
    ]
}

/// Removes optional members as the bits say, one bit each, in order.
fn thin(schema: &Schema, value: &mut Value, bits: &mut impl Iterator<Item = bool>) {
    match value {
        Value::Object(map) => {
            let required: Vec<&str> = schema.required().collect();
            map.retain(|name, member| {
                let below = schema.properties().find(|(known, _)| known == name);
                // Empty names of Kubernetes' own references are written by its own types; a server adds them anyway.
                let declared =
                    below.is_some_and(|(_, below)| below.default_value() != Some(&json!("")));
                if declared && !required.contains(&name.as_str()) && bits.next().unwrap_or(false) {
                    return false;
                }
                if let Some(below) = schema.field(name) {
                    thin(below, member, bits);
                }
                true
            });
        }
        Value::Array(items) => {
            if let Some(below) = schema.item() {
                for item in items {
                    thin(below, item, bits);
                }
            }
        }
        _ => {}
    }
}

/// A long sequence of bits from a short seed (xorshift).
fn next_bit(state: &mut u64) -> bool {
    *state |= 1;
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 40).is_multiple_of(4)
}

/// The example covers the schema: nothing was forgotten when a field was added.
#[test]
fn the_examples_set_every_field() {
    fn missing(schema: &Schema, value: &Value, path: &str, found: &mut Vec<String>) {
        for (name, below) in schema.properties() {
            match value.get(name) {
                None => found.push(format!("{path}.{name}")),
                Some(member) => missing(below, member, &format!("{path}.{name}"), found),
            }
        }
        if let (Some(below), Some(items)) = (schema.item(), value.as_array()) {
            for item in items {
                missing(below, item, &format!("{path}[]"), found);
            }
        }
    }
    for (kind, object) in full() {
        let schema = crd::schema(kind).expect("is one of the six");
        let mut found = Vec::new();
        for part in ["spec", "status"] {
            missing(
                schema.field(part).expect("is there"),
                &object[part],
                part,
                &mut found,
            );
        }
        // What the types of Kubernetes itself hold is theirs to test.
        found.retain(|path| {
            ![
                "Template.spec",
                "affinity",
                "tolerations",
                "resources",
                "env",
                "targetRef",
                "labelSelector",
                "Policy.highestTier",
                "rolePolicy",
                "modelMatch",
            ]
            .iter()
            .any(|part| path.contains(part))
        });
        assert_eq!(found, Vec::<String>::new(), "{kind}");
    }
}

proptest! {
    #[test]
    fn what_is_set_survives_and_what_is_not_stays_unset(seed in any::<u64>()) {
        for (kind, mut object) in full() {
            let schema = crd::schema(kind).expect("is one of the six");
            let mut state = seed;
            let mut bits = std::iter::repeat_with(|| next_bit(&mut state));
            for part in ["spec", "status"] {
                if let (Some(below), Some(value)) = (schema.field(part), object.get_mut(part)) {
                    thin(below, value, &mut bits);
                }
            }
            let found = round_trip(kind, &object).unwrap_or_else(|error| panic!("{kind}: {error}"));
            prop_assert_eq!(&found["spec"], &object["spec"], "{}", kind);
            prop_assert_eq!(found.get("status"), object.get("status"), "{}", kind);
        }
    }
}
