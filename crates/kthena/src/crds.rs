//! `kthena crds`

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};

/// Prints the definitions as one YAML stream.
pub(crate) fn run() -> Result<ExitCode> {
    std::io::stdout()
        .write_all(kthena_api::crd::yaml().as_bytes())
        .context("standard output")?;
    Ok(ExitCode::SUCCESS)
}
