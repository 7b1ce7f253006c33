//! The logging flags of Kubernetes programs. Verbosity and file count; the rest is accepted for old manifests.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use kthena_telemetry::Logs;

macro_rules! ignored_flags {
    ($($(#[$doc:meta])* $field:ident: $name:literal),+ $(,)?) => {
        /// As written on the command line.
        #[derive(Debug, Default, clap::Args)]
        pub(super) struct Ignored {
            $(
                $(#[$doc])*
                #[arg(long = $name, num_args = 0..=1, require_equals = true, default_missing_value = "true",
                    hide = true)]
                $field: Option<String>,
            )+
        }

        impl Ignored {
            fn given(&self) -> Vec<&'static str> {
                let mut given = Vec::new();
                $(
                    if self.$field.is_some() {
                        given.push($name);
                    }
                )+
                given
            }
        }
    };
}

ignored_flags! {
    /// Verbosity by module.
    vmodule: "vmodule",
    /// Errors to standard error too.
    stderrthreshold: "stderrthreshold",
    /// Log file folder.
    log_dir: "log_dir",
    /// Largest log file.
    log_file_max_size: "log_file_max_size",
    /// No prefixes.
    skip_headers: "skip_headers",
    /// No headers in files.
    skip_log_headers: "skip_log_headers",
    /// File folders in the header.
    add_dir_header: "add_dir_header",
    /// One file per severity.
    one_output: "one_output",
    /// Stack traces at a place.
    log_backtrace_at: "log_backtrace_at",
    /// Old meaning of the threshold.
    legacy_stderr_threshold_behavior: "legacy_stderr_threshold_behavior",
    /// Both places at once.
    alsologtostderr: "alsologtostderr",
}

/// Logging flags.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// Log verbosity: 0-2 = info, 3-4 = debug, 5 and up = trace.
    #[arg(long = "v", short = 'v', default_value_t = 0)]
    verbosity: u8,
    /// Log to standard error; without it, to the log file.
    #[arg(long = "logtostderr", default_value = "true", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    to_stderr: bool,
    /// File to log to, with --logtostderr=false.
    #[arg(long = "log_file", default_value = "")]
    file: String,
    #[command(flatten)]
    ignored: Ignored,
}

impl Flags {
    pub(super) fn logs(&self) -> Logs {
        let file = Some(&self.file)
            .filter(|file| !self.to_stderr && !file.is_empty())
            .map(PathBuf::from);
        Logs {
            verbosity: self.verbosity,
            file,
            ..Logs::default()
        }
    }

    /// What was given but has no effect, a sentence each.
    pub(super) fn ignored(&self) -> Vec<String> {
        self.ignored
            .given()
            .into_iter()
            .map(|name| format!("--{name} is accepted but has no effect"))
            .collect()
    }
}
