use std::net::SocketAddr;
use std::time::Duration;

use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{FetchFault, FetchLimits, Fetcher};

const LIMITS: FetchLimits = FetchLimits {
    time: Duration::from_secs(30),
    body: 64,
};

/// Gives these answers, one per request, each request being what one read brings in; then closes.
async fn engine(answers: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for answer in answers {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[rstest]
#[case::sized("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", true)]
#[case::chunked(
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    true
)]
#[case::until_close("HTTP/1.1 200 OK\r\n\r\nhello", false)]
#[case::closing(
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
    false
)]
#[tokio::test]
async fn reads_bodies(#[case] answer: &'static str, #[case] kept: bool) {
    let answers: &'static [&'static str] = Box::leak(Box::new([answer]));
    let mut fetcher = Fetcher::new(engine(answers).await, None);
    assert_eq!(
        *fetcher.get("/metrics", LIMITS).await.unwrap(),
        b"hello"[..]
    );
    assert_eq!(fetcher.is_connected(), kept);
}

#[rstest]
#[case::status(
    "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
    FetchFault::Status(404)
)]
#[case::not_quite_ok("HTTP/1.1 204 No Content\r\n\r\n", FetchFault::Status(204))]
#[case::too_long("HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n", FetchFault::TooLong)]
#[case::too_long_in_chunks(
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n46\r\n0123456789012345678901234567890123456789012345678901234567890123456789",
    FetchFault::TooLong
)]
#[case::cut("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", FetchFault::Closed)]
#[case::cut_in_the_head("HTTP/1.1 200 OK\r\ncontent-", FetchFault::Closed)]
#[case::other_protocol("SSH-2.0-OpenSSH\r\n\r\n", FetchFault::Malformed)]
#[case::nothing("", FetchFault::Closed)]
#[tokio::test]
async fn refuses(#[case] answer: &'static str, #[case] fault: FetchFault) {
    let answers: &'static [&'static str] = Box::leak(Box::new([answer]));
    let mut fetcher = Fetcher::new(engine(answers).await, None);
    assert_eq!(fetcher.get("/metrics", LIMITS).await.unwrap_err(), fault);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1";
    let mut fetcher = Fetcher::new(engine(&[ANSWER, ANSWER]).await, None);
    assert_eq!(*fetcher.get("/metrics", LIMITS).await.unwrap(), b"1"[..]);
    assert_eq!(
        *fetcher.post("/tokenize", b"{}", LIMITS).await.unwrap().1,
        b"1"[..]
    );
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced() {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut fetcher = Fetcher::new(listener.local_addr().unwrap(), None);
    let serving = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            stream.write_all(ANSWER).await.unwrap();
        }
    });
    for _ in 0..2 {
        assert_eq!(*fetcher.get("/metrics", LIMITS).await.unwrap(), b"1"[..]);
    }
    serving.await.unwrap();
}

#[tokio::test]
async fn an_engine_that_cannot_be_reached_is_told_from_one_that_is_slow() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = FetchLimits {
        time: Duration::from_millis(50),
        ..LIMITS
    };
    let slow = Fetcher::new(address, None).get("/metrics", limits).await;
    assert_eq!(slow.unwrap_err(), FetchFault::Timeout);
    drop(listener);
    let gone = Fetcher::new(address, None).get("/metrics", LIMITS).await;
    assert_eq!(gone.unwrap_err(), FetchFault::Connect);
}
