use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::layout::{Layout, LayoutError, Running};

#[test]
fn a_folder_has_one_owner_and_says_who() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path().join("state"));
    assert_eq!(layout.running().unwrap(), None);
    let mut lock = layout.lock().unwrap();
    let mut running = Running::new(std::process::id());
    running.router = Some("http://127.0.0.1:8080".into());
    lock.publish(&running).unwrap();

    let error = layout.lock().unwrap_err();

    assert!(matches!(error, LayoutError::Taken { .. }));
    let text = error.to_string();
    assert!(
        text.contains(&format!(
            "process {}, serving on http://127.0.0.1:8080",
            std::process::id()
        )),
        "{text}"
    );
    assert_eq!(layout.running().unwrap(), Some(running));
}

#[test]
fn a_folder_is_free_again_once_its_owner_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path().to_owned());
    drop(layout.lock().unwrap());

    assert_eq!(layout.running().unwrap(), None);
    layout.lock().unwrap();
}

#[test]
fn private_files_are_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");

    Layout::write_private(&path, "token: secret").unwrap();

    assert_eq!(std::fs::read_to_string(&path).unwrap(), "token: secret");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();

    let error = Layout::new(file.join("state")).lock().unwrap_err();

    assert!(
        error
            .to_string()
            .starts_with(&format!("{}: ", file.join("state").display())),
        "{error}"
    );
}

#[test]
fn what_a_dead_owner_left_counts_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path().to_owned());
    // No process has the highest number that fits.
    std::fs::write(
        folder.path().join("running.json"),
        r#"{"pid":2147483647,"router":null,"api":null}"#,
    )
    .unwrap();

    let lock = layout.lock().unwrap();

    assert_eq!(
        layout.running().unwrap().map(|running| running.pid),
        Some(std::process::id())
    );
    drop(lock);
}

#[test]
fn those_who_only_look_do_not_keep_an_owner_out() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path().to_owned());
    drop(layout.lock().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let (looker, stopped) = (layout.clone(), Arc::clone(&stop));
    let looking = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            looker.running().unwrap();
        }
    });

    let taken: Vec<_> = (0..50).map(|_| layout.lock().map(drop)).collect();
    stop.store(true, Ordering::Relaxed);
    looking.join().unwrap();

    assert!(taken.iter().all(Result::is_ok), "{taken:?}");
}
