use kthena_router_scheduler::{Endpoint, Receipt, Recorder, RequestFacts};

use super::*;

const PREFIX: &str = "scheduler: {plugins: {Score: {enabled: [{name: prefix-cache, weight: 1}]}}}";
const LATENCY: &str =
    "scheduler: {plugins: {Score: {enabled: [{name: least-latency, weight: 1}]}}}";
const FAULTY: &str = "scheduler: {plugins: {Score: {enabled: []}}}";

fn schedulers() -> Schedulers {
    Schedulers::new(SchedulingConfig::default())
}

fn uses(schedulers: &Schedulers, plugin: &str) -> bool {
    schedulers.current().uses(plugin)
}

#[test]
fn the_default_is_used_without_a_file() {
    let schedulers = schedulers();
    for plugin in ["least-request", "least-latency", "prefix-cache"] {
        assert!(uses(&schedulers, plugin), "{plugin}");
    }
}

/// Two of its kind remember the same model's prompts.
struct Index;

impl Recorder for Index {
    fn name(&self) -> &'static str {
        "index"
    }

    fn dispatched(
        &self,
        _request: &RequestFacts<'_>,
        _endpoint: &Arc<Endpoint>,
    ) -> Option<Box<dyn Receipt>> {
        None
    }

    fn figures(&self, tell: &mut dyn FnMut(Figure<'_>)) {
        tell(Figure::PrefixBytes(100));
        tell(Figure::PrefixEvictions {
            model: "m",
            count: 3,
        });
    }
}

#[test]
fn what_several_plugins_hold_is_added_up() {
    let schedulers = schedulers();
    schedulers.place_by(Profile::new(
        Vec::new(),
        Vec::new(),
        vec![Arc::new(Index), Arc::new(Index)],
    ));
    let figures = schedulers.figures();
    assert_eq!(figures.prefix_bytes, 200);
    assert_eq!(figures.prefix_evictions, [("m".to_owned(), 6)].into());
}

#[test]
fn a_right_file_is_taken_over() {
    let schedulers = schedulers();
    schedulers.take_over(LATENCY).unwrap();
    assert!(uses(&schedulers, "least-latency"));
    assert!(!uses(&schedulers, "prefix-cache"));
}

#[test]
fn a_faulty_file_changes_nothing() {
    let schedulers = schedulers();
    schedulers.take_over(LATENCY).unwrap();
    let before = schedulers.current();

    for text in [FAULTY, "scheduler: ["] {
        schedulers.take_over(text).unwrap_err();
        assert!(Arc::ptr_eq(&before, &schedulers.current()));
    }
}

#[test]
fn the_same_settings_in_other_words_change_nothing() {
    let schedulers = schedulers();
    schedulers.take_over(LATENCY).unwrap();
    let before = schedulers.current();
    schedulers
        .take_over(&format!("# a comment\n{LATENCY}"))
        .unwrap();
    assert!(Arc::ptr_eq(&before, &schedulers.current()));
}

#[tokio::test]
async fn a_file_is_followed_through_faults_and_absence() {
    let folder = tempfile::tempdir().unwrap();
    let file = SchedulingFile {
        path: folder.path().join("config.yaml"),
        text: PREFIX.to_owned(),
    };
    let schedulers = schedulers();
    let mut seen = Some(file.text.clone());
    let write = |text: &str| std::fs::write(&file.path, text).unwrap();

    // What is in the file is what the router began with.
    let begun = schedulers.current();
    write(PREFIX);
    follow(&schedulers, &file, &mut seen).await;
    assert!(Arc::ptr_eq(&begun, &schedulers.current()));

    write(LATENCY);
    follow(&schedulers, &file, &mut seen).await;
    assert!(!uses(&schedulers, "prefix-cache"));

    write(FAULTY);
    follow(&schedulers, &file, &mut seen).await;
    std::fs::remove_file(&file.path).unwrap();
    follow(&schedulers, &file, &mut seen).await;
    assert!(uses(&schedulers, "least-latency"));

    write(PREFIX);
    follow(&schedulers, &file, &mut seen).await;
    assert!(uses(&schedulers, "prefix-cache"));
    assert!(!uses(&schedulers, "least-latency"));
}
