use super::*;

fn queue(model: &str) -> OneQueue {
    OneQueue {
        model: model.to_owned(),
        waiting: 1,
        in_flight: 2,
        admitted: 3,
        cancelled: 4,
        refused: 5,
        refreshed: 6,
        rebuilt: 7,
        waits: vec![2, 0, 5],
        waited: Duration::from_millis(1500),
    }
}

fn written(figures: &RouterFigures) -> String {
    let mut text = String::new();
    figures.write(&mut text);
    text
}

fn with_queues(order: QueueOrder) -> RouterFigures {
    RouterFigures {
        queues: Some(QueueFigures {
            order,
            wait_bounds: &[0.5, 1.0],
            queues: vec![queue("a\"b"), queue("c")],
        }),
        ..RouterFigures::default()
    }
}

#[test]
fn the_exposition() {
    let figures = RouterFigures {
        sessions: SessionFigures {
            entries: 11,
            bytes: 12,
            evicted: 13,
            expired: 14,
            moved: 15,
        },
        visits: Some(VisitFigures {
            ended: 16,
            failed: 17,
            outdated: 18,
        }),
        index: Some(IndexFigures::Memory(MemoryIndex {
            bytes: 21,
            blocks: 22,
            engines: 23,
            refused: 24,
            orphans: 25,
            resets: 26,
            batches: 27,
            faulty: 28,
            gaps: 29,
            connects: 30,
        })),
        tokenizers: vec![TokenizerFigures {
            model: "a\"b".to_owned(),
            prompts: vec![("tokenized", 41), ("late", 42)],
            kinds: vec![KindFigures {
                kind: "chat",
                differs: true,
                same: 43,
                different: 44,
                unanswered: 45,
            }],
        }],
        ..with_queues(QueueOrder::Fairness { permits: true })
    };
    insta::assert_snapshot!(written(&figures));
}

#[test]
fn queues_of_sessions_have_families_of_their_own() {
    let text = written(&with_queues(QueueOrder::SessionBoost));
    let names = |text: &str| -> Vec<String> {
        let heads = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        heads
            .filter_map(|head| head.split(' ').next()?.strip_prefix("kthena_router_"))
            .filter(|name| name.contains("queue"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        names(&text),
        [
            "session_boost_queue_size",
            "session_boost_queue_cancelled_total",
            "session_boost_queue_dequeue_total",
            "session_boost_queue_inflight",
            "session_boost_queue_duration_seconds",
            "queue_refused_total",
        ]
    );
    assert!(!text.contains("user_id"));
}

#[test]
fn a_rate_has_nothing_in_flight() {
    let text = written(&with_queues(QueueOrder::Fairness { permits: false }));
    assert!(!text.contains("inflight"));
}

#[test]
fn what_there_is_not_is_not_told() {
    let text = written(&RouterFigures::default());
    for family in ["queue", "scrape", "kv_"] {
        assert!(!text.contains(family), "{text}");
    }
}

#[test]
fn a_shared_index_is_up_or_not() {
    for (up, value) in [(true, 1), (false, 0)] {
        let text = written(&RouterFigures {
            index: Some(IndexFigures::Redis { up, swept: 3 }),
            ..RouterFigures::default()
        });
        let line = format!("kthena_router_kv_index_redis_up {value}");
        assert!(text.lines().any(|other| other == line), "{text}");
        assert!(text.contains("kthena_router_kv_index_swept_total 3"));
    }
}
