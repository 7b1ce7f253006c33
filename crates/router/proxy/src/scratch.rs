//! One read buffer per thread, so that a connection that waits owns none.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Most bytes taken in by one read.
const SIZE: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SIZE]);
}

/// Reads once and shows `use_bytes` what came in before anything else can run on this thread. No bytes = end of input.
pub(crate) fn poll_read<R, T>(
    io: &mut R,
    cx: &mut Context<'_>,
    use_bytes: impl FnOnce(&mut Context<'_>, &[u8]) -> T,
) -> Poll<io::Result<T>>
where
    R: AsyncRead + Unpin,
{
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(use_bytes(cx, buffer.filled())))
    })
}
