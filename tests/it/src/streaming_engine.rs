//! An engine whose streams end when a test says so.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Answers each chat with a stream: one event at once, the end when the test says so.
pub(crate) struct Engine {
    pub address: SocketAddr,
    /// A permit ends one stream.
    pub ends: Arc<Semaphore>,
}

const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nb\r\ndata: {}\n\n \r\n";
const STREAM_END: &str = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

impl Engine {
    /// An engine that shakes hands with `acceptor` if there is one.
    pub(crate) async fn start(acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let ends = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&ends);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (ends, acceptor) = (Arc::clone(&held), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, ends).await,
                        Some(acceptor) => serve(acceptor.accept(stream).await?, ends).await,
                    }
                });
            }
        });
        Self { address, ends }
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    ends: Arc<Semaphore>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    loop {
        // Every request of these tests ends like this.
        while !request.ends_with(b"}]}") {
            if request.starts_with(b"GET ") && request.ends_with(b"\r\n\r\n") {
                return stream
                    .write_all(
                        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                    )
                    .await;
            }
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        request.clear();
        stream.write_all(STREAM_HEAD.as_bytes()).await?;
        let mut unexpected = [0; 1];
        tokio::select! {
            end = ends.acquire() => end.unwrap().forget(),
            _ = stream.read(&mut unexpected) => return Ok(()),
        }
        stream.write_all(STREAM_END.as_bytes()).await?;
    }
}
