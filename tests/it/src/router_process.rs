//! `kthena router` as a cluster runs it: signals, descriptors, an API server that comes late.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};

use kthena_testkit::binary;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::lone_router::{Setup, Start, ask, chat, read_until, soon, status};

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_its_streams_and_leaves_nobody_before_a_closed_door() {
    let start = Start {
        environment: vec![("SHUTDOWN_DELAY", "2s"), ("DRAIN_TIMEOUT", "5m")],
        ..Start::default()
    };
    let mut setup = Setup::start(start).await;
    let mut stream = setup.stream().await;

    setup.signal(Signal::TERM);

    setup.until("/readyz", 503).await;
    let mut late = setup.stream().await;
    assert_eq!(status(setup.address, "/healthz").await, 200);
    // First requests are served, then refused, and at no time is the connection.
    let refusal = soon(async {
        loop {
            let answer = ask(setup.address, &chat()).await.unwrap();
            if answer.starts_with("HTTP/1.1 503") {
                return answer;
            }
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    })
    .await;
    assert!(refusal.contains("retry-after: 1\r\n"), "{refusal}");
    assert_eq!(status(setup.address, "/healthz").await, 200);
    assert_eq!(status(setup.address, "/readyz").await, 503);
    assert!(setup.router.try_wait().unwrap().is_none());
    setup.engine.ends.add_permits(1000);

    for stream in [&mut stream, &mut late] {
        let rest = read_until(stream, "0\r\n\r\n").await;
        assert!(rest.contains("data: [DONE]"), "{rest}");
    }
    assert_eq!(setup.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_cuts_what_is_left() {
    let start = Start {
        environment: vec![("SHUTDOWN_DELAY", "0s"), ("DRAIN_TIMEOUT", "500ms")],
        ..Start::default()
    };
    let mut setup = Setup::start(start).await;
    let mut stream = setup.stream().await;

    setup.signal(Signal::INT);

    assert_eq!(setup.ended().await.code(), Some(0));
    assert!(
        !read_until(&mut stream, "0\r\n\r\n")
            .await
            .contains("[DONE]")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_router_at_once() {
    let mut setup = Setup::start(Start::default()).await;
    let _stream = setup.stream().await;
    setup.signal(Signal::TERM);
    setup.until("/readyz", 503).await;

    setup.signal(Signal::TERM);

    let ended = setup.ended().await;
    assert!(
        ended.code() == Some(143) || ended.signal() == Some(15),
        "{ended}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_limit_of_descriptors_clients_are_refused_and_come_in_again_afterwards() {
    let start = Start {
        descriptors: Some(200),
        ..Start::default()
    };
    let setup = Setup::start(start).await;
    let mut streams = Vec::new();

    let refusal = soon(async {
        loop {
            let mut stream = TcpStream::connect(setup.address).await.unwrap();
            stream.write_all(&chat()).await.unwrap();
            let answer = read_until(&mut stream, "\r\n\r\n").await;
            if !answer.starts_with("HTTP/1.1 200") {
                return answer;
            }
            streams.push(stream);
        }
    })
    .await;

    assert!(streams.len() > 50, "{} streams", streams.len());
    assert!(refusal.starts_with("HTTP/1.1 503"), "{refusal}");
    assert!(refusal.contains("retry-after: 1\r\n"), "{refusal}");
    // A flood that asks nothing takes every descriptor there is; the next client still hears something.
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(TcpStream::connect(setup.address).await.unwrap());
    }
    let refusal = ask(setup.address, &chat()).await.unwrap();
    assert!(refusal.starts_with("HTTP/1.1 503"), "{refusal}");
    drop(flood);
    // Those already here are served to their end.
    setup.engine.ends.add_permits(streams.len());
    for stream in &mut streams {
        assert!(read_until(stream, "0\r\n\r\n").await.contains("[DONE]"));
    }
    drop(streams);

    setup.engine.ends.add_permits(1000);
    soon(async {
        while !ask(setup.address, &chat())
            .await
            .unwrap()
            .starts_with("HTTP/1.1 200")
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Streams that wait at once; each costs this process two descriptors and the router two.
const IDLE_STREAMS: usize = 2000;

/// Resident memory of the router in KiB.
fn resident(router: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", router.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_streams_are_held_and_cost_little() {
    let setup = Setup::start(Start::default()).await;
    let before = resident(&setup.router);
    let mut streams = Vec::with_capacity(IDLE_STREAMS);
    for _ in 0..IDLE_STREAMS {
        streams.push(setup.stream().await);
    }

    let grown = resident(&setup.router).saturating_sub(before);

    let per_stream = grown * 1024 / IDLE_STREAMS;
    assert!(per_stream < 40 << 10, "{per_stream} bytes a stream");
    setup.engine.ends.add_permits(IDLE_STREAMS);
    for stream in &mut streams {
        assert!(read_until(stream, "0\r\n\r\n").await.contains("[DONE]"));
    }
    let metrics = setup.metrics;
    soon(async {
        loop {
            let mut stream = TcpStream::connect(metrics).await.unwrap();
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let text = read_until(&mut stream, "\0").await;
            if text.contains("kthena_router_active_requests 0") {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_explains_what_the_router_would_do() {
    let setup = Setup::start(Start::default()).await;
    let explain = |arguments: &[&str]| {
        Command::new(binary::kthena().unwrap())
            .args(["explain", &format!("--router=http://{}", setup.debug)])
            .args(arguments)
            .output()
            .unwrap()
    };

    let told = explain(&["--model=m", "--prompt=hi"]);
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.status.success(),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
    assert!(text.contains("Route     default/r"), "{text}");
    assert!(text.contains(&setup.engine.address.to_string()), "{text}");

    let refused = explain(&["--model=x", "--prompt=hi", "-o", "json"]);
    assert!(!refused.status.success());
    let told: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(told["error"]["status"], 404);
}
