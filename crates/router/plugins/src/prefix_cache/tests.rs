use kthena_router_scheduler::{Candidate, Dispatch, Notes, Outcome, Profile};
use rstest::rstest;

use super::*;
use crate::fixtures::{candidates, marks_for};

/// Blocks of four bytes.
fn plugin(change: impl FnOnce(&mut PrefixCacheConfig)) -> Arc<PrefixCache> {
    let mut config = PrefixCacheConfig {
        block_bytes: NonZeroUsize::new(4).unwrap(),
        ..PrefixCacheConfig::default()
    };
    change(&mut config);
    Arc::new(PrefixCache::new(config, 7))
}

fn send(plugin: &Arc<PrefixCache>, prompt: &str, to: &Candidate) -> Dispatch {
    let profile = Profile::new(
        vec![],
        vec![],
        vec![Arc::clone(plugin) as Arc<dyn Recorder>],
    );
    let notes = Notes::default();
    let request = RequestFacts {
        prompt: &prompt,
        ..RequestFacts::new("m", &notes)
    };
    profile.dispatch(&request, &to.endpoint)
}

/// Sends a prompt that is answered.
fn answered(plugin: &Arc<PrefixCache>, prompt: &str, to: &Candidate) {
    let mut dispatch = send(plugin, prompt, to);
    dispatch.first_token(Duration::from_secs(1));
    dispatch.complete(Outcome::default());
}

fn marks(plugin: &PrefixCache, prompt: &str, candidates: &[Candidate]) -> Vec<i64> {
    marks_of_model(plugin, "m", prompt, candidates).0
}

fn marks_of_model(
    plugin: &PrefixCache,
    model: &str,
    prompt: &str,
    candidates: &[Candidate],
) -> (Vec<i64>, Vec<PluginEvent>) {
    let notes = Notes::default();
    let request = RequestFacts {
        prompt: &prompt,
        ..RequestFacts::new(model, &notes)
    };
    let marks = marks_for(plugin, &request, candidates);
    (marks, notes.take_events().to_vec())
}

#[rstest]
#[case::whole("aaaabbbbcc", &[100, 66, 0], 1.0)]
#[case::most("aaaabbbbccxx", &[66, 66, 0], 2.0 / 3.0)]
#[case::first_block("aaaazzzz", &[50, 50, 0], 0.5)]
#[case::miss("zzzz", &[0, 0, 0], 0.0)]
fn marks_are_shares_of_the_prompt(
    #[case] prompt: &str,
    #[case] wanted: &[i64],
    #[case] ratio: f64,
) {
    let (plugin, candidates) = (plugin(|_| {}), candidates(3));
    answered(&plugin, "aaaabbbbcc", &candidates[0]);
    answered(&plugin, "aaaabbbb", &candidates[1]);

    let (marks, events) = marks_of_model(&plugin, "m", prompt, &candidates);

    assert_eq!(marks, wanted);
    assert_eq!(events, [PluginEvent::PrefixMatch(ratio)]);
}

#[test]
fn an_empty_prompt_is_no_attempt() {
    let (plugin, candidates) = (plugin(|_| {}), candidates(1));
    assert_eq!(
        marks_of_model(&plugin, "m", "", &candidates),
        (vec![0], vec![])
    );
}

#[test]
fn models_do_not_share() {
    let (plugin, candidates) = (plugin(|_| {}), candidates(1));
    answered(&plugin, "aaaa", &candidates[0]);
    assert_eq!(marks_of_model(&plugin, "other", "aaaa", &candidates).0, [0]);
}

#[test]
fn a_burst_is_noted_as_it_goes_out() {
    let (plugin, candidates) = (plugin(|_| {}), candidates(2));
    let _pending = send(&plugin, "aaaa", &candidates[1]);
    assert_eq!(marks(&plugin, "aaaa", &candidates), [0, 100]);
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Failed,
    Dropped,
    DroppedAfterFirstToken,
    FailedAfterFirstToken,
    CompleteAtOnce,
}

#[rstest]
#[case(Way::Failed, 0)]
#[case(Way::Dropped, 0)]
#[case(Way::DroppedAfterFirstToken, 100)]
#[case(Way::FailedAfterFirstToken, 100)]
#[case(Way::CompleteAtOnce, 100)]
fn what_stays_noted_depends_on_the_end(#[case] way: Way, #[case] wanted: i64) {
    let (plugin, candidates) = (plugin(|_| {}), candidates(1));
    let mut dispatch = send(&plugin, "aaaa", &candidates[0]);
    match way {
        Way::Failed => dispatch.fail(),
        Way::Dropped => drop(dispatch),
        Way::DroppedAfterFirstToken => {
            dispatch.first_token(Duration::ZERO);
            drop(dispatch);
        }
        Way::FailedAfterFirstToken => {
            dispatch.first_token(Duration::ZERO);
            dispatch.fail();
        }
        Way::CompleteAtOnce => dispatch.complete(Outcome::default()),
    }
    assert_eq!(marks(&plugin, "aaaa", &candidates), [wanted]);
}

#[test]
fn no_more_than_the_top_are_marked_and_the_longest_win() {
    let plugin = plugin(|config| config.top = NonZeroUsize::new(2).unwrap());
    let candidates = candidates(4);
    for (candidate, prompt) in candidates
        .iter()
        .zip(["aaaa", "aaaabbbb", "aaaabbbbcccc", "aaaa"])
    {
        answered(&plugin, prompt, candidate);
    }
    assert_eq!(marks(&plugin, "aaaabbbbcccc", &candidates), [0, 66, 100, 0]);
}

#[test]
fn pods_outside_the_candidates_do_not_use_up_the_top() {
    let plugin = plugin(|config| config.top = NonZeroUsize::MIN);
    let candidates = candidates(3);
    answered(&plugin, "aaaabbbb", &candidates[2]);
    answered(&plugin, "aaaa", &candidates[1]);
    assert_eq!(marks(&plugin, "aaaabbbb", &candidates[..2]), [0, 50]);
}

#[test]
fn many_candidates_are_told_apart() {
    let plugin = plugin(|_| {});
    let candidates = candidates(50);
    answered(&plugin, "aaaa", &candidates[33]);
    let marks = marks(&plugin, "aaaa", &candidates);
    let marked: Vec<usize> = (0..50).filter(|at| marks[*at] > 0).collect();
    assert_eq!(marked, [33]);
}

#[test]
fn a_pod_that_returns_begins_anew_and_old_requests_cannot_speak_for_it() {
    let plugin = plugin(|_| {});
    let (old, new) = (candidates(1), candidates(1));
    let mut pending = send(&plugin, "aaaa", &old[0]);
    old[0].endpoint.retire();
    plugin.sweep();

    assert_eq!(marks(&plugin, "aaaa", &new), [0]);
    pending.first_token(Duration::ZERO);
    pending.complete(Outcome::default());
    assert_eq!(marks(&plugin, "aaaa", &new), [0]);
    answered(&plugin, "aaaa", &old[0]);
    assert_eq!(figures(&plugin).0, 0);
}

/// Entries, and evictions by model.
fn figures(plugin: &PrefixCache) -> (u64, Vec<(String, u64)>) {
    let (mut entries, mut evictions) = (0, Vec::new());
    plugin.figures(&mut |figure| match figure {
        Figure::PrefixEntries(count) => entries = count,
        Figure::PrefixEvictions { model, count } => evictions.push((model.to_owned(), count)),
        _ => {}
    });
    (entries, evictions)
}

#[test]
fn entries_and_evictions_are_told() {
    let plugin = plugin(|config| config.per_pod = NonZeroUsize::new(2).unwrap());
    let candidates = candidates(1);
    answered(&plugin, "aaaabbbbcccc", &candidates[0]);
    assert_eq!(figures(&plugin), (2, vec![("m".to_owned(), 1)]));
    assert_eq!(marks(&plugin, "aaaabbbbcccc", &candidates), [66]);
}

#[test]
fn a_prompt_is_hashed_once_for_all_lists() {
    struct Counted(std::cell::Cell<u32>);
    impl kthena_router_scheduler::PromptText for Counted {
        fn pieces(&self, take: &mut dyn FnMut(&[u8]) -> std::ops::ControlFlow<()>) {
            self.0.set(self.0.get() + 1);
            let _ = take(b"aaaa");
        }
    }
    let (plugin, candidates) = (plugin(|_| {}), candidates(2));
    let (notes, prompt) = (Notes::default(), Counted(0.into()));
    let request = RequestFacts {
        prompt: &prompt,
        ..RequestFacts::new("m", &notes)
    };
    marks_for(&*plugin, &request, &candidates[..1]);
    marks_for(&*plugin, &request, &candidates[1..]);
    let _receipt = plugin.dispatched(&request, &candidates[0].endpoint);
    assert_eq!(prompt.0.get(), 1);
}
