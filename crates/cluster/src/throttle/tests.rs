use std::convert::Infallible;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::{RequestRate, ThrottleLayer, TokenBucket};

const RATE: RequestRate = RequestRate {
    per_second: 5.0,
    burst: NonZeroU32::new(10).unwrap(),
};

#[tokio::test(start_paused = true)]
async fn a_burst_passes_and_the_rest_keeps_the_rate() {
    let mut service = ThrottleLayer(RATE).layer(service_fn(|()| async { Ok::<_, Infallible>(()) }));
    let start = Instant::now();

    for _ in 0..10 {
        service.ready().await.unwrap().call(()).await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);

    for _ in 0..5 {
        service.ready().await.unwrap().call(()).await.unwrap();
    }
    let elapsed = start.elapsed();
    assert!(
        elapsed >= Duration::from_secs(1) && elapsed < Duration::from_millis(1020),
        "{elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_quiet_time_refills_no_more_than_the_burst() {
    let start = Instant::now();
    let mut bucket = TokenBucket::new(RATE, start);
    let later = start + Duration::from_hours(1);

    let free = (0..20).filter(|_| bucket.try_take(later)).count();

    assert_eq!(free, 10);
}
