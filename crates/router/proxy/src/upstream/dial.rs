//! Opens connections to engines.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use kthena_router_pipeline::UpstreamFault;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::stream::EngineStream;
use crate::tls::EngineTls;

/// A connection on which nothing passes for so long is probed.
const PROBE_AFTER: Duration = Duration::from_secs(30);
/// How often, until the other side has answered.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// What was sent must have been acknowledged by the other machine within this time, probes included. Otherwise the
/// machine is gone, and waiting for its engine is of no use. An engine that is only busy has a kernel that answers.
const UNACKNOWLEDGED: Duration = Duration::from_mins(1);

/// Connects to `address`, in TLS if `tls` says how, within `limit`.
pub(crate) async fn dial(
    address: SocketAddr,
    tls: Option<&EngineTls>,
    limit: Duration,
) -> Result<EngineStream, UpstreamFault> {
    let dialling = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| fault(&error))?;
        tune(&stream);
        match tls {
            None => Ok(EngineStream::plain(stream)),
            // Boxed, as the state of a handshake is large and most engines need none.
            Some(tls) => Box::pin(tls.shake_hands(address, stream))
                .await
                .map(EngineStream::secure),
        }
    };
    tokio::time::timeout(limit, dialling)
        .await
        .unwrap_or(Err(UpstreamFault::Connect))
}

fn fault(error: &io::Error) -> UpstreamFault {
    if crate::descriptors::is_exhausted(error) {
        UpstreamFault::NoDescriptor
    } else {
        UpstreamFault::Connect
    }
}

/// A socket that refuses one of these works all the same.
fn tune(stream: &TcpStream) {
    // Without it small requests wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_EVERY);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}
