//! Keeps every object on disk, in one embedded database with a lock against a second opener.
//!
//! # Invariants
//!
//! - [`Database::commit`] returns only when the batch and its revision are synced to disk, or nothing of it is there.
//! - The revision on disk never falls, so versions go on where they stopped, even if the last change was a deletion.
//!
//! Disk values are the objects as served; keys are those of the object store, so loading needs no second index.

#[cfg(test)]
mod limited;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use limited::Room;

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition};

const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const REVISION: &str = "revision";

/// The page cache in bytes. Reads are served from memory, so the database is only read at the start.
const CACHE_BYTES: usize = 4 << 20;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Another process, or another server in this one, has it open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// Anything else: no space, no permission, a damaged file.
    #[error("the database {} failed", path.display())]
    Failed {
        /// The database file.
        path: PathBuf,
        /// What the database said.
        #[source]
        cause: Box<redb::Error>,
    },
}

impl DatabaseError {
    /// Whether the disk, or the user's share of it, is full.
    pub(crate) fn is_full(&self) -> bool {
        let Self::Failed { cause, .. } = self else {
            return false;
        };
        let redb::Error::Io(error) = cause.as_ref() else {
            return false;
        };
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

/// One change of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    /// The object's place.
    pub(crate) key: String,
    /// The new bytes; `None` removes the object.
    pub(crate) value: Option<Bytes>,
}

/// What a database held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The highest revision that was ever acknowledged.
    pub(crate) revision: u64,
    /// All objects with their places, in key order.
    pub(crate) objects: Vec<(String, Bytes)>,
}

/// Where the bytes are.
#[derive(Debug, Clone, Default)]
pub(crate) enum Storage {
    /// In a plain file.
    #[default]
    File,
    /// In a file that may only grow so far, as on a full disk.
    #[cfg(test)]
    Limited(Room),
}

/// The open database.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    storage: Storage,
    inner: Option<redb::Database>,
}

impl Database {
    /// Opens or creates the file at `path` and reads everything in it.
    pub(crate) fn open(path: &Path, storage: Storage) -> Result<(Self, Loaded), DatabaseError> {
        let inner = storage.open(path)?;
        let loaded = load(&inner).map_err(|cause| failed(path, cause))?;
        let database = Self {
            path: path.to_owned(),
            storage,
            inner: Some(inner),
        };
        Ok((database, loaded))
    }

    /// Writes and syncs a batch.
    ///
    /// After a failed write the database refuses further ones until it is opened again, so that is done here: space
    /// may have been freed since. Whether a batch that failed is on disk is not known; the caller writes what it
    /// touched once more.
    pub(crate) fn commit(&mut self, writes: &[Write], revision: u64) -> Result<(), DatabaseError> {
        let inner = match self.inner.take() {
            Some(inner) => inner,
            None => self.storage.open(&self.path)?,
        };
        write(&inner, writes, revision).map_err(|cause| failed(&self.path, cause))?;
        self.inner = Some(inner);
        Ok(())
    }
}

impl Storage {
    fn open(&self, path: &Path) -> Result<redb::Database, DatabaseError> {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let opened = match self {
            Self::File => builder.create(path),
            #[cfg(test)]
            Self::Limited(room) => room
                .file(path)
                .and_then(|file| builder.create_with_backend(file)),
        };
        opened.map_err(|cause| match cause {
            redb::DatabaseError::DatabaseAlreadyOpen => DatabaseError::InUse {
                path: path.to_owned(),
            },
            other => failed(path, other.into()),
        })
    }
}

fn failed(path: &Path, cause: redb::Error) -> DatabaseError {
    DatabaseError::Failed {
        path: path.to_owned(),
        cause: Box::new(cause),
    }
}

fn load(database: &redb::Database) -> Result<Loaded, redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(OBJECTS)?;
    transaction.open_table(COUNTERS)?;
    transaction.commit()?;

    let transaction = database.begin_read()?;
    let counters = transaction.open_table(COUNTERS)?;
    let revision = counters.get(REVISION)?.map_or(0, |value| value.value());
    let mut objects = Vec::new();
    for entry in transaction.open_table(OBJECTS)?.iter()? {
        let (key, value) = entry?;
        objects.push((
            key.value().to_owned(),
            Bytes::copy_from_slice(value.value()),
        ));
    }
    Ok(Loaded { revision, objects })
}

fn write(database: &redb::Database, writes: &[Write], revision: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        for Write { key, value } in writes {
            match value {
                Some(bytes) => objects.insert(key.as_str(), bytes.as_ref())?,
                None => objects.remove(key.as_str())?,
            };
        }
        transaction
            .open_table(COUNTERS)?
            .insert(REVISION, revision)?;
    }
    transaction.commit()?;
    Ok(())
}
