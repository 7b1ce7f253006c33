use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{RetryLimits, WorkQueue};

fn queue() -> WorkQueue<&'static str> {
    WorkQueue::new(RetryLimits::default())
}

async fn is_empty(queue: &WorkQueue<&'static str>) -> bool {
    timeout(Duration::from_millis(1), queue.next())
        .await
        .is_err()
}

#[tokio::test(start_paused = true)]
async fn r25_a_key_waits_once_however_often_it_is_added() {
    let queue = queue();
    queue.add("a");
    queue.add("a");
    queue.add("b");

    assert_eq!(queue.depth(), 2);
    let first = queue.next().await.unwrap();
    assert_eq!(*first, "a");
    let second = queue.next().await.unwrap();
    assert_eq!(*second, "b");
    assert!(is_empty(&queue).await);
}

#[tokio::test(start_paused = true)]
async fn r25_a_key_is_never_held_twice_and_comes_back_if_added_meanwhile() {
    let queue = queue();
    queue.add("a");
    let held = queue.next().await.unwrap();
    queue.add("a");
    assert!(is_empty(&queue).await);

    drop(held);

    assert_eq!(*queue.next().await.unwrap(), "a");
    assert!(is_empty(&queue).await);
}

#[tokio::test(start_paused = true)]
async fn r25_failures_double_the_delay_up_to_the_longest() {
    let queue = queue();
    let delays: Vec<_> = (0..20).map(|_| queue.retry("a")).collect();

    assert_eq!(delays[0], Duration::from_millis(5));
    assert_eq!(delays[1], Duration::from_millis(10));
    assert_eq!(delays[10], Duration::from_millis(5120));
    assert_eq!(delays[19], Duration::from_secs(1000));

    queue.forget(&"a");
    assert_eq!(queue.retry("a"), Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn r25_retries_of_all_keys_keep_the_common_rate() {
    let queue = WorkQueue::new(RetryLimits::default());
    let delays: Vec<_> = (0..110).map(|key| queue.retry(key)).collect();

    assert_eq!(delays[99], Duration::from_millis(5));
    assert_eq!(delays[109].as_millis(), 1000);
}

#[tokio::test(start_paused = true)]
async fn the_earliest_moment_counts() {
    let queue = queue();
    let start = Instant::now();
    queue.add_after("a", Duration::from_mins(1));
    queue.add_after("a", Duration::from_secs(1));
    queue.add_after("a", Duration::from_secs(30));

    drop(queue.next().await.unwrap());

    assert!(start.elapsed() < Duration::from_millis(1010));
    assert!(is_empty(&queue).await);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_worker_learns_of_an_earlier_moment() {
    let queue = queue();
    queue.add_after("late", Duration::from_mins(10));
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.next().await.map(|claim| *claim) }
    });
    tokio::task::yield_now().await;
    let start = Instant::now();
    queue.add_after("soon", Duration::from_secs(1));

    assert_eq!(waiting.await.unwrap(), Some("soon"));
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn closing_lets_waiting_keys_finish_and_drops_delayed_ones() {
    let queue = queue();
    queue.add("a");
    queue.add_after("b", Duration::from_secs(1));
    queue.close();
    queue.add("c");

    assert_eq!(queue.next().await.map(|claim| *claim), Some("a"));
    assert!(queue.next().await.is_none());
    assert!(queue.next().await.is_none());
}
