use kthena_router_scheduler::{ModelSet, Notes};
use rstest::rstest;

use super::*;
use crate::fixtures::{candidates, kept};

/// Who is left when engines list base and adapter, base only, nothing.
fn kept_for(request: &RequestFacts<'_>) -> Vec<bool> {
    let candidates = candidates(3);
    candidates[0]
        .endpoint
        .set_models(ModelSet::new(["base", "adapter"]));
    candidates[1].endpoint.set_models(ModelSet::new(["base"]));
    kept(&LoraAffinity, request, &candidates)
}

#[rstest]
#[case::adapter("adapter", &[true, false, false])]
#[case::base("base", &[true, true, false])]
#[case::nobody("other", &[false, false, false])]
#[case::no_name("", &[false, false, false])]
fn engines_that_list_it_stay(#[case] model: &str, #[case] wanted: &[bool]) {
    let notes = Notes::default();
    assert_eq!(kept_for(&RequestFacts::new(model, &notes)), wanted);
}

#[test]
fn the_name_that_counts_is_the_engines() {
    let notes = Notes::default();
    let request = RequestFacts {
        served_model: "base",
        ..RequestFacts::new("renamed", &notes)
    };
    assert_eq!(kept_for(&request), [true, true, false]);
}

#[test]
fn nobody_of_nobody_stays() {
    let notes = Notes::default();
    assert!(kept(&LoraAffinity, &RequestFacts::new("base", &notes), &[]).is_empty());
}
