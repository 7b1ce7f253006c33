use std::sync::Arc;
use std::time::Duration;

use kthena_controllers_model_serving::{Blueprint, PodView, ServiceView, ServingView};
use tokio::time::Instant;

use super::{Expectations, Kind};

fn view(pods: &[(&str, &str, bool)], services: &[&str]) -> ServingView {
    let pod = |(name, uid, is_terminating): &(&str, &str, bool)| {
        Arc::new(PodView {
            name: (*name).to_owned(),
            uid: (*uid).to_owned(),
            is_terminating: *is_terminating,
            ..PodView::default()
        })
    };
    let service = |name: &&str| {
        Arc::new(ServiceView {
            name: (*name).to_owned(),
            ..ServiceView::default()
        })
    };
    ServingView {
        serving: Arc::default(),
        blueprint: Arc::new(Blueprint::default()),
        pods: pods.iter().map(pod).collect(),
        services: services.iter().map(service).collect(),
        snapshots: Vec::new(),
        pod_groups: Vec::new(),
        gang: None,
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_created_is_waited_for_by_kind_and_name() {
    let now = Instant::now();
    let mut expectations = Expectations::default();
    expectations.created(Kind::Pod, "a", now);
    expectations.created(Kind::Service, "a", now);

    assert!(
        expectations
            .outstanding(&view(&[("a", "1", false)], &[]), now)
            .is_some()
    );
    assert!(
        expectations.outstanding(&view(&[], &["a"]), now).is_none(),
        "the pod was seen before"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_is_waited_for_until_it_is_gone_or_on_its_way() {
    let now = Instant::now();
    let mut expectations = Expectations::default();
    expectations.deleted("1", now);
    expectations.deleted("2", now);

    let both = view(&[("a", "1", false), ("b", "2", false)], &[]);
    assert!(expectations.outstanding(&both, now).is_some());
    let one_goes = view(&[("a", "1", true), ("b", "2", false)], &[]);
    assert!(expectations.outstanding(&one_goes, now).is_some());
    assert!(
        expectations
            .outstanding(&view(&[("b", "3", false)], &[]), now)
            .is_none(),
        "b has a successor"
    );
}

#[tokio::test(start_paused = true)]
async fn patience_ends() {
    let now = Instant::now();
    let mut expectations = Expectations::default();
    expectations.created(Kind::Pod, "a", now);

    let wait = expectations.outstanding(&view(&[], &[]), now).unwrap();
    assert!(
        expectations
            .outstanding(&view(&[], &[]), now + wait + Duration::from_millis(1))
            .is_none()
    );
}
