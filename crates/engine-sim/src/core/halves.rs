//! What two engines that share a request hold of each other.
//!
//! Each half holds one end of an open answer ([`Lease`] and the channel that feeds it). Whoever
//! goes away, for whatever reason, closes it, and the other side sees that: nothing has to be
//! cleaned up by a message that might not come.

use bytes::Bytes;
use tokio::sync::mpsc;

/// The end a prefill engine holds. It feeds an answer to the decode engine; one message says that
/// the blocks are there, and closing means that they are taken.
pub(crate) type Offer = mpsc::Sender<Bytes>;

/// The end a decode engine holds: as long as it lives, the other engine keeps the blocks.
pub(crate) struct Lease {
    _guard: Box<dyn Send + Sync>,
}

impl Lease {
    /// Holds what `guard` keeps open.
    pub(crate) fn new(guard: impl Send + Sync + 'static) -> Self {
        Self {
            _guard: Box::new(guard),
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Lease").finish_non_exhaustive()
    }
}

/// What an engine does of a request, and for whom.
#[derive(Debug, Default)]
pub(crate) enum Half {
    /// All of it.
    #[default]
    Both,
    /// The prompt, for whoever comes with this key.
    Keep(String),
    /// The prompt, for the engine at the other end.
    Send(Offer),
    /// The answer, once the blocks are here; the lease goes when they are.
    Fetch(Option<Lease>),
}

/// What is written when the blocks are there.
pub(crate) const READY: Bytes = Bytes::from_static(b"ready\n");
