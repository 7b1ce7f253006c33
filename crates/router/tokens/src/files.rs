//! Reads the folders of models.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use kthena_router_tokenizer::{
    CHAT_TEMPLATE, FileFault, SPECIAL_TOKENS, TOKENIZER, TOKENIZER_CONFIG, Tokenizer,
    TokenizerFiles,
};

/// Why a model's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerFolderError {
    /// There is no tokenizer in it.
    #[error(
        "{}: there is no tokenizer.json; a folder as Hugging Face lays it out is expected: where a model has none, \
         AutoTokenizer.from_pretrained(MODEL).save_pretrained(FOLDER) writes it",
        folder.display()
    )]
    Absent {
        /// The folder as configured.
        folder: PathBuf,
    },
    /// A file in it cannot be read.
    #[error("{}: {error}; the router must be able to read it", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file in it is faulty.
    #[error("{}: {fault}", folder.display())]
    Fault {
        /// The folder as configured.
        folder: PathBuf,
        /// The file, where in it, and what to do.
        fault: FileFault,
    },
}

/// The tokenizer in `folder`.
pub fn load(folder: &Path) -> Result<Tokenizer, TokenizerFolderError> {
    let files = TokenizerFiles {
        tokenizer: read(folder, TOKENIZER)?.ok_or_else(|| TokenizerFolderError::Absent {
            folder: folder.to_owned(),
        })?,
        config: read(folder, TOKENIZER_CONFIG)?,
        special_tokens: read(folder, SPECIAL_TOKENS)?,
        template: read(folder, CHAT_TEMPLATE)?
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    };
    Tokenizer::load(&files).map_err(|fault| TokenizerFolderError::Fault {
        folder: folder.to_owned(),
        fault,
    })
}

/// The file `name`, if there is one.
fn read(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, TokenizerFolderError> {
    let file = folder.join(name);
    match std::fs::read(&file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TokenizerFolderError::Read { file, error }),
    }
}
