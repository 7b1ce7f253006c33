use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::endpoint::{Endpoint, PodIdentity};
use crate::sample::Sample;

fn candidates(count: u32) -> Vec<Candidate> {
    let made = (0..count).map(|number| {
        let pod = PodIdentity {
            namespace: "ns".into(),
            name: number.to_string().into(),
            uid: "u".into(),
        };
        Candidate {
            endpoint: Arc::new(Endpoint::new(pod)),
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
        }
    });
    made.collect()
}

#[test]
fn a_decision_sees_one_moment() {
    let all = candidates(2);
    let endpoint = &all[1].endpoint;
    let _own = endpoint.begin();
    endpoint.set_elsewhere(3);
    endpoint.set_sample(Sample {
        running: 4,
        waiting: 5,
        kv_usage: 0.5,
        ttft: 0.25,
        tpot: 0.125,
        taken_at: Duration::from_secs(1),
    });
    let expected = Reading {
        id: endpoint.id().get(),
        on_flight: 4,
        running: 4,
        waiting: 5,
        kv_usage: 0.5,
        ttft: 0.25,
        tpot: 0.125,
    };

    let seen = Candidates::all(&all);
    endpoint.set_sample(Sample::default());
    let _more = endpoint.begin();

    assert_eq!(seen.readings()[1], expected);
    let never_measured = Reading {
        id: all[0].endpoint.id().get(),
        on_flight: 0,
        running: 0,
        waiting: 0,
        kv_usage: 0.0,
        ttft: 0.0,
        tpot: 0.0,
    };
    assert_eq!(seen.readings()[0], never_measured);
}

#[test]
fn who_is_left_keeps_its_place_in_the_list() {
    let all = candidates(6);
    let mut some = Candidates::only(&all, &[5, 3, 9, 1]);
    some.retain(&[true, false, true]);

    let names: Vec<&str> = some.iter().map(|own| &*own.endpoint.pod().name).collect();
    assert_eq!(names, ["5", "1"]);
    assert_eq!(some.positions(), [5, 1]);
    let ids: Vec<u32> = some.readings().iter().map(|own| own.id).collect();
    assert_eq!(ids, [5, 1].map(|at: usize| all[at].endpoint.id().get()));
    assert_eq!(some.at(1).1, 1);
}
