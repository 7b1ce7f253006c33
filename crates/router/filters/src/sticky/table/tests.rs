use kthena_api::model_route::{SessionSource, SessionSourceType, SessionSticky};
use proptest::prelude::*;

use super::super::RequestParts;
use super::*;

const TTL: Duration = Duration::from_mins(1);

struct User(String);

impl RequestParts for User {
    fn header<'s>(&'s self, _: &str) -> Box<dyn Iterator<Item = &'s [u8]> + 's> {
        Box::new(std::iter::empty())
    }

    fn query(&self) -> &[u8] {
        b""
    }

    fn body_user(&self) -> Option<&str> {
        Some(&self.0)
    }
}

fn key(user: usize) -> SessionKey {
    let sticky = SessionSticky {
        session_affinity_seconds: None,
        sources: vec![SessionSource {
            kind: SessionSourceType::Body,
            name: "user".to_owned(),
        }],
    };
    SessionKey::of("default/chat", &sticky, &User(format!("user-{user}"))).unwrap()
}

fn on(pod: &str) -> Binding {
    Binding {
        server: "default/llama".into(),
        pod: pod.into(),
        group: None,
    }
}

fn table(entries: usize, bytes: usize) -> StickyTable {
    StickyTable::new(StickyLimits {
        entries: NonZeroUsize::new(entries).unwrap(),
        bytes: NonZeroUsize::new(bytes).unwrap(),
    })
}

#[test]
fn each_success_prolongs_a_binding() {
    let table = table(10, 1 << 20);
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(table.get(key(1), at(0)), None);
    table.settle(key(1), None, on("a"), TTL, at(0));
    assert_eq!(table.get(key(1), at(59)), Some(on("a")));
    table.settle(key(1), Some(&on("a")), on("a"), TTL, at(59));
    assert_eq!(table.get(key(1), at(118)), Some(on("a")));
    assert_eq!(table.get(key(1), at(119)), None);
    assert_eq!(table.counts().moved, 0);
}

#[test]
fn a_session_moves_with_the_first_who_succeeds_elsewhere() {
    let table = table(10, 1 << 20);
    let now = Instant::now();
    table.settle(key(1), None, on("lost"), TTL, now);
    // Three requests see the same binding; its pod is gone.
    let seen = table.get(key(1), now);
    assert_eq!(
        table.settle(key(1), seen.as_ref(), on("b"), TTL, now),
        on("b")
    );
    assert_eq!(
        table.settle(key(1), seen.as_ref(), on("c"), TTL, now),
        on("b")
    );
    assert_eq!(
        table.settle(key(1), seen.as_ref(), on("b"), TTL, now),
        on("b")
    );
    assert_eq!(table.get(key(1), now), Some(on("b")));
    assert_eq!(table.counts().moved, 1);
}

#[test]
fn first_requests_of_a_session_agree_on_the_first_that_succeeds() {
    let table = table(10, 1 << 20);
    let now = Instant::now();
    assert_eq!(table.settle(key(1), None, on("a"), TTL, now), on("a"));
    assert_eq!(table.settle(key(1), None, on("b"), TTL, now), on("a"));
}

#[test]
fn a_binding_that_expired_is_nobodys() {
    let table = table(10, 1 << 20);
    let now = Instant::now();
    table.settle(key(1), None, on("a"), TTL, now);
    let later = now + TTL;
    assert_eq!(table.settle(key(1), None, on("b"), TTL, later), on("b"));
    assert_eq!(table.counts().expired, 1);
}

#[test]
fn whoever_succeeded_the_longest_ago_is_forgotten_first() {
    let table = table(2, 1 << 20);
    let now = Instant::now();
    for user in [1, 2] {
        table.settle(key(user), None, on("a"), TTL, now);
    }
    table.settle(key(1), Some(&on("a")), on("a"), TTL, now);
    table.settle(key(3), None, on("a"), TTL, now);
    assert_eq!(table.get(key(2), now), None);
    assert!(table.get(key(1), now).is_some() && table.get(key(3), now).is_some());
    assert_eq!(table.counts().evicted, 1);
}

#[test]
fn bytes_are_a_limit_too() {
    let table = table(1000, 10 * (ENTRY + 20));
    let now = Instant::now();
    for user in 0..1000 {
        table.settle(key(user), None, on("a"), TTL, now);
    }
    let counts = table.counts();
    assert!(counts.bytes <= 10 * (ENTRY as u64 + 20));
    assert!((5..=10).contains(&counts.entries));
    assert_eq!(counts.evicted, 1000 - counts.entries);
}

#[test]
fn a_large_table_spreads_over_its_parts() {
    let table = StickyTable::new(StickyLimits::default());
    let now = Instant::now();
    for user in 0..2000 {
        table.settle(key(user), None, on("a"), TTL, now);
    }
    assert_eq!(table.counts().entries, 2000);
    assert!(
        table
            .parts
            .iter()
            .all(|part| !lock(part).entries.is_empty())
    );
}

#[test]
fn threads_that_race_for_a_session_end_on_one_pod() {
    let now = Instant::now();
    for round in 0..200 {
        let table = table(10, 1 << 20);
        let seen = (round % 2 == 0).then(|| table.settle(key(1), None, on("lost"), TTL, now));
        let winners: Vec<Binding> = std::thread::scope(|scope| {
            let racing: Vec<_> = ["a", "b", "c"]
                .map(|pod| {
                    let (table, seen) = (&table, seen.as_ref());
                    scope.spawn(move || table.settle(key(1), seen, on(pod), TTL, now))
                })
                .into();
            racing
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let held = table.get(key(1), now).unwrap();
        assert!(winners.iter().all(|winner| *winner == held));
    }
}

proptest! {
    #[test]
    fn limits_and_sums_hold_whatever_happens(
        steps in proptest::collection::vec((0_usize..12, 0_usize..3, 0_u64..40), 0..200),
        limit in 1_usize..8,
    ) {
        let table = table(limit, 1 << 20);
        let mut now = Instant::now();
        for (user, pod, wait) in steps {
            now += Duration::from_secs(wait);
            let seen = table.get(key(user), now);
            let answered = on(["a", "bb", "ccc"][pod]);
            let held = table.settle(key(user), seen.as_ref(), answered.clone(), TTL, now);
            prop_assert_eq!(&held, &answered, "nobody else moved it");
            prop_assert_eq!(table.get(key(user), now), Some(answered));
            let part = lock(&table.parts[0]);
            prop_assert!(part.entries.len() <= limit);
            prop_assert_eq!(part.order.len(), part.entries.len());
            let bytes: u64 = part.entries.values().map(|entry| cost(&entry.binding)).sum();
            prop_assert_eq!(part.counts.bytes, bytes);
            prop_assert_eq!(part.counts.entries, part.entries.len() as u64);
        }
    }
}
