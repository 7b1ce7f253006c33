use std::time::Duration;

use kthena_router_scheduler::{
    Dispatch, KvBlocks, KvIndex, KvQuery, Notes, Outcome, Profile, Sample,
};
use proptest::prelude::{prop, prop_assert, proptest};

use super::*;
use crate::fixtures::{candidates, marks_for, sampled};

fn plugin() -> Arc<Adaptive> {
    Arc::new(Adaptive::new(AdaptiveConfig::default(), 7))
}

fn profile(plugin: &Arc<Adaptive>) -> Profile {
    Profile::new(
        vec![],
        vec![(Arc::clone(plugin) as Arc<dyn Scorer>, 1)],
        vec![Arc::clone(plugin) as Arc<dyn Recorder>],
    )
}

/// A prompt of so many tokens, four bytes each, the first of them telling prompts apart.
fn prompt(name: char, tokens: usize) -> String {
    let mut prompt = name.to_string().repeat(4);
    prompt.push_str(&"word".repeat(tokens - 1));
    prompt
}

fn with_request<R>(prompt: &str, now: f64, act: impl FnOnce(&RequestFacts<'_>) -> R) -> R {
    let notes = Notes::default();
    act(&RequestFacts {
        prompt: &prompt,
        prompt_tokens: prompt.len() as u64 / 4,
        now: Duration::from_secs_f64(now),
        ..RequestFacts::new("m", &notes)
    })
}

fn send(plugin: &Arc<Adaptive>, prompt: &str, now: f64, to: &Candidate) -> Dispatch {
    with_request(prompt, now, |request| {
        profile(plugin).dispatch(request, &to.endpoint)
    })
}

fn marks(plugin: &Adaptive, prompt: &str, now: f64, candidates: &[Candidate]) -> Vec<i64> {
    with_request(prompt, now, |request| {
        marks_for(plugin, request, candidates)
    })
}

fn best(plugin: &Adaptive, prompt: &str, now: f64, candidates: &[Candidate]) -> Option<usize> {
    let marks = marks(plugin, prompt, now, candidates);
    let best = marks.iter().position(|mark| *mark == 100)?;
    (marks.iter().filter(|mark| **mark == 100).count() == 1).then_some(best)
}

#[test]
fn equals_get_equal_marks() {
    assert_eq!(
        marks(&plugin(), &prompt('a', 1000), 0.0, &candidates(3)),
        [100, 100, 100]
    );
}

#[test]
fn a_prompt_goes_where_it_was_answered_before() {
    let (plugin, candidates) = (plugin(), candidates(3));
    let long = prompt('a', 4000);
    let mut sent = send(&plugin, &long, 0.0, &candidates[1]);
    // Just as quick as is expected of an engine that was never measured.
    sent.first_token(Duration::from_millis(410));
    sent.complete(Outcome::default());

    assert_eq!(best(&plugin, &long, 1.0, &candidates), Some(1));
    // Another prompt finds them alike.
    assert_eq!(best(&plugin, &prompt('b', 4000), 1.0, &candidates), None);
}

#[test]
fn followers_of_a_long_prompt_wait_where_it_is_computed() {
    let (plugin, candidates) = (plugin(), candidates(3));
    let long = prompt('a', 4000);
    let mut sent = vec![send(&plugin, &long, 0.0, &candidates[2])];
    for follower in 0..10 {
        let at = best(&plugin, &long, 0.0, &candidates);
        assert_eq!(at, Some(2), "follower {follower}");
        sent.push(send(&plugin, &long, 0.0, &candidates[2]));
    }
}

#[test]
fn a_queue_that_is_longer_than_the_prompt_is_avoided() {
    let (plugin, candidates) = (plugin(), candidates(2));
    let long = prompt('a', 2000);
    let mut first = send(&plugin, &long, 0.0, &candidates[0]);
    first.first_token(Duration::from_millis(200));
    assert_eq!(best(&plugin, &long, 1.0, &candidates), Some(0));

    let _queue: Vec<Dispatch> = ('b'..='z')
        .map(|name| send(&plugin, &prompt(name, 4000), 1.0, &candidates[0]))
        .collect();

    assert_eq!(best(&plugin, &long, 1.0, &candidates), Some(1));
}

#[test]
fn the_quicker_engine_gets_a_prompt_that_nobody_knows() {
    let (plugin, candidates) = (plugin(), candidates(2));
    for (at, name) in ('a'..='t').enumerate() {
        for (candidate, seconds) in candidates.iter().zip([0.8, 0.1]) {
            let now = f64::from(u32::try_from(at).unwrap()) * 2.0;
            let mut sent = send(&plugin, &prompt(name, 1000), now, candidate);
            sent.first_token(Duration::from_secs_f64(now + seconds));
            sent.complete(Outcome::default());
        }
    }
    assert_eq!(
        best(&plugin, &prompt('x', 1000), 100.0, &candidates),
        Some(1)
    );
}

#[test]
fn an_engine_whose_memory_is_full_is_avoided() {
    let full = Sample {
        running: 20,
        waiting: 5,
        kv_usage: 0.99,
        ..Sample::default()
    };
    let free = Sample {
        running: 20,
        ..Sample::default()
    };
    let candidates = sampled([full, free]);
    assert_eq!(
        best(&plugin(), &prompt('a', 100), 0.0, &candidates),
        Some(1)
    );
}

#[test]
fn what_failed_leaves_nothing() {
    let (plugin, candidates) = (plugin(), candidates(2));
    let long = prompt('a', 4000);
    send(&plugin, &long, 0.0, &candidates[0]).fail();
    drop(send(&plugin, &long, 0.0, &candidates[1]));

    assert_eq!(marks(&plugin, &long, 0.0, &candidates), [100, 100]);
    let views = plugin.lanes.clones(&Candidates::all(&candidates));
    for lane in views {
        assert_eq!((lane.pending, lane.running), (0, 0));
        assert!(lane.pending_tokens.abs() < f64::EPSILON);
    }
}

#[test]
fn an_engine_that_caches_less_than_expected_is_trusted_less() {
    let (plugin, candidates) = (plugin(), candidates(2));
    let long = prompt('a', 2000);
    for round in 0..60_u32 {
        let now = f64::from(round);
        let mut sent = send(&plugin, &long, now, &candidates[0]);
        sent.first_token(Duration::from_secs_f64(now + 0.1));
        sent.complete(Outcome {
            at: Duration::from_secs_f64(now + 0.2),
            cached_tokens: Some(0),
            ..Outcome::default()
        });
    }
    let lane = &plugin.lanes.clones(&Candidates::all(&candidates[..1]))[0];
    assert!(lane.trust.get() < 0.2, "{}", lane.trust.get());
}

#[test]
fn estimates_and_outcomes_are_told() {
    let (plugin, candidates) = (plugin(), candidates(1));
    let mut sent = send(&plugin, &prompt('a', 1000), 0.0, &candidates[0]);
    sent.first_token(Duration::from_secs(1));
    sent.first_token(Duration::from_secs(9));

    let mut figures = Vec::new();
    plugin.figures(&mut |figure| figures.push(format!("{figure:?}")));
    let index = &plugin.index;
    let (entries, bytes) = (index.entries(), index.bytes());
    assert!(entries > 0 && bytes > 0);
    for told in [
        format!("PrefixEntries({entries})"),
        format!("PrefixBytes({bytes})"),
        "EstimateOutcomeSeconds(1.0)".to_owned(),
        "EstimateCount(1)".to_owned(),
    ] {
        assert!(figures.contains(&told), "{told}: {figures:?}");
    }
    with_request(&prompt('b', 1000), 2.0, |request| {
        marks_for(&*plugin, request, &candidates);
        let events = request.notes.take_events();
        assert!(matches!(events[..], [PluginEvent::Estimate(seconds)] if seconds > 0.0));
    });
}

/// Engines that say they hold nothing.
struct Empty;

impl KvIndex for Empty {
    fn lookup(
        &self,
        query: &KvQuery<'_>,
        _candidates: &Candidates<'_>,
        _lengths: &mut [u32],
    ) -> Option<KvBlocks> {
        let count = u32::try_from(query.tokens.len() / 16).ok()?;
        Some(KvBlocks { count, tokens: 16 })
    }
}

/// Sends `prompt`, of which engines say they hold nothing, to the candidate at `to`; before that, the marks of all.
fn send_untold(
    plugin: &Arc<Adaptive>,
    prompt: &str,
    now: f64,
    candidates: &[Candidate],
    to: usize,
) -> (Vec<i64>, Dispatch) {
    let tokens = vec![1; prompt.len() / 4];
    with_request(prompt, now, |request| {
        let request = RequestFacts {
            tokens: Some(&tokens),
            kv: Some(&Empty),
            ..*request
        };
        let marks = marks_for(&**plugin, &request, candidates);
        let sent = profile(plugin).dispatch(&request, &candidates[to].endpoint);
        (marks, sent)
    })
}

#[test]
fn what_is_being_computed_counts_before_engines_tell_of_it() {
    let (plugin, candidates) = (plugin(), candidates(2));
    let long = prompt('a', 4000);
    let (marks, _first) = send_untold(&plugin, &long, 0.0, &candidates, 1);
    assert_eq!(marks, [100, 100]);
    let (marks, _second) = send_untold(&plugin, &long, 0.0, &candidates, 1);
    assert!(marks[0] < 50 && marks[1] == 100, "{marks:?}");
}

#[test]
fn a_prefix_that_is_nowhere_goes_back_to_where_it_was() {
    let (plugin, candidates) = (plugin(), candidates(2));
    let long = prompt('a', 4000);
    let (_, mut sent) = send_untold(&plugin, &long, 0.0, &candidates, 1);
    sent.first_token(Duration::from_millis(410));
    sent.complete(Outcome::default());
    assert!(plugin.pending.is_empty());
    let (marks, _) = send_untold(&plugin, &long, 1.0, &candidates, 1);
    assert!(marks[0] < 100 && marks[1] == 100, "{marks:?}");
}

#[test]
fn requests_for_an_adapter_go_where_it_is_in_use() {
    let (plugin, candidates) = (plugin(), candidates(3));
    let asking = |name: char, act: &mut dyn FnMut(&RequestFacts<'_>)| {
        with_request(&prompt(name, 100), 0.0, |request| {
            act(&RequestFacts {
                adapter: true,
                served_model: "adapter",
                ..*request
            });
        });
    };
    let mut sent = None;
    asking('a', &mut |request| {
        sent = Some(profile(&plugin).dispatch(request, &candidates[2].endpoint));
    });
    asking('b', &mut |request| {
        let marks = marks_for(&*plugin, request, &candidates);
        assert!(marks[2] == 100 && marks[0] < 100, "{marks:?}");
    });
    drop(sent);
    asking('c', &mut |request| {
        assert_eq!(marks_for(&*plugin, request, &candidates), [100; 3]);
    });
}

#[test]
fn what_is_nearly_done_delays_less_and_what_stands_still_more() {
    let (plugin, candidates) = (plugin(), candidates(2));
    let _old = send(&plugin, &prompt('a', 4000), 0.0, &candidates[0]);
    let _new = send(&plugin, &prompt('b', 4000), 0.3, &candidates[1]);
    let other = prompt('c', 4000);
    assert_eq!(best(&plugin, &other, 0.35, &candidates), Some(0));

    // The second engine goes on and has a first token now and then, the first one brings nothing at all.
    let mut now = 1.0;
    for name in 'd'..='g' {
        let mut sent = send(&plugin, &prompt(name, 4000), now, &candidates[1]);
        now += 0.41;
        sent.first_token(Duration::from_secs_f64(now));
        sent.complete(Outcome::default());
    }
    assert_eq!(best(&plugin, &other, now, &candidates), Some(1));
}

#[test]
fn a_step_that_just_began_is_waited_for() {
    let (plugin, candidates) = (plugin(), candidates(2));
    let mut running = Vec::new();
    for (candidate, at) in candidates.iter().zip([0.115, 0.101]) {
        let mut sent = send(&plugin, &prompt('a', 100), 0.1, candidate);
        sent.first_token(Duration::from_secs_f64(at));
        running.push(sent);
    }
    // Both generate; of the second one's step of 20 ms more is over.
    assert_eq!(
        best(&plugin, &prompt('b', 100), 0.116, &candidates),
        Some(1)
    );
}

#[test]
fn endpoints_that_left_are_forgotten() {
    let (plugin, candidates) = (plugin(), candidates(2));
    for candidate in &candidates {
        drop(send(&plugin, &prompt('a', 100), 0.0, candidate));
    }
    candidates[0].endpoint.retire();
    plugin.sweep();
    assert_eq!(plugin.lanes.len(), 1);
}

proptest! {
    #[test]
    fn marks_stay_in_range_and_one_is_best(
        sends in prop::collection::vec((0_usize..4, 1_usize..3000, 0_u8..4, 0_u8..3), 0..40),
        asked in 1_usize..3000,
    ) {
        let (plugin, candidates) = (plugin(), candidates(4));
        let mut now = 0.0;
        let mut open = Vec::new();
        for (to, tokens, name, way) in sends {
            now += 0.05;
            let text = prompt(char::from(b'a' + name), tokens);
            let mut sent = send(&plugin, &text, now, &candidates[to]);
            match way {
                0 => open.push(sent),
                1 => sent.fail(),
                _ => {
                    sent.first_token(Duration::from_secs_f64(now + 0.01));
                    sent.complete(Outcome {
                        at: Duration::from_secs_f64(now + 0.04),
                        output_tokens: Some(10),
                        cached_tokens: Some(tokens as u64 / 2),
                        ..Outcome::default()
                    });
                }
            }
        }
        let marks = marks(&plugin, &prompt('a', asked), now, &candidates);
        prop_assert!(marks.iter().all(|mark| (0..=100).contains(mark)));
        prop_assert!(marks.contains(&100));
        drop(open);
        let views = plugin.lanes.clones(&Candidates::all(&candidates));
        prop_assert!(views.iter().all(|lane| lane.pending == 0 && lane.running == 0));
    }

    #[test]
    fn a_line_is_found_through_points_on_it(
        base in 0.0..0.2_f64,
        slope in 1e-6..1e-3_f64,
        xs in prop::collection::vec(1.0..5_000.0_f64, 200..201),
    ) {
        let line = fit::Line { base, slope };
        let mut fit = fit::Fit::starting(fit::Line { base: 0.01, slope: 1e-4 }, 2_000.0);
        for x in xs {
            fit.add(x, line.at(x));
        }
        let found = fit.line();
        let (wanted, found) = (line.at(2_000.0), found.at(2_000.0));
        prop_assert!((found / wanted - 1.0).abs() < 0.15, "{found} for {wanted}");
    }
}
