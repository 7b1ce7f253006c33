use std::time::Duration;

use super::*;

fn endpoint(name: &str) -> Arc<Endpoint> {
    let pod = PodIdentity {
        namespace: "ns".into(),
        name: name.into(),
        uid: "u".into(),
    };
    Arc::new(Endpoint::new(pod))
}

#[test]
fn a_count_falls_when_its_guard_drops() {
    let endpoint = endpoint("a");
    let first = endpoint.begin();
    let second = endpoint.begin();
    assert_eq!(endpoint.in_flight(), 2);

    drop(first);
    assert_eq!(endpoint.in_flight(), 1);
    assert_eq!(&*second.endpoint().pod().name, "a");
    drop(second);
    assert_eq!(endpoint.in_flight(), 0);
}

#[test]
fn a_panic_returns_the_count() {
    let endpoint = endpoint("a");
    let own = Arc::clone(&endpoint);

    let ended = std::thread::spawn(move || {
        let _guard = own.begin();
        panic!("as a handler might");
    })
    .join();

    assert!(ended.is_err());
    assert_eq!(endpoint.in_flight(), 0);
}

#[test]
fn a_successor_of_the_same_name_is_not_touched_by_old_requests() {
    let old = endpoint("a");
    let guard = old.begin();
    let new = endpoint("a");

    drop(guard);

    assert_eq!((old.in_flight(), new.in_flight()), (0, 0));
}

#[test]
fn every_life_of_a_pod_has_its_own_number() {
    assert_ne!(endpoint("a").id(), endpoint("a").id());
}

#[test]
fn an_endpoint_that_was_never_measured_has_no_sample() {
    let endpoint = endpoint("a");
    assert_eq!(endpoint.sample(), None);
    assert_eq!(endpoint.measured_elsewhere(), 0);
    assert_eq!(
        (endpoint.cache_tokens(), endpoint.started_unix()),
        (None, None)
    );
    assert_eq!(endpoint.models().names().count(), 0);
}

#[test]
fn the_last_sample_is_what_is_read() {
    let endpoint = endpoint("a");
    let sample = Sample {
        running: 3,
        waiting: 2,
        kv_usage: 0.5,
        ttft: 0.25,
        tpot: 0.125,
        taken_at: Duration::from_secs(9),
    };
    endpoint.set_sample(Sample::default());
    endpoint.set_sample(sample);
    assert_eq!(endpoint.sample(), Some(sample));

    endpoint.set_models(ModelSet::new(["b", "a", "b"]));
    let models = endpoint.models();
    assert_eq!(models.names().collect::<Vec<_>>(), ["a", "b"]);
    assert!(models.contains("a") && !models.contains(""));
}

#[test]
fn requests_of_other_routers_are_those_beyond_ones_own() {
    let endpoint = endpoint("a");
    let _own = [endpoint.begin(), endpoint.begin()];
    let sample = |running, waiting| Sample {
        running,
        waiting,
        ..Sample::default()
    };
    endpoint.set_sample(sample(4, 1));
    assert_eq!(endpoint.measured_elsewhere(), 3);
    endpoint.set_sample(sample(1, 0));
    assert_eq!(endpoint.measured_elsewhere(), 0);

    endpoint.set_elsewhere(5);
    assert_eq!((endpoint.in_flight(), endpoint.on_flight()), (2, 7));
}

#[test]
fn what_is_kept_beside_is_made_once_and_has_one_type() {
    let endpoint = endpoint("a");
    assert_eq!(endpoint.beside(|| 1_u32), Some(&1));
    assert_eq!(endpoint.beside(|| 2_u32), Some(&1));
    assert_eq!(endpoint.beside(|| 3_u64), None);
}

#[test]
fn retirement_does_not_turn_back() {
    let endpoint = endpoint("a");
    assert!(!endpoint.is_retired());
    endpoint.retire();
    assert!(endpoint.is_retired());
}
