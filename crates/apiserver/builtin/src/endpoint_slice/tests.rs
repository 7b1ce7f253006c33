use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::{LARGEST, ServiceView, SliceAction, plan};

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn service(spec: &Value) -> Arc<Service> {
    Arc::new(typed(
        json!({"metadata": {"name": "web", "namespace": "ns", "uid": "u"}, "spec": spec}),
    ))
}

fn plain() -> Arc<Service> {
    service(
        &json!({"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8000}]}),
    )
}

fn pod(name: &str, ip: &str, ready: bool, deleting: bool) -> Arc<Pod> {
    Arc::new(typed(json!({
        "metadata": {
            "name": name, "namespace": "ns", "uid": name, "labels": {"app": "web"},
            "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z"),
        },
        "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 9000}]}]},
        "status": {"phase": "Running", "podIP": ip, "conditions": [
            {"type": "Ready", "status": if ready {"True"} else {"False"}},
        ]},
    })))
}

fn planned(
    service: Arc<Service>,
    pods: Vec<Arc<Pod>>,
    slices: Vec<Arc<EndpointSlice>>,
) -> Vec<SliceAction> {
    plan(&ServiceView {
        service,
        pods,
        slices,
    })
}

fn created(actions: Vec<SliceAction>) -> Vec<EndpointSlice> {
    let created = actions.into_iter().filter_map(|action| match action {
        SliceAction::Create(slice) => Some(*slice),
        SliceAction::Replace(_) | SliceAction::Delete(..) => None,
    });
    created.collect()
}

#[rstest]
#[case::ready(true, false, false, [true, true, false])]
#[case::not_ready(false, false, false, [false, false, false])]
#[case::ready_but_going(true, true, false, [false, true, true])]
#[case::published_anyway(false, false, true, [true, false, false])]
fn conditions_follow_the_pod(
    #[case] ready: bool,
    #[case] deleting: bool,
    #[case] publish: bool,
    #[case] expected: [bool; 3],
) {
    let spec = json!({"selector": {"app": "web"}, "publishNotReadyAddresses": publish, "ports": [{"port": 80}]});

    let slices = created(planned(
        service(&spec),
        vec![pod("a", "10.0.0.1", ready, deleting)],
        vec![],
    ));

    let endpoint = &slices[0].endpoints.as_ref().unwrap()[0];
    let conditions = endpoint.conditions.as_ref().unwrap();
    let actual = [conditions.ready, conditions.serving, conditions.terminating].map(Option::unwrap);
    assert_eq!(actual, expected);
    assert_eq!(
        endpoint.target_ref.as_ref().unwrap().name.as_deref(),
        Some("a")
    );
}

#[rstest]
#[case::by_number(json!({"port": 80, "targetPort": 8000}), Some(8000))]
#[case::same_number(json!({"port": 80}), Some(80))]
#[case::by_name(json!({"port": 80, "targetPort": "web"}), Some(9000))]
#[case::unknown_name(json!({"port": 80, "targetPort": "nope"}), None)]
#[case::name_of_another_protocol(json!({"port": 80, "targetPort": "web", "protocol": "UDP"}), None)]
fn ports_are_resolved_by_the_pod(#[case] port: Value, #[case] expected: Option<i32>) {
    let spec = json!({"selector": {"app": "web"}, "ports": [port]});

    let slices = created(planned(
        service(&spec),
        vec![pod("a", "10.0.0.1", true, false)],
        vec![],
    ));

    assert_eq!(
        slices[0]
            .ports
            .as_ref()
            .unwrap()
            .first()
            .and_then(|port| port.port),
        expected
    );
}

#[test]
fn a_service_without_pods_has_one_empty_slice() {
    let slices = created(planned(plain(), vec![], vec![]));

    assert_eq!(slices.len(), 1);
    assert_eq!(slices[0].endpoints, Some(vec![]));
    assert_eq!(
        slices[0].metadata.labels.as_ref().unwrap()["kubernetes.io/service-name"],
        "web"
    );
}

#[rstest]
#[case::no_selector(json!({"ports": [{"port": 80}]}))]
#[case::external(json!({"selector": {"app": "web"}, "type": "ExternalName", "externalName": "x"}))]
fn services_that_point_elsewhere_have_no_slices(#[case] spec: Value) {
    assert!(
        planned(
            service(&spec),
            vec![pod("a", "10.0.0.1", true, false)],
            vec![]
        )
        .is_empty()
    );
}

#[test]
fn slices_of_another_writer_are_left_alone() {
    let foreign = typed(json!({
        "metadata": {"name": "web-x", "namespace": "ns", "uid": "f", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "endpoints": [],
    }));

    let actions = planned(plain(), vec![], vec![Arc::new(foreign)]);

    assert!(
        actions
            .iter()
            .all(|action| matches!(action, SliceAction::Create(_)))
    );
}

/// What the server would hold after `actions`.
fn after(slices: Vec<Arc<EndpointSlice>>, actions: Vec<SliceAction>) -> Vec<Arc<EndpointSlice>> {
    let mut slices = slices;
    for action in actions {
        match action {
            SliceAction::Create(slice) => slices.push(Arc::new(*slice)),
            SliceAction::Replace(slice) => {
                slices.retain(|known| known.metadata.name != slice.metadata.name);
                slices.push(Arc::new(*slice));
            }
            SliceAction::Delete(name, _) => {
                slices.retain(|known| known.metadata.name != Some(name.clone()));
            }
        }
    }
    slices
}

proptest! {
    /// From any earlier pods to any later ones: one round settles, and every pod is listed once.
    #[test]
    fn one_round_settles(before in 0_usize..250, later in prop::collection::vec(any::<[bool; 3]>(), 0..250)) {
        let earlier = (0..before).map(|n| pod(&format!("p{n}"), "10.0.0.1", true, false)).collect();
        let slices = after(vec![], planned(plain(), earlier, vec![]));
        let pods: Vec<_> = later.iter().enumerate().map(|(number, [ready, deleting, six])| {
            let ip = if *six { format!("fd00::{number:x}") } else { format!("10.0.{}.{}", number / 200, number % 200) };
            pod(&format!("p{number}"), &ip, *ready, *deleting)
        }).collect();
        let slices = after(slices.clone(), planned(plain(), pods.clone(), slices));

        prop_assert!(planned(plain(), pods.clone(), slices.clone()).is_empty());
        let sizes: Vec<usize> = slices.iter().map(|slice| slice.endpoints.as_ref().unwrap().len()).collect();
        prop_assert!(sizes.iter().all(|size| *size <= LARGEST));
        prop_assert_eq!(sizes.iter().sum::<usize>(), pods.len());
    }
}
