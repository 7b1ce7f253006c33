//! What is refused before a request is read.

use std::net::SocketAddr;

use rstest::rstest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::TestServer;

/// Sends one plain HTTP request and returns the whole answer.
async fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let text =
        format!("{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[rstest]
#[case::no_token("GET /api/v1/pods HTTP/1.1", "401")]
#[case::wrong_token("GET /api/v1/pods HTTP/1.1\r\nAuthorization: Bearer test-tokem", "401")]
#[case::longer_token(
    "GET /api/v1/pods HTTP/1.1\r\nAuthorization: Bearer test-token2",
    "401"
)]
#[case::right_token("GET /api/v1/pods HTTP/1.1\r\nAuthorization: Bearer test-token", "200")]
#[case::health_needs_none("GET /readyz HTTP/1.1", "200")]
#[tokio::test]
async fn a_request_needs_the_token(#[case] head: &str, #[case] status: &str) {
    let test = TestServer::start().await;

    let answer = exchange(test.address, head, b"").await;

    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status}")),
        "{answer}"
    );
    test.stop().await;
}

#[tokio::test]
async fn bodies_and_media_types_have_limits() {
    let test = TestServer::start().await;
    let post =
        "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nAuthorization: Bearer test-token";

    let unknown = exchange(
        test.address,
        &format!("{post}\r\nContent-Type: text/csv"),
        b"a,b",
    )
    .await;
    assert!(unknown.starts_with("HTTP/1.1 415"), "{unknown}");
    let unreadable = exchange(
        test.address,
        &format!("{post}\r\nContent-Type: application/json"),
        b"{",
    )
    .await;
    assert!(unreadable.starts_with("HTTP/1.1 400"), "{unreadable}");
    let large = vec![b' '; (3 << 20) + 1];
    let refused = exchange(
        test.address,
        &format!("{post}\r\nContent-Type: application/json"),
        &large,
    )
    .await;
    assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
    test.stop().await;
}
