use kthena_router_scheduler::{Endpoint, PodIdentity};
use kthena_router_view::CacheEvents;
use rstest::rstest;

use super::*;

fn source() -> EventSource {
    EventSource {
        port: 5557,
        ranks: 1,
        topic: "kv-events".to_owned(),
        replay_port: None,
        budget: 1 << 20,
    }
}

fn pod(address: &str, engine: InferenceEngine, cache_events: CacheEvents) -> Pod {
    let identity = PodIdentity {
        namespace: "ns".into(),
        name: "pod".into(),
        uid: "1".into(),
    };
    Pod {
        endpoint: Arc::new(Endpoint::new(identity)),
        address: address.parse().unwrap(),
        tls: None,
        engine,
        cache_events: Arc::new(cache_events),
    }
}

fn found(events: &str, topic: &str, replay: Option<&str>) -> Source {
    Source {
        events: events.to_owned(),
        topic: topic.to_owned(),
        replay: replay.map(str::to_owned),
    }
}

#[rstest]
#[case::vllm(InferenceEngine::Vllm, 0, "tcp://10.0.0.1:5557", "kv-events")]
#[case::second_rank(InferenceEngine::Vllm, 1, "tcp://10.0.0.1:5558", "kv-events")]
#[case::sglang_has_no_topic(InferenceEngine::Sglang, 0, "tcp://10.0.0.1:5557", "")]
fn engines_are_heard_where_the_router_was_told(
    #[case] engine: InferenceEngine,
    #[case] rank: u16,
    #[case] events: &str,
    #[case] topic: &str,
) {
    let pod = pod("10.0.0.1:8000", engine, CacheEvents::default());
    assert_eq!(
        endpoint(&source(), rank, &pod),
        Some(found(events, topic, None))
    );
}

#[test]
fn a_server_may_say_otherwise() {
    let own = CacheEvents {
        port: Some(6000),
        replay_port: Some(6100),
        ranks: Some(4),
        topic: Some("mine".into()),
        faults: Vec::new(),
    };
    let pod = pod("[fd00::1]:8000", InferenceEngine::Sglang, own);
    let expected = found("tcp://[fd00::1]:6003", "mine", Some("tcp://[fd00::1]:6103"));
    assert_eq!(endpoint(&source(), 3, &pod), Some(expected));
}

#[test]
fn ranks_beyond_the_last_port_are_nowhere() {
    let own = CacheEvents {
        port: Some(65535),
        ..CacheEvents::default()
    };
    let pod = pod("10.0.0.1:8000", InferenceEngine::Vllm, own);
    assert!(endpoint(&source(), 0, &pod).is_some());
    assert_eq!(endpoint(&source(), 1, &pod), None);
}

#[tokio::test]
async fn every_rank_is_an_owner_of_its_own_while_it_is_wanted_and_the_pod_is_there() {
    let index = Arc::new(CacheIndex::new(1 << 20, 1));
    let own = CacheEvents {
        ranks: Some(3),
        ..CacheEvents::default()
    };
    let pod = pod("127.0.0.1:8000", InferenceEngine::Vllm, own);
    let (pods, receiver) = watch::channel(Some(Arc::from([pod])));
    let (source, heard) = (source(), Arc::default());
    let (wanted, is_wanted) = watch::channel(true);
    let listening = listen(&source, &index, &heard, receiver, is_wanted);
    let owners = async |count: u64| {
        while index.figures().owners != count {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let watching = async {
        owners(3).await;
        wanted.send_replace(false);
        owners(0).await;
        wanted.send_replace(true);
        owners(3).await;
        pods.send_replace(Some(Arc::from([])));
        owners(0).await;
    };
    tokio::select! {
        () = listening => unreachable!("the sender of pods is still there"),
        done = tokio::time::timeout(std::time::Duration::from_mins(1), watching) => done.unwrap(),
    }
}
