//! Why the server cannot start or go on. What a client is told is [`kthena_apiserver_objects::ApiError`].

use std::{io, path::PathBuf};

use kthena_apiserver_objects::ApiError;
use kthena_schema::SchemaError;

pub use crate::{database::DatabaseError, tls::TlsError};

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The state folder cannot be made.
    #[error("cannot use the state folder {}", path.display())]
    StateFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// An object on disk cannot be read.
    #[error("the stored object {key} cannot be read")]
    Damaged {
        /// Where it is.
        key: String,
        /// Why.
        #[source]
        cause: Box<ApiError>,
    },
    /// A schema that comes with the program does not parse.
    #[error("a built-in schema is damaged")]
    Schema(#[source] Box<SchemaError>),
    /// The writer's thread cannot be started.
    #[error("cannot start the writer")]
    Thread(#[source] io::Error),
    /// An object that must exist from the start cannot be made.
    #[error("cannot set up {what}")]
    SetUp {
        /// The object.
        what: String,
        /// Why.
        #[source]
        cause: Box<ApiError>,
    },
    /// There is no certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The listener cannot be used.
    #[error("cannot use the listener")]
    Listener(#[source] io::Error),
}
