//! Clients that send as little as they can get away with, against the program.

use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::lone_router::{Setup, Start, ask, chat, read_until, soon, status};

/// Clients of each kind.
const EACH: usize = 20;

async fn impatient() -> Setup {
    let flags = ["--header-timeout=1s", "--idle-timeout=1s"];
    Setup::start(Start {
        flags: flags.map(str::to_owned).to_vec(),
        ..Start::default()
    })
    .await
}

/// Sends `head` and then one byte after the other, until the router has had enough; answers what it said.
async fn trickle(setup: &Setup, head: &str) -> String {
    let mut stream = TcpStream::connect(setup.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let bytes = async {
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        while writing.write_all(b"a").await.is_ok() {
            pace.tick().await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = read_until(&mut reading, "\r\n\r\n") => answer,
        () = bytes => String::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_trickles_is_sent_away_while_others_are_served() {
    let setup = impatient().await;
    setup.engine.ends.add_permits(1000);
    let kinds = [
        "POST /v1/chat/completions HTTP/1.1\r\nx-a: ",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\ncontent-length: 1000000\r\n\r\n",
    ];

    let slow = futures::future::join_all(
        kinds
            .iter()
            .flat_map(|kind| std::iter::repeat_n(kind, EACH))
            .map(|kind| trickle(&setup, kind)),
    );
    let others = async {
        loop {
            let answer = ask(setup.address, &chat()).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert_eq!(status(setup.address, "/healthz").await, 200);
        }
    };
    let answers = tokio::select! {
        answers = soon(slow) => answers,
        () = others => Vec::new(),
    };

    assert_eq!(answers.len(), 2 * EACH);
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trickle_does_not_hold_up_a_drain() {
    let mut setup = Setup::start(Start {
        environment: vec![("SHUTDOWN_DELAY", "0s"), ("DRAIN_TIMEOUT", "5m")],
        flags: vec!["--header-timeout=2s".to_owned()],
        ..Start::default()
    })
    .await;
    let mut stream = TcpStream::connect(setup.address).await.unwrap();
    stream.write_all(b"POST /v1/chat").await.unwrap();

    setup.signal(Signal::TERM);

    assert_eq!(setup.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_falls_silent_does_not_hold_its_client() {
    let setup = Setup::start(Start {
        flags: vec!["--engine-idle-timeout=1s".to_owned()],
        ..Start::default()
    })
    .await;
    let mut stream = setup.stream().await;

    let rest = read_until(&mut stream, "0\r\n\r\n").await;

    assert!(!rest.contains("0\r\n\r\n"), "it looks whole: {rest}");
    let metrics = async {
        let page = ask_page(&setup).await;
        page.contains("kthena_router_engine_silences_total 1")
            && page.contains("kthena_router_active_requests 0")
    };
    assert!(metrics.await);
}

async fn ask_page(setup: &Setup) -> String {
    let mut stream = TcpStream::connect(setup.metrics).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    read_until(&mut stream, "\0").await
}
