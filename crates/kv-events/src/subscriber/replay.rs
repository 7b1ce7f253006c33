//! Asks an engine for messages again.
//!
//! The engine keeps the last few thousand. It is sent an empty frame and a number, and answers with every message
//! from that number on, each behind an empty frame, until one whose number is all ones.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use zeromq::{DealerSocket, Socket, SocketOptions, SocketRecv, SocketSend, ZmqError, ZmqMessage};

/// How long a replay may take altogether.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of payloads taken; what is left is as good as lost.
const MOST_BYTES: usize = 64 << 20;
/// The number that ends a replay.
const END: u64 = u64::MAX;

/// The messages the engine still has from number `from` on, in order: number and payload. Nothing if it does not
/// answer.
pub(super) async fn ask(address: &str, from: u64) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    let outcome = timeout(LIMIT, collect(address, from, &mut found)).await;
    if !matches!(outcome, Ok(Ok(()))) {
        tracing::debug!(address, from, "missed cache events cannot be asked for");
        found.clear();
    }
    found
}

async fn collect(
    address: &str,
    from: u64,
    found: &mut Vec<(u64, Vec<u8>)>,
) -> Result<(), ZmqError> {
    let mut options = SocketOptions::default();
    options.connect_timeout(LIMIT);
    let mut socket = DealerSocket::with_options(options);
    socket.connect(address).await?;
    let mut request = ZmqMessage::from(Bytes::copy_from_slice(&from.to_be_bytes()));
    request.push_front(Bytes::new());
    socket.send(request).await?;
    let mut bytes = 0;
    loop {
        let frames = socket.recv().await?.into_vec();
        let [.., number, payload] = &frames[..] else {
            continue;
        };
        let Ok(number) = <[u8; 8]>::try_from(&number[..]).map(u64::from_be_bytes) else {
            continue;
        };
        bytes += payload.len();
        if number == END || bytes > MOST_BYTES {
            return Ok(());
        }
        if number >= from {
            found.push((number, payload.to_vec()));
        }
    }
}
