use kthena_router_scheduler::{InFlight, PodIdentity};

use super::*;

fn endpoint(name: &str, uid: &str) -> Arc<Endpoint> {
    Arc::new(Endpoint::new(PodIdentity {
        namespace: "default".into(),
        name: name.into(),
        uid: uid.into(),
    }))
}

fn busy(endpoint: &Arc<Endpoint>, requests: usize) -> Vec<InFlight> {
    (0..requests).map(|_| endpoint.begin()).collect()
}

fn counts(expected: &[(&str, u32)]) -> Counts {
    expected
        .iter()
        .map(|(name, count)| (format!("default/{name}"), *count))
        .collect()
}

#[test]
fn what_differs_from_the_last_acknowledgement_is_published() {
    let (a, b) = (endpoint("a", "1"), endpoint("b", "1"));
    let mut ledger = Ledger::default();
    ledger.set_endpoints(vec![Arc::clone(&a), Arc::clone(&b)]);
    assert_eq!(ledger.changes(), []);
    let running = busy(&a, 2);
    let changes = ledger.changes();
    assert_eq!(changes, counts(&[("a", 2)]));
    assert_eq!(ledger.changes(), changes, "not acknowledged yet");
    ledger.confirm(&changes, false);
    assert_eq!(ledger.changes(), []);
    drop(running);
    assert_eq!(ledger.changes(), counts(&[("a", 0)]));
}

#[test]
fn after_a_full_publication_what_was_not_named_is_zero() {
    let (a, b) = (endpoint("a", "1"), endpoint("b", "1"));
    let mut ledger = Ledger::default();
    ledger.set_endpoints(vec![Arc::clone(&a), Arc::clone(&b)]);
    let first = busy(&a, 1);
    ledger.confirm(&ledger.changes(), false);
    drop(first);
    let _second = busy(&b, 3);
    let all = ledger.all();
    assert_eq!(all, counts(&[("b", 3)]));
    ledger.confirm(&all, true);
    assert_eq!(ledger.changes(), []);
}

#[test]
fn others_have_the_sum_without_our_own() {
    let a = endpoint("a", "1");
    let mut ledger = Ledger::default();
    ledger.set_endpoints(vec![Arc::clone(&a)]);
    let _running = busy(&a, 2);
    ledger.confirm(&ledger.changes(), false);
    let fields = ledger.fields();
    ledger.take_over(&fields, &[Some(7)]);
    assert_eq!(a.on_flight(), 7);
    ledger.take_over(&fields, &[None]);
    assert_eq!(a.on_flight(), 7, "what is no number says nothing");
    ledger.take_over(&fields, &[Some(-4)]);
    assert_eq!(a.on_flight(), 2);
    ledger.take_over(&fields, &[Some(9)]);
    ledger.stand_alone();
    assert_eq!(a.on_flight(), 2);
}

#[test]
fn a_pod_that_goes_is_taken_out_and_its_next_life_begins_anew() {
    let old = endpoint("a", "1");
    let mut ledger = Ledger::default();
    ledger.set_endpoints(vec![Arc::clone(&old)]);
    let _still_running = busy(&old, 5);
    ledger.confirm(&ledger.changes(), false);
    ledger.set_endpoints(vec![]);
    assert_eq!(ledger.gone(), ["default/a"]);
    assert_eq!(ledger.changes(), []);

    let new = endpoint("a", "2");
    ledger.set_endpoints(vec![Arc::clone(&new)]);
    assert_eq!(ledger.gone(), Vec::<String>::new());
    assert_eq!(ledger.changes(), counts(&[("a", 0)]));
    let _running = busy(&new, 1);
    assert_eq!(ledger.changes(), counts(&[("a", 1)]));
}

#[test]
fn a_pod_replaced_between_two_looks_does_not_count_its_earlier_requests() {
    let (old, new) = (endpoint("a", "1"), endpoint("a", "2"));
    let mut ledger = Ledger::default();
    ledger.set_endpoints(vec![Arc::clone(&old)]);
    let _still_running = busy(&old, 5);
    ledger.confirm(&ledger.changes(), false);
    ledger.set_endpoints(vec![new]);
    assert_eq!(ledger.changes(), counts(&[("a", 0)]));
}
