//! No file, function or crate is longer than a reader can hold.

use std::path::Path;

use anyhow::{Result, bail};

use crate::run::say;
use crate::sources::{self, Source};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 80;
const CRATE_LINES: usize = 10_000;

/// Files and functions that are longer for a reason. This list may only shrink.
/// A file is named by its path, a function by its path, a colon and its name.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Fails if anything is too long and not on the list, or on the list without need.
pub(crate) fn check() -> Result<()> {
    let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec()?;
    let mut faults = Vec::new();
    let mut needed = Vec::new();
    for package in &metadata.packages {
        let Some(folder) = package.manifest_path.parent() else {
            continue;
        };
        let sources = sources::of_crate(folder.as_std_path())?;
        let total: usize = sources.iter().map(|source| source.lines).sum();
        if total > CRATE_LINES {
            faults.push(format!(
                "crate {}: {total} lines, limit {CRATE_LINES}",
                package.name
            ));
        }
        for source in &sources {
            for (place, fault) in long_parts(source, metadata.workspace_root.as_std_path()) {
                if EXCEPTIONS.iter().any(|(excepted, _)| *excepted == place) {
                    needed.push(place);
                } else {
                    faults.push(fault);
                }
            }
        }
    }
    for (excepted, _) in EXCEPTIONS {
        if !needed.iter().any(|place| place == excepted) {
            faults.push(format!(
                "{excepted} is on the exception list and need not be"
            ));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    say(&format!("{}\n", faults.join("\n")));
    bail!("{} over the limits", faults.len())
}

/// What of a file is too long: its place as the exception list names it, and the fault in words.
fn long_parts(source: &Source, root: &Path) -> Vec<(String, String)> {
    let path = source
        .path
        .strip_prefix(root)
        .unwrap_or(&source.path)
        .display()
        .to_string();
    let mut parts = Vec::new();
    if source.lines > FILE_LINES {
        parts.push((
            path.clone(),
            format!("{path}: {} lines, limit {FILE_LINES}", source.lines),
        ));
    }
    for function in source
        .functions
        .iter()
        .filter(|function| function.lines > FUNCTION_LINES)
    {
        parts.push((
            format!("{path}:{}", function.name),
            format!(
                "{path}:{}: {} has {} lines, limit {FUNCTION_LINES}",
                function.line, function.name, function.lines
            ),
        ));
    }
    parts
}
