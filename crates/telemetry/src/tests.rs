use rstest::rstest;

use crate::{LogError, Logs};

#[rstest]
#[case::quiet(0, "warn,kthena=info")]
#[case::chart_default(2, "warn,kthena=info")]
#[case::debugging(4, "warn,kthena=debug")]
#[case::everything(9, "warn,kthena=trace")]
fn verbosity_is_a_level_of_our_crates(#[case] verbosity: u8, #[case] expected: &str) {
    assert_eq!(
        Logs {
            verbosity,
            ..Logs::default()
        }
        .directives(),
        expected
    );
}

#[test]
fn a_filter_wins_over_the_verbosity() {
    let logs = Logs {
        verbosity: 9,
        filter: Some("error".into()),
        ..Logs::default()
    };

    assert_eq!(logs.directives(), "error");
}

#[test]
fn a_bad_filter_is_named() {
    let logs = Logs {
        filter: Some("kthena=loud".into()),
        ..Logs::default()
    };

    let error = logs.start().unwrap_err();

    assert!(
        matches!(&error, LogError::Filter { filter, .. } if filter == "kthena=loud"),
        "{error}"
    );
}

#[test]
fn a_log_file_in_a_missing_folder_is_named() {
    let logs = Logs {
        file: Some("/nowhere/at/all.log".into()),
        ..Logs::default()
    };

    let error = logs.start().unwrap_err();

    assert!(
        error
            .to_string()
            .starts_with("log file /nowhere/at/all.log: "),
        "{error}"
    );
}
