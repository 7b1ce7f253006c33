//! The body of an answer that is for the router itself.

use std::future::poll_fn;
use std::io;

use kthena_router_pipeline::UpstreamFault;

use super::ask::Answer;
use super::pool::Pool;
use crate::http1::chunks::ChunkWalker;
use crate::http1::response::BodyLength;
use crate::scratch;
use crate::silence::is_silence;

/// What to do with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Nothing,
    /// All of it, if it is no longer than this.
    UpTo(usize),
}

struct Collector {
    keep: Keep,
    kept: Vec<u8>,
    /// Bytes to come; `None` = until the engine closes.
    left: Option<u64>,
    walker: Option<ChunkWalker>,
    /// Bytes came behind the end.
    excess: bool,
}

/// Waits until some of the body of `answer` is there, unless it has none.
pub(crate) async fn first_byte(answer: &mut Answer) -> Result<(), UpstreamFault> {
    while answer.buffer.len() == answer.head.size && answer.head.body != BodyLength::Empty {
        let Answer { stream, buffer, .. } = answer;
        let read = poll_fn(|cx| {
            scratch::poll_read(stream, cx, |_, bytes| {
                buffer.extend_from_slice(bytes);
                bytes.len()
            })
        });
        match read.await {
            Ok(1..) => {}
            // An engine that ends its answer by closing has ended an empty one.
            Ok(_) if answer.head.body == BodyLength::UntilClose => return Ok(()),
            Ok(_) => return Err(UpstreamFault::Closed),
            Err(error) => return Err(broken(&error)),
        }
    }
    Ok(())
}

/// Reads the body of `answer` to its end and returns what is to be kept of it. The connection goes back to `pool`.
pub(crate) async fn collect(
    mut answer: Answer,
    pool: &Pool,
    keep: Keep,
) -> Result<Vec<u8>, UpstreamFault> {
    let mut collector = Collector::new(answer.head.body, keep);
    collector.take(&answer.buffer[answer.head.size..])?;
    while !collector.is_done() {
        let read = poll_fn(|cx| {
            scratch::poll_read(&mut answer.stream, cx, |_, bytes| {
                collector.take(bytes).map(|()| bytes.len())
            })
        });
        match read.await {
            Ok(Ok(1..)) => {}
            Ok(Ok(_)) if collector.ends_by_closing() => return Ok(collector.kept),
            Ok(Ok(_)) => return Err(UpstreamFault::Closed),
            Ok(Err(fault)) => return Err(fault),
            Err(error) => return Err(broken(&error)),
        }
    }
    if answer.head.keep_alive && !collector.excess {
        pool.put(answer.address, answer.stream);
    }
    Ok(collector.kept)
}

fn broken(error: &io::Error) -> UpstreamFault {
    if is_silence(error) {
        UpstreamFault::Silent
    } else {
        UpstreamFault::Closed
    }
}

impl Collector {
    fn new(body: BodyLength, keep: Keep) -> Self {
        let (left, walker) = match body {
            BodyLength::Empty => (Some(0), None),
            BodyLength::Sized(length) => (Some(length), None),
            BodyLength::Chunked => (None, Some(ChunkWalker::new())),
            BodyLength::UntilClose => (None, None),
        };
        Self {
            keep,
            kept: Vec::new(),
            left,
            walker,
            excess: false,
        }
    }

    fn is_done(&self) -> bool {
        self.left == Some(0) || self.walker.is_some_and(ChunkWalker::is_done)
    }

    fn ends_by_closing(&self) -> bool {
        self.left.is_none() && self.walker.is_none()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), UpstreamFault> {
        let Self { keep, kept, .. } = self;
        let mut hold = |payload: &[u8]| {
            if *keep != Keep::Nothing {
                kept.extend_from_slice(payload);
            }
        };
        let used = if let Some(walker) = &mut self.walker {
            walker
                .walk(bytes, hold)
                .map_err(|_| UpstreamFault::Malformed)?
        } else {
            let left = self.left.unwrap_or(u64::MAX);
            let used = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            hold(&bytes[..used]);
            self.left = self.left.map(|left| left - used as u64);
            used
        };
        self.excess |= used < bytes.len();
        match self.keep {
            Keep::UpTo(most) if self.kept.len() > most => Err(UpstreamFault::Malformed),
            _ => Ok(()),
        }
    }
}
