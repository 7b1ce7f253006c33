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
