//! Sockets that accept, and who gets what they accept.
//!
//! # Invariants
//!
//! - A client is never left waiting because descriptors ran out: it is refused, and told so where that is possible.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use futures::FutureExt;
use kthena_router_pipeline::{ErrorStyle, RouteError};
use socket2::{Domain, Protocol, Socket, Type};

use crate::connection::Reply;
use crate::descriptors::{Spare, Threshold, is_exhausted};
use crate::error::ProxyError;

/// Connections the system holds until they are accepted.
const BACKLOG: i32 = 4096;
/// Pause after an accept that failed for want of descriptors or memory.
const RECOVER: Duration = Duration::from_millis(20);

/// Whether there is room for another client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    /// What is left is needed for clients already here.
    Scarce,
}

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`. The unspecified IPv6 address takes IPv4 too, and stands for the IPv4 one where the machine
    /// has no IPv6.
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, ProxyError> {
        let failed = |source| ProxyError::Bind { address, source };
        let socket = match listen(address) {
            Err(error)
                if address.ip().is_unspecified() && address.is_ipv6() && lacks_ipv6(&error) =>
            {
                listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()))).map_err(failed)?
            }
            other => other.map_err(failed)?,
        };
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts for ever and hands each connection to `serve`.
    pub(crate) async fn accept(&self, serve: impl Fn(TcpStream, Room)) -> io::Result<()> {
        let socket = tokio::net::TcpListener::from_std(self.socket.try_clone()?)?;
        let threshold = Threshold::of_process();
        let mut spare = Spare::new();
        let refusal =
            Reply::error(&RouteError::Overloaded, ErrorStyle::OpenAi).encode(false, false);
        loop {
            match socket
                .accept()
                .await
                .and_then(|(stream, _)| stream.into_std())
            {
                Ok(stream) => {
                    let room = if threshold.is_reached_by(stream.as_raw_fd()) {
                        Room::Scarce
                    } else {
                        Room::Enough
                    };
                    serve(stream, room);
                }
                Err(error) if belongs_to_one_connection(&error) => {}
                Err(error) if is_exhausted(&error) && spare.release() => {
                    let waiting = socket.accept().now_or_never();
                    if let Some(Ok(stream)) = waiting.map(|next| next?.0.into_std()) {
                        turn_away(stream, &refusal);
                    } else {
                        // Somebody else took the descriptor.
                        tokio::time::sleep(RECOVER).await;
                    }
                    spare.refill();
                }
                Err(error) => {
                    spare.refill();
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(RECOVER).await;
                }
            }
        }
    }
}

/// Answers and closes at once. A client in the middle of a TLS handshake only sees it closed.
fn turn_away(mut stream: TcpStream, refusal: &[u8]) {
    // Closing while bytes wait unread would reset the connection and could take the answer with it.
    let _ = stream.read(&mut [0; 16 << 10]);
    let _ = stream.write(refusal);
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for connections of the previous run to fade.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        // EAFNOSUPPORT has no kind of its own.
        || error.raw_os_error() == Some(97)
}

fn belongs_to_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
