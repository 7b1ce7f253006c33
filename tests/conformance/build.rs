//! The list of case files is read at compile time, so a new file must cause a new build.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    writeln!(io::stdout(), "cargo::rerun-if-changed=cases")
}
