use std::net::SocketAddr;
use std::sync::Arc;

use fastrand::Rng;
use proptest::prelude::{prop_assert_eq, proptest};

use super::*;
use crate::endpoint::{Endpoint, InFlight, PodIdentity};
use crate::least_requests::LeastRequests;

const REQUEST: RequestFacts<'static> = RequestFacts {
    model: "m",
    prompt_tokens: 1,
};

fn candidates(loads: &[u32]) -> (Vec<Candidate>, Vec<InFlight>) {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let candidates: Vec<Candidate> = (0..loads.len())
        .map(|number| {
            let name = number.to_string();
            let pod = PodIdentity {
                namespace: "ns".into(),
                name: name.as_str().into(),
                uid: name.as_str().into(),
            };
            Candidate {
                endpoint: Arc::new(Endpoint::new(pod)),
                address,
            }
        })
        .collect();
    let busy = candidates
        .iter()
        .zip(loads)
        .flat_map(|(candidate, load)| (0..*load).map(|_| candidate.endpoint.begin()));
    let busy = busy.collect();
    (candidates, busy)
}

fn least_requests() -> Profile {
    Profile::new(vec![(Box::new(LeastRequests), 1)])
}

/// Marks each candidate with the number in its name.
struct ByName(i64);

impl Scorer for ByName {
    fn name(&self) -> &'static str {
        "by-name"
    }

    fn score(&self, _request: &RequestFacts<'_>, candidates: &[Candidate], scores: &mut [Score]) {
        for (score, candidate) in scores.iter_mut().zip(candidates) {
            *score = Score(candidate.endpoint.pod().name.parse::<i64>().unwrap() * self.0);
        }
    }
}

#[test]
fn nothing_is_placed_on_nothing() {
    assert!(
        least_requests()
            .place(&REQUEST, &[], &mut Rng::with_seed(1))
            .is_empty()
    );
}

#[test]
fn a_seed_repeats_a_decision() {
    let (candidates, _busy) = candidates(&[0; 20]);
    let place = |seed| least_requests().place(&REQUEST, &candidates, &mut Rng::with_seed(seed));

    assert_eq!(place(7), place(7));
    assert_ne!(place(7), place(8));
}

#[test]
fn equals_are_chosen_equally_often_at_every_place() {
    let (candidates, _busy) = candidates(&[0; 8]);
    let mut rng = Rng::with_seed(3);
    let mut hits = [[0_u32; 8]; KEPT];
    for _ in 0..8000 {
        for (place, position) in least_requests()
            .place(&REQUEST, &candidates, &mut rng)
            .into_iter()
            .enumerate()
        {
            hits[place][position as usize] += 1;
        }
    }

    assert!(
        hits.iter().flatten().all(|hits| (850..1150).contains(hits)),
        "{hits:?}"
    );
}

#[test]
fn weights_decide_between_scorers() {
    let (candidates, _busy) = candidates(&[0; 3]);
    let place = |up, down| {
        let profile = Profile::new(vec![
            (Box::new(ByName(1)), up),
            (Box::new(ByName(-1)), down),
        ]);
        profile
            .place(&REQUEST, &candidates, &mut Rng::with_seed(1))
            .to_vec()
    };

    assert_eq!(place(2, 1), [2, 1, 0]);
    assert_eq!(place(1, 2), [0, 1, 2]);
}

proptest! {
    #[test]
    fn the_least_busy_come_first(loads in proptest::collection::vec(0_u32..6, 1..40), seed: u64) {
        let (candidates, _busy) = candidates(&loads);

        let placed = least_requests().place(&REQUEST, &candidates, &mut Rng::with_seed(seed));

        let mut sorted = loads.clone();
        sorted.sort_unstable();
        let chosen: Vec<u32> = placed.iter().map(|position| loads[*position as usize]).collect();
        prop_assert_eq!(&chosen[..], &sorted[..loads.len().min(KEPT)]);
        let mut distinct = placed.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(distinct.len(), placed.len());
    }
}
