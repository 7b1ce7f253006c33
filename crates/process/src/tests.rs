use std::convert::Infallible;

use tokio_util::sync::CancellationToken;

use crate::{TaskError, Tasks};

#[tokio::test]
async fn a_failed_task_stops_the_others_and_is_what_join_answers() {
    let mut tasks = Tasks::new(CancellationToken::new());
    let stopped = tasks.shutdown();
    tasks.spawn("patient", async move {
        stopped.cancelled().await;
        Ok::<_, Infallible>(())
    });
    tasks.spawn("broken", async { Err("no disk") });

    let error = tasks.join().await.unwrap_err();

    assert_eq!(error.to_string(), "broken: no disk");
}

#[tokio::test]
async fn a_panic_names_the_task() {
    let mut tasks = Tasks::new(CancellationToken::new());
    tasks.spawn("fragile", async {
        assert!(std::hint::black_box(false), "dropped");
        Ok::<_, Infallible>(())
    });

    let error = tasks.join().await.unwrap_err();

    assert!(
        matches!(
            error,
            TaskError::Panicked {
                task: "fragile",
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn join_waits_for_all_tasks() {
    let shutdown = CancellationToken::new();
    let mut tasks = Tasks::new(shutdown.clone());
    for _ in 0..3 {
        let stopped = tasks.shutdown();
        tasks.spawn("worker", async move {
            stopped.cancelled().await;
            Ok::<_, Infallible>(())
        });
    }
    shutdown.cancel();

    assert!(tasks.join().await.is_ok());
}
