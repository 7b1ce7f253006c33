//! Sessions that stay on their pods.

use std::sync::Arc;

use kthena_router_view::{PodFacts, View};
use rstest::rstest;
use serde_json::{Value, json};

use crate::client::{CHAT, Client, post_with, soon};
use crate::engine::{Engine, Script, Step, answer, ok};
use crate::setup::{TestRouter, config, view};

const BODY: &str = r#"{"model":"m","messages":[]}"#;

/// Engines that say their number.
async fn numbered(count: usize) -> Vec<Engine> {
    let say = |number: usize| -> Script { Box::new(move |_, _| ok(&number.to_string())) };
    Engine::start_several((0..count).map(say).collect()).await
}

/// A view whose route tells sessions apart by `source`.
fn sticky_view(engines: &[Engine], source: &Value) -> View {
    let mut view = view(&engines.iter().collect::<Vec<_>>(), &json!({}));
    let route = json!({
        "metadata": {"namespace": "ns", "name": "r"},
        "spec": {
            "modelName": "m",
            "rules": [{"targetModels": [{"modelServerName": "s"}]}],
            "sessionSticky": {"sources": [source]},
        },
    });
    view.apply_route(&serde_json::from_value(route).unwrap());
    view
}

async fn sticky(engines: &[Engine], source: &Value) -> (TestRouter, View) {
    let router = TestRouter::start(config()).await;
    let mut view = sticky_view(engines, source);
    router.publisher.publish(view.snapshot());
    (router, view)
}

fn header() -> Value {
    json!({"type": "Header", "name": "X-Session"})
}

fn in_session(session: &str) -> Vec<u8> {
    post_with(CHAT, &format!("x-session: {session}\r\n"), BODY)
}

async fn answered_by(client: &mut Client, request: &[u8]) -> String {
    let answer = client.ask(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().to_owned()
}

#[rstest]
#[case::header(header(), |session: String| in_session(&session))]
#[case::cookie(json!({"type": "Cookie", "name": "sid"}), |session| post_with(CHAT, &format!("Cookie: a=b; sid={session}\r\n"), BODY))]
#[case::query(json!({"type": "Query", "name": "sid"}), |session| post_with(&format!("{CHAT}?sid={session}"), "", BODY))]
#[case::user_in_the_body(json!({"type": "Body", "name": "user"}), |session| post_with(CHAT, "", &format!(r#"{{"model":"m","user":"{session}","messages":[]}}"#)))]
#[tokio::test]
async fn a_session_stays_on_its_pod(#[case] source: Value, #[case] request: fn(String) -> Vec<u8>) {
    let engines = numbered(4).await;
    let (router, _view) = sticky(&engines, &source).await;
    let mut client = router.client().await;

    let mut pods = Vec::new();
    for session in 0..12 {
        let request = request(format!("session-{session}"));
        let pod = answered_by(&mut client, &request).await;
        for _ in 0..4 {
            assert_eq!(answered_by(&mut client, &request).await, pod);
        }
        pods.push(pod);
    }

    pods.sort();
    pods.dedup();
    assert!(pods.len() > 1, "sessions are spread: {pods:?}");
}

#[tokio::test]
async fn a_busy_pod_keeps_its_session() {
    let engines = numbered(2).await;
    let (router, mut view) = sticky(&engines, &header()).await;
    let mut client = router.client().await;
    let pod = answered_by(&mut client, &in_session("a")).await;
    let snapshot = view.snapshot();
    let name = format!("pod-{pod}");
    let mut pods = snapshot.server("ns/s").unwrap().pods();
    let own = pods.find(|one| *one.endpoint.pod().name == *name).unwrap();
    let _busy: Vec<_> = (0..9).map(|_| own.endpoint.begin()).collect();

    assert_eq!(answered_by(&mut client, &in_session("a")).await, pod);
    let stranger = answered_by(&mut client, &in_session("b")).await;
    assert_ne!(stranger, pod, "others go by load");
}

#[tokio::test]
async fn a_session_whose_pod_is_gone_moves_for_good() {
    let engines = numbered(3).await;
    let (router, mut view) = sticky(&engines, &header()).await;
    let mut client = router.client().await;
    let old = answered_by(&mut client, &in_session("a")).await;

    view.delete_pod("ns", &format!("pod-{old}"), "");
    router.publisher.publish(view.snapshot());
    let new = answered_by(&mut client, &in_session("a")).await;
    assert_ne!(new, old);

    let number: usize = old.parse().unwrap();
    view.apply_pod(PodFacts {
        namespace: "ns".to_owned(),
        name: format!("pod-{old}"),
        uid: "returned".to_owned(),
        labels: [("app".to_owned(), "m".to_owned())].into(),
        ready: true,
        address: Some(engines[number].address.ip()),
        started_unix: None,
    });
    router.publisher.publish(view.snapshot());
    for _ in 0..8 {
        assert_eq!(answered_by(&mut client, &in_session("a")).await, new);
    }
    for line in ["sticky_sessions 1", "sticky_moves_total 1"] {
        router.until_metric(&format!("kthena_router_{line}")).await;
    }
}

#[tokio::test]
async fn a_session_follows_the_pod_that_answered_instead() {
    let faulty: Script = Box::new(|number, _| {
        if number == 0 {
            ok("0")
        } else {
            vec![Step::Close]
        }
    });
    let mut scripts = vec![faulty];
    scripts.push(Box::new(|_, _| ok("1")));
    let engines = Engine::start_several(scripts).await;
    let (router, _view) = sticky(&engines, &header()).await;
    let mut client = router.client().await;
    let session = soon(async {
        // Which idle pod a new session gets is drawn by lot.
        for number in 0.. {
            let session = format!("s{number}");
            if answered_by(&mut client, &in_session(&session)).await == "0" {
                return session;
            }
        }
        unreachable!()
    })
    .await;

    assert_eq!(answered_by(&mut client, &in_session(&session)).await, "1");
    let asked = engines[0].seen().len();
    for _ in 0..5 {
        assert_eq!(answered_by(&mut client, &in_session(&session)).await, "1");
    }
    assert_eq!(engines[0].seen().len(), asked, "the session has moved");
}

#[tokio::test]
async fn a_request_that_fails_binds_nothing() {
    let refuses = || -> Script {
        Box::new(|_, _| vec![Step::Send(answer("400 Bad Request", "text/plain", "no"))])
    };
    let engines = Engine::start_several(vec![refuses(), refuses()]).await;
    let (router, _view) = sticky(&engines, &header()).await;
    let mut client = router.client().await;

    soon(async {
        // A session that was bound would never see the other pod.
        while engines.iter().any(|engine| engine.seen().is_empty()) {
            assert_eq!(client.ask(&in_session("a")).await.status, 400);
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_of_pairs_stays_on_its_decode_pod() {
    let engines = numbered(4).await;
    let spec = json!({"workloadSelector": {"matchLabels": {"app": "m"}, "pdGroup": {
        "groupKey": "group", "prefillLabels": {"role": "p"}, "decodeLabels": {"role": "d"},
    }}});
    let mut view = sticky_view(&engines, &header());
    let mut full = json!({"workloadPort": {"port": engines[0].address.port()}});
    full.as_object_mut()
        .unwrap()
        .extend(spec.as_object().unwrap().clone());
    let server = json!({"metadata": {"namespace": "ns", "name": "s"}, "spec": full});
    view.apply_server(Arc::new(serde_json::from_value(server).unwrap()));
    for (number, role) in ["p", "d", "d", "d"].into_iter().enumerate() {
        let labels = [("app", "m"), ("group", "g"), ("role", role)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        view.apply_pod(PodFacts {
            namespace: "ns".to_owned(),
            name: format!("pod-{number}"),
            uid: format!("uid-{number}"),
            labels: labels.into(),
            ready: true,
            address: Some(engines[number].address.ip()),
            started_unix: None,
        });
    }
    let router = TestRouter::start(config()).await;
    router.publisher.publish(view.snapshot());
    let mut client = router.client().await;

    for session in 0..6 {
        let request = in_session(&session.to_string());
        let pod = answered_by(&mut client, &request).await;
        for _ in 0..4 {
            assert_eq!(answered_by(&mut client, &request).await, pod);
        }
    }
}
