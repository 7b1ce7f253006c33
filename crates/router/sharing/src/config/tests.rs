use rstest::rstest;

use super::*;

fn read(variables: &[(&str, &str)]) -> (Option<RedisConfig>, usize) {
    let variables: Vec<(String, String)> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let (config, warnings) = RedisConfig::from_env(&|name| {
        let found = variables.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| value.clone())
    });
    (config, warnings.len())
}

#[rstest]
#[case::nothing(&[])]
#[case::empty(&[("REDIS_HOST", "")])]
#[case::only_a_port(&[("REDIS_PORT", "6379")])]
fn nothing_is_shared_without_a_host(#[case] variables: &[(&str, &str)]) {
    assert_eq!(read(variables), (None, 0));
}

#[rstest]
#[case::default("", 6379, 0)]
#[case::given("7000", 7000, 0)]
#[case::no_port("many", 6379, 1)]
#[case::too_large("70000", 6379, 1)]
fn ports(#[case] text: &str, #[case] port: u16, #[case] warnings: usize) {
    let (config, warned) = read(&[("REDIS_HOST", "cache"), ("REDIS_PORT", text)]);
    assert_eq!((config.unwrap().port, warned), (port, warnings));
}

#[test]
fn the_password_is_not_shown() {
    let (config, _) = read(&[("REDIS_HOST", "cache"), ("REDIS_PASSWORD", "hunter2")]);
    let shown = format!("{config:?}");
    assert!(shown.contains("cache") && !shown.contains("hunter2"));
}
