//! Where the built `kthena` program is.

use std::env;
use std::path::{Path, PathBuf};

/// No built program was found.
#[derive(Debug, thiserror::Error)]
#[error("the kthena program is not at {}: run `cargo build -p kthena`", .path.display())]
pub struct NotBuilt {
    /// Where it was expected.
    pub path: PathBuf,
}

/// The root folder of the repository.
pub fn repository() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder
        .ancestors()
        .nth(2)
        .unwrap_or(crate_folder)
        .to_path_buf()
}

/// The `kthena` program of this build: `KTHENA_BIN` if set, else beside the running test program.
pub fn kthena() -> Result<PathBuf, NotBuilt> {
    if let Some(path) = env::var_os("KTHENA_BIN").map(PathBuf::from) {
        return if path.is_file() {
            Ok(path)
        } else {
            Err(NotBuilt { path })
        };
    }
    // A test program lives in <target>/<profile>/deps, the binary one folder above.
    let test_program = env::current_exe().unwrap_or_default();
    let folder = test_program.ancestors().nth(2).unwrap_or(Path::new("."));
    let path = folder.join(format!("kthena{}", env::consts::EXE_SUFFIX));
    if path.is_file() {
        Ok(path)
    } else {
        Err(NotBuilt { path })
    }
}
