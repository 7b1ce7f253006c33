//! The project's own checks: `cargo xtask ci` runs them all.

mod layers;
mod run;
mod sizes;
mod sources;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <check>

  ci         everything below, in this order; what a change must pass
  fmt        rustfmt has nothing to change
  clippy     no lint fires, in production code and in tests
  layers     crates depend on each other only as the table allows; pure crates are pure
  sizes      no file, function or crate is longer than the limits
  deny       licences, bans, sources and duplicates of dependencies (needs cargo-deny)
  generated  generated files are what the code generates
  test       unit, property, snapshot and integration tests, and doc tests
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("ci") => run::ci(),
        Some("fmt") => run::fmt(),
        Some("clippy") => run::clippy(),
        Some("layers") => layers::check(),
        Some("sizes") => sizes::check(),
        Some("deny") => run::deny(),
        Some("generated") => run::generated(),
        Some("test") => run::test(),
        _ => {
            run::say(USAGE);
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            run::say(&format!("error: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}
