//! Log lines: level, format, destination.

use std::fs::File;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// How a line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, how and where to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logs {
    /// Kubernetes verbosity: 0-2 = info, 3-4 = debug, 5 and up = trace of our own crates.
    pub verbosity: u8,
    /// A filter in `tracing` syntax that wins over the verbosity.
    pub filter: Option<String>,
    /// Look of a line.
    pub format: LogFormat,
    /// A file that lines are appended to; absent = standard error.
    pub file: Option<PathBuf>,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not understood.
    #[error("log filter {filter:?}: {source}")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The log file cannot be opened.
    #[error("log file {path}: {source}", path = path.display())]
    File {
        /// As given.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Logging was set up before.
    #[error("logging is already set up")]
    Twice,
}

impl Logs {
    /// Starts logging for the whole program.
    ///
    /// # Errors
    ///
    /// If the filter is not understood, the file cannot be opened, or logging was set up before.
    pub fn start(&self) -> Result<(), LogError> {
        let filter = self.directives();
        let env_filter =
            EnvFilter::try_new(&filter).map_err(|source| LogError::Filter { filter, source })?;
        let builder = tracing_subscriber::fmt()
            .with_env_filter(env_filter)
            .with_ansi(false)
            .with_writer(self.writer()?);
        match self.format {
            LogFormat::Text => builder.try_init(),
            LogFormat::Json => builder.json().flatten_event(true).try_init(),
        }
        .map_err(|_| LogError::Twice)
    }

    /// The filter that the settings stand for.
    pub(crate) fn directives(&self) -> String {
        if let Some(filter) = &self.filter {
            return filter.clone();
        }
        let own = match self.verbosity {
            0..=2 => "info",
            3..=4 => "debug",
            _ => "trace",
        };
        format!("warn,kthena={own}")
    }

    fn writer(&self) -> Result<BoxMakeWriter, LogError> {
        let Some(path) = &self.file else {
            return Ok(BoxMakeWriter::new(std::io::stderr));
        };
        let file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|source| LogError::File {
                path: path.clone(),
                source,
            })?;
        Ok(BoxMakeWriter::new(file))
    }
}
