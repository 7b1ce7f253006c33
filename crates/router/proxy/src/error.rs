//! Why a router cannot start.

use std::io;
use std::net::SocketAddr;

use crate::tls::TlsError;
use crate::tokens::TokenizerFolderError;

/// Why a router cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// A listener's address is taken or not ours.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address as configured.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Certificate or key of a listener cannot be used.
    #[error("cannot serve TLS")]
    Tls(#[from] TlsError),
    /// What engines are trusted by cannot be used.
    #[error("cannot speak TLS to engines")]
    EngineTls(#[source] TlsError),
    /// The access log's file cannot be opened.
    #[error("cannot open the access log")]
    AccessLog(#[source] io::Error),
    /// A thread or its event loop cannot be made.
    #[error("cannot start a worker thread")]
    Worker(#[source] io::Error),
    /// The folder of a model's tokenizer cannot be used.
    #[error("cannot tokenize for the model {model:?}")]
    Tokenizer {
        /// The model as configured.
        model: String,
        /// Which file, where in it, and what to do.
        #[source]
        source: TokenizerFolderError,
    },
    /// The address of Redis makes no sense.
    #[error("the address of Redis is faulty")]
    Redis(#[source] redis::RedisError),
}
