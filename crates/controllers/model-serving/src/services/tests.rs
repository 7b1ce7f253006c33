use crate::plan::Action;
use crate::testing::{Sim, UID, role, serving};
use crate::view::ServiceView;

#[test]
fn r62_services_exist_for_roles_with_a_worker_template_only() {
    let mut with_template = role("b", 1, 1);
    with_template["workerReplicas"] = serde_json::json!(0);
    let sim = Sim::settled(serving(
        1,
        &[role("a", 1, 0), with_template, role("c", 2, 1)],
    ));
    let services: Vec<_> = sim.services.keys().map(String::as_str).collect();
    assert_eq!(
        services,
        ["sample-0-b-0-0", "sample-0-c-0-0", "sample-0-c-1-0"]
    );
}

#[test]
fn r62_a_service_as_it_is_sent() {
    let sim = Sim::new(serving(1, &[role("a", 1, 1)]));
    let plan = sim.plan();
    let service = plan.actions.iter().find_map(|action| match action {
        Action::CreateService { object, .. } => Some(object),
        _ => None,
    });
    insta::assert_yaml_snapshot!(service.unwrap());
}

#[test]
fn r63_r64_a_lost_service_is_created_again_and_one_that_is_there_is_not() {
    let mut sim = Sim::settled(serving(1, &[role("a", 1, 1)]));
    assert!(sim.plan().actions.is_empty());
    sim.services.clear();
    let plan = sim.step();
    assert!(
        matches!(&plan.actions[..], [Action::CreateService { name, .. }] if name == "sample-0-a-0-0")
    );
}

#[test]
fn r63_a_service_of_a_stranger_is_waited_for_and_stops_nothing_else() {
    let mut sim = Sim::new(serving(2, &[role("a", 1, 1)]));
    let foreign = ServiceView {
        name: "sample-0-a-0-0".to_owned(),
        uid: "x".to_owned(),
        ..ServiceView::default()
    };
    sim.services.insert(foreign.name.clone(), foreign);
    let plan = sim.step();
    assert_eq!(plan.requeue_after, Some(std::time::Duration::from_secs(1)));
    assert!(sim.services.contains_key("sample-1-a-0-0"));
}

#[test]
fn r65_a_service_that_nothing_needs_is_deleted() {
    let mut sim = Sim::settled(serving(1, &[role("a", 1, 1)]));
    for (name, owner) in [("sample-7-a-0-0", UID), ("sample-8-a-0-0", "somebody")] {
        let service = ServiceView {
            name: name.to_owned(),
            uid: format!("uid-of-{name}"),
            owner: owner.to_owned(),
            group: name[..8].to_owned(),
            role: "a".to_owned(),
            role_id: "a-0".to_owned(),
            is_terminating: false,
        };
        sim.services.insert(name.to_owned(), service);
    }
    sim.settle();
    let services: Vec<_> = sim.services.keys().map(String::as_str).collect();
    assert_eq!(services, ["sample-0-a-0-0", "sample-8-a-0-0"]);
}
