use std::num::NonZeroU32;

use fastrand::Rng;
use kthena_router_scheduler::{Candidate, Notes, PlaceError, RequestFacts, Sample};

use super::*;
use crate::fixtures::{candidates, sampled};

fn config(scorers: &[(ScorerName, i64)]) -> SchedulerConfig {
    SchedulerConfig {
        filters: Vec::new(),
        scorers: scorers.to_vec(),
        ..SchedulerConfig::default()
    }
}

/// The position that `prompt` goes to, if there is one best.
fn best(scheduling: &Scheduling, prompt: &str, candidates: &[Candidate]) -> Option<u32> {
    let notes = Notes::default();
    let request = RequestFacts {
        prompt: &prompt,
        ..RequestFacts::new("m", &notes)
    };
    let mut rng = Rng::with_seed(1);
    let placed = scheduling.profile.place(&request, candidates, &mut rng);
    let placed = placed.unwrap();
    (placed[0].total > placed[1].total).then_some(placed[0].position)
}

fn send(scheduling: &Scheduling, prompt: &str, to: &Candidate) {
    let notes = Notes::default();
    let request = RequestFacts {
        prompt: &prompt,
        ..RequestFacts::new("m", &notes)
    };
    let mut dispatch = scheduling.profile.dispatch(&request, &to.endpoint);
    dispatch.first_token(std::time::Duration::from_millis(1));
}

#[test]
fn every_plugin_can_take_part() {
    let all = ScorerName::ALL.map(|name| (name, 1));
    let scheduling = Scheduling::new(
        SchedulerConfig {
            filters: FilterName::ALL.to_vec(),
            ..config(&all)
        },
        1,
    );
    for name in ScorerName::ALL {
        assert!(scheduling.profile.uses(name.as_str()));
    }
    for name in FilterName::ALL {
        assert!(scheduling.profile.uses(name.as_str()));
    }
}

#[test]
fn only_plugins_that_learn_are_told() {
    for name in ScorerName::ALL {
        let scheduling = Scheduling::new(config(&[(name, 1)]), 1);
        let mut told = 0;
        scheduling.profile.figures(&mut |_| told += 1);
        let learns = matches!(name, ScorerName::PrefixCache | ScorerName::Adaptive);
        assert_eq!(told > 0, learns, "{name:?}");
    }
}

#[test]
fn the_default_takes_out_engines_with_a_long_queue() {
    let scheduling = Scheduling::new(SchedulerConfig::default(), 1);
    let full = Sample {
        waiting: 10,
        ..Sample::default()
    };
    let candidates = sampled([full, Sample::default(), full]);
    let notes = Notes::default();
    let request = RequestFacts::new("m", &notes);
    let mut rng = Rng::with_seed(1);
    let placed = scheduling.profile.place(&request, &candidates, &mut rng);
    assert_eq!(placed.unwrap().len(), 1);

    let only_full = sampled([full, full]);
    let placed = scheduling.profile.place(&request, &only_full, &mut rng);
    let error = placed.unwrap_err();
    assert_eq!(
        error,
        PlaceError::Filtered {
            by: "least-request"
        }
    );
    assert_eq!(
        error.to_string(),
        "pods have all been filtered out by \"least-request\""
    );
}

#[test]
fn a_lone_plugin_without_knowledge_still_places() {
    for name in ScorerName::ALL {
        let scheduling = Scheduling::new(config(&[(name, 1)]), 1);
        let candidates = candidates(3);
        let notes = Notes::default();
        let request = RequestFacts::new("m", &notes);
        let placed = scheduling
            .profile
            .place(&request, &candidates, &mut Rng::with_seed(1))
            .unwrap();
        assert_eq!(placed.len(), 3, "{name:?}");
    }
}

#[test]
fn a_change_elsewhere_keeps_what_a_plugin_remembers() {
    let candidates = candidates(2);
    let first = Scheduling::new(config(&[(ScorerName::PrefixCache, 1)]), 1);
    send(&first, "hello", &candidates[1]);

    let mut changed = config(&[(ScorerName::PrefixCache, 5), (ScorerName::GpuUsage, 1)]);
    changed.args.least_request.max_waiting = NonZeroU32::MIN;
    let second = first.changed(changed, 2);
    assert_eq!(best(&second, "hello", &candidates), Some(1));

    let mut changed = config(&[(ScorerName::PrefixCache, 5)]);
    changed.args.prefix_cache.budget_bytes = 1 << 20;
    let third = second.changed(changed, 3);
    assert_eq!(best(&third, "hello", &candidates), None);
}

#[test]
fn a_plugin_that_leaves_is_forgotten() {
    let candidates = candidates(2);
    let first = Scheduling::new(config(&[(ScorerName::PrefixCache, 1)]), 1);
    send(&first, "hello", &candidates[1]);
    let without = first.changed(config(&[(ScorerName::GpuUsage, 1)]), 2);
    let again = without.changed(config(&[(ScorerName::PrefixCache, 1)]), 3);
    assert_eq!(best(&again, "hello", &candidates), None);
}
