use std::sync::{Arc, Mutex};

use crate::endpoint::{Endpoint, PodIdentity};
use crate::facts::RequestFacts;
use crate::notes::Notes;
use crate::placement::Profile;
use crate::plugin::Recorder;

use super::*;

type Log = Arc<Mutex<Vec<String>>>;

/// Writes down what it hears.
struct Diary(Log);

struct Page(Log);

impl Recorder for Diary {
    fn name(&self) -> &'static str {
        "diary"
    }

    fn dispatched(
        &self,
        request: &RequestFacts<'_>,
        endpoint: &Arc<Endpoint>,
    ) -> Option<Box<dyn Receipt>> {
        let line = format!("{} to {}", request.model, endpoint.pod().name);
        self.0.lock().unwrap().push(line);
        Some(Box::new(Page(Arc::clone(&self.0))))
    }
}

impl Receipt for Page {
    fn first_token(&mut self, at: Duration) {
        self.0.lock().unwrap().push(format!("first {at:?}"));
    }

    fn ended(self: Box<Self>, end: &End) {
        let line = match end {
            End::Complete(outcome) => format!("complete {:?}", outcome.at),
            End::Failed => "failed".to_owned(),
            End::Abandoned => "abandoned".to_owned(),
        };
        self.0.lock().unwrap().push(line);
    }
}

/// What a recorder hears of a request that `live` brings to its end.
fn heard(live: impl FnOnce(Dispatch)) -> Vec<String> {
    let log = Log::default();
    let profile = Profile::new(vec![], vec![], vec![Arc::new(Diary(Arc::clone(&log)))]);
    let pod = PodIdentity {
        namespace: "ns".into(),
        name: "a".into(),
        uid: "u".into(),
    };
    let notes = Notes::default();
    let request = RequestFacts::new("m", &notes);
    live(profile.dispatch(&request, &Arc::new(Endpoint::new(pod))));
    let lines = log.lock().unwrap();
    lines.clone()
}

#[test]
fn a_whole_answer() {
    let lines = heard(|mut dispatch| {
        dispatch.first_token(Duration::from_secs(1));
        dispatch.complete(Outcome {
            at: Duration::from_secs(2),
            ..Outcome::default()
        });
    });
    assert_eq!(lines, ["m to a", "first 1s", "complete 2s"]);
}

#[test]
fn a_failure_ends_once() {
    assert_eq!(heard(Dispatch::fail), ["m to a", "failed"]);
}

#[test]
fn who_is_dropped_is_abandoned() {
    assert_eq!(heard(drop), ["m to a", "abandoned"]);
}
