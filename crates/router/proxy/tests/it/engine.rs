//! An engine that follows a script.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What an engine does after it has read a request, in order.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Wait until the test adds a permit.
    Await(Arc<Semaphore>),
    /// Wait until the router closes the connection.
    UntilClosed,
    /// Close the connection; in TLS without having said so before.
    Close,
    /// Close in the way that TLS has for it.
    Farewell,
    /// Close with a reset.
    Reset,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Number of the connection it came on.
    pub(crate) connection: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (other, value) = line.split_once(':')?;
            other.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What to do with request number n.
pub(crate) type Script = Box<dyn Fn(usize, &Seen) -> Vec<Step> + Send + Sync>;

struct State {
    script: Script,
    seen: Mutex<Vec<Seen>>,
    count: watch::Sender<usize>,
    closed: watch::Sender<usize>,
}

/// A connection as an engine sees it.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {
    fn socket(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

pub(crate) struct Engine {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A complete answer with a length.
pub(crate) fn answer(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

pub(crate) fn ok(body: &str) -> Vec<Step> {
    vec![Step::Send(answer("200 OK", "application/json", body))]
}

/// The head of a stream in chunks.
pub(crate) const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

/// One event as one chunk.
pub(crate) fn event(json: &str) -> Vec<u8> {
    let event = format!("data: {json}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl Engine {
    pub(crate) async fn start(
        script: impl Fn(usize, &Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), script).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        script: impl Fn(usize, &Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::listen(address, None, script).await
    }

    /// An engine that speaks TLS.
    pub(crate) async fn start_secure(
        acceptor: TlsAcceptor,
        script: impl Fn(usize, &Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::listen("127.0.0.1:0".parse().unwrap(), Some(acceptor), script).await
    }

    pub(crate) async fn listen(
        address: SocketAddr,
        acceptor: Option<TlsAcceptor>,
        script: impl Fn(usize, &Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script: Box::new(script),
            seen: Mutex::default(),
            count: watch::Sender::new(0),
            closed: watch::Sender::new(0),
        });
        let own = Arc::clone(&state);
        let task = tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, acceptor) = (Arc::clone(&own), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(state, stream, connection).await,
                        // A client that does not like what it sees leaves.
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(state, stream, connection).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            state,
            task,
        }
    }

    /// Engines on one port of several loopback addresses, as pods of one server are.
    pub(crate) async fn start_several(scripts: Vec<Script>) -> Vec<Self> {
        let mut engines: Vec<Self> = Vec::new();
        for (number, script) in (1_u8..).zip(scripts) {
            let port = engines.first().map_or(0, |engine| engine.address.port());
            let ip = IpAddr::from([127, 0, 0, number]);
            engines.push(Self::start_at(SocketAddr::new(ip, port), script).await);
        }
        engines
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// Waits until this many requests arrived.
    pub(crate) async fn until_seen(&self, count: usize) {
        let mut seen = self.state.count.subscribe();
        crate::client::soon(seen.wait_for(|seen| *seen >= count))
            .await
            .unwrap();
    }

    /// Waits until the router closed this many connections during [`Step::UntilClosed`].
    pub(crate) async fn until_closed(&self, count: usize) {
        let mut closed = self.state.closed.subscribe();
        crate::client::soon(closed.wait_for(|closed| *closed >= count))
            .await
            .unwrap();
    }
}

async fn serve(state: Arc<State>, mut stream: impl Wire, connection: usize) {
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut stream, &mut buffer, connection).await {
        let number = {
            let mut all = state.seen.lock().unwrap();
            all.push(seen.clone());
            all.len() - 1
        };
        state.count.send_replace(number + 1);
        for step in (state.script)(number, &seen) {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                }
                Step::Await(gate) => gate.acquire().await.unwrap().forget(),
                Step::UntilClosed => {
                    let mut rest = [0; 1024];
                    while stream.read(&mut rest).await.unwrap_or(0) > 0 {}
                    state.closed.send_modify(|count| *count += 1);
                    return;
                }
                Step::Close => return,
                Step::Farewell => {
                    let _ = stream.shutdown().await;
                    return;
                }
                Step::Reset => {
                    stream.socket().set_zero_linger().unwrap();
                    return;
                }
            }
        }
    }
}

async fn read_request(
    stream: &mut impl Wire,
    buffer: &mut Vec<u8>,
    connection: usize,
) -> Option<Seen> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut seen = Seen {
        head,
        body: Vec::new(),
        connection,
    };
    let length: usize = seen
        .header("content-length")
        .map_or(0, |value| value.parse().unwrap());
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    seen.body = buffer[end..end + length].to_vec();
    buffer.drain(..end + length);
    Some(seen)
}
