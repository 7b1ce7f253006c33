use std::sync::Arc;

use kthena_router_scheduler::{Notes, Profile};

use super::*;
use crate::fixtures::candidates;

#[test]
fn every_mark_from_0_to_100_is_drawn() {
    let mut seen = [false; 101];
    let candidates = candidates(10);
    let candidates = Candidates::all(&candidates);
    let mut rng = Rng::with_seed(5);
    for _ in 0..1000 {
        let notes = Notes::default();
        let mut scores = [Score(-1); 10];
        Random.score(
            &RequestFacts::new("m", &notes),
            &candidates,
            &mut scores,
            &mut rng,
        );
        for score in scores {
            seen[usize::try_from(score.0).unwrap()] = true;
        }
    }
    assert!(seen.iter().all(|seen| *seen));
}

#[test]
fn each_of_three_pods_gets_a_third() {
    let profile = Profile::new(vec![], vec![(Arc::new(Random), 1)], vec![]);
    let candidates = candidates(3);
    let mut rng = Rng::with_seed(5);
    let mut hits = [0_u32; 3];
    for _ in 0..3000 {
        let notes = Notes::default();
        let placed = profile
            .place(&RequestFacts::new("m", &notes), &candidates, &mut rng)
            .unwrap();
        hits[placed[0].position as usize] += 1;
    }
    assert!(
        hits.iter().all(|hits| (900..1100).contains(hits)),
        "{hits:?}"
    );
}
