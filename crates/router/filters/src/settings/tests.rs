use std::collections::HashMap;

use rstest::rstest;

use super::*;

fn read(variables: &[(&str, &str)]) -> (QueueConfig, Vec<String>) {
    let variables: HashMap<String, String> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    QueueConfig::from_env(&|name| variables.get(name).cloned())
}

fn fairness(variables: &[(&str, &str)]) -> (FairnessConfig, usize) {
    let all = [&[("ENABLE_FAIRNESS_SCHEDULING", "true")], variables].concat();
    let (config, warnings) = read(&all);
    (config.fairness.unwrap(), warnings.len())
}

fn boost(variables: &[(&str, &str)]) -> (BoostConfig, usize) {
    let all = [&[("ENABLE_SESSION_BOOST", "1")], variables].concat();
    let (config, warnings) = read(&all);
    (config.boost.unwrap(), warnings.len())
}

#[test]
fn there_is_no_queue_by_default() {
    let (config, warnings) = read(&[]);
    assert_eq!((config, warnings), (QueueConfig::off(), vec![]));
}

#[rstest]
#[case::one("1", true)]
#[case::letter("t", true)]
#[case::capitals("TRUE", true)]
#[case::word("True", true)]
#[case::no("F", false)]
#[case::unknown("yes", false)]
#[case::mixed_case("tRUE", false)]
#[case::empty("", false)]
fn switches_are_gos_truth_values(#[case] text: &str, #[case] on: bool) {
    assert_eq!(read(&[("ENABLE_SESSION_BOOST", text)]).0.is_on(), on);
}

#[test]
fn both_strategies_may_be_on_and_the_shorter_wait_counts() {
    let (config, warnings) = read(&[
        ("ENABLE_FAIRNESS_SCHEDULING", "true"),
        ("ENABLE_SESSION_BOOST", "true"),
    ]);
    assert!(config.fairness.is_some() && config.boost.is_some());
    assert_eq!(config.timeout(), Some(Duration::from_secs(30)));
    assert!(warnings.is_empty());
}

#[test]
fn defaults_hold_for_what_is_not_set() {
    assert_eq!(fairness(&[]), (FairnessConfig::default(), 0));
    assert_eq!(boost(&[]), (BoostConfig::default(), 0));
}

#[rstest]
#[case::shortest("1m", 60, 0)]
#[case::longest("1h", 3600, 0)]
#[case::compound("1m30s", 90, 0)]
#[case::fraction("0.5h", 1800, 0)]
#[case::too_short("59s", 300, 1)]
#[case::too_long("1h1s", 300, 1)]
#[case::no_unit("300", 300, 1)]
#[case::negative("-5m", 300, 1)]
#[case::empty("", 300, 0)]
fn window(#[case] text: &str, #[case] seconds: u64, #[case] warnings: usize) {
    let (config, warned) = fairness(&[("FAIRNESS_WINDOW_SIZE", text)]);
    assert_eq!(
        (config.window, warned),
        (Duration::from_secs(seconds), warnings)
    );
}

#[rstest]
#[case::zero("0", 0.0, 0)]
#[case::fraction("0.25", 0.25, 0)]
#[case::negative("-1", 1.0, 1)]
#[case::not_a_number("NaN", 1.0, 1)]
#[case::infinite("Inf", 1.0, 1)]
#[case::nonsense("much", 1.0, 1)]
#[case::empty("", 1.0, 0)]
fn input_weight(#[case] text: &str, #[case] weight: f64, #[case] warnings: usize) {
    let (config, warned) = fairness(&[("FAIRNESS_INPUT_TOKEN_WEIGHT", text)]);
    assert_eq!(
        (config.input_weight, config.output_weight, warned),
        (weight, 2.0, warnings)
    );
}

#[test]
fn priority_weights_warn_when_empty_and_are_never_both_nothing() {
    let token = "FAIRNESS_PRIORITY_TOKEN_WEIGHT";
    let request = "FAIRNESS_PRIORITY_REQUEST_NUM_WEIGHT";
    let (config, warned) = fairness(&[(token, ""), (request, "")]);
    assert_eq!((config, warned), (FairnessConfig::default(), 2));
    let (config, warned) = fairness(&[(token, "0"), (request, "0")]);
    assert_eq!((config.token_priority, warned), (1.0, 0));
    let (config, _) = fairness(&[(token, "0"), (request, "3")]);
    assert_eq!((config.token_priority, config.request_priority), (0.0, 3.0));
}

#[rstest]
#[case::rate(&[("FAIRNESS_MAX_QPS", "7")], Pace::Rate(NonZeroU32::new(7).unwrap()))]
#[case::fastest(&[("FAIRNESS_MAX_QPS", "4000000000")], Pace::Rate(NonZeroU32::new(4_000_000_000).unwrap()))]
#[case::no_rate(&[("FAIRNESS_MAX_QPS", "0")], Pace::Rate(NonZeroU32::new(100).unwrap()))]
#[case::permits(&[("FAIRNESS_MAX_CONCURRENT", "3")], Pace::Permits(NonZeroUsize::new(3).unwrap()))]
#[case::negative(&[("FAIRNESS_MAX_CONCURRENT", "-3")], Pace::Rate(NonZeroU32::new(100).unwrap()))]
fn pace(#[case] variables: &[(&str, &str)], #[case] expected: Pace) {
    assert_eq!(fairness(variables).0.pace, expected);
}

#[rstest]
#[case::seconds("5s", 5, 0)]
#[case::nothing("0", 60, 1)]
#[case::negative("-1s", 60, 1)]
#[case::empty("", 60, 1)]
fn fairness_timeout(#[case] text: &str, #[case] seconds: u64, #[case] warnings: usize) {
    let (config, warned) = fairness(&[("FAIRNESS_QUEUE_TIMEOUT", text)]);
    assert_eq!(
        (config.timeout, warned),
        (Duration::from_secs(seconds), warnings)
    );
}

#[rstest]
#[case::seconds("5s", Some(5), 0)]
#[case::off("0", None, 0)]
#[case::negative("-1s", None, 0)]
#[case::invalid("soon", Some(30), 1)]
#[case::empty("", Some(30), 1)]
fn boost_timeout(#[case] text: &str, #[case] seconds: Option<u64>, #[case] warnings: usize) {
    let (config, warned) = boost(&[("SESSION_BOOST_TIMEOUT", text)]);
    assert_eq!(
        (config.timeout, warned),
        (seconds.map(Duration::from_secs), warnings)
    );
}

#[test]
fn boost_settings_are_read() {
    let (config, warned) = boost(&[
        ("SESSION_BOOST_HEADER", "x-chat"),
        ("SESSION_BOOST_MAX_SESSIONS", "2"),
        ("SESSION_BOOST_INFLIGHT_PER_POD", "0"),
        ("SESSION_BOOST_GRACE_PERIOD", "250ms"),
    ]);
    assert_eq!(config.header, "x-chat");
    assert_eq!(config.max_sessions.get(), 2);
    assert_eq!(config.in_flight_per_pod.get(), 16);
    assert_eq!(config.grace, Duration::from_millis(250));
    assert_eq!(warned, 1);
}

#[test]
fn a_warning_names_the_variable_and_what_is_used_instead() {
    let (_, warnings) = read(&[
        ("ENABLE_FAIRNESS_SCHEDULING", "true"),
        ("FAIRNESS_QUEUE_TIMEOUT", "10"),
    ]);
    assert_eq!(
        warnings,
        ["FAIRNESS_QUEUE_TIMEOUT: \"10\" is not a duration above 0; 60s is used"]
    );
}
