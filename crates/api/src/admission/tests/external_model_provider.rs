use rstest::rstest;
use serde_json::{Value, json};

use super::{faults, set};
use crate::admission::Rules;

fn provider(pointer: &str, value: Value) -> Vec<String> {
    let object = json!({"spec": {"baseURL": "https://api.example.com/v1", "auth": {"secretRef": {"name": "s", "key": "k"}}}});
    faults(Rules::ExternalModelProvider, &set(object, pointer, value))
}

#[rstest]
#[case::openai("/spec/providerType", json!("OpenAI"))]
#[case::anthropic("/spec/providerType", json!("Anthropic"))]
#[case::absent_type("/spec/providerType", Value::Null)]
#[case::no_auth("/spec/auth", Value::Null)]
#[case::scheme("/spec/auth/scheme", json!("APIKey"))]
#[case::optional_false("/spec/auth/secretRef/optional", json!(false))]
#[case::bare_question_mark("/spec/baseURL", json!("https://h/v1?"))]
#[case::upper_case_scheme("/spec/baseURL", json!("HTTPS://h"))]
#[case::port_and_ipv6("/spec/baseURL", json!("https://[::1]:8443/v1"))]
#[case::headers("/spec/headers", json!({"X-Team": "a", "x_1": ""}))]
fn accepts(#[case] pointer: &str, #[case] value: Value) {
    assert_eq!(provider(pointer, value), Vec::<String>::new());
}

#[test]
fn ep_v1_unknown_provider_type() {
    assert_eq!(
        provider("/spec/providerType", json!("Gemini")),
        [
            "spec.providerType: Unsupported value: \"Gemini\": supported values: \"OpenAI\", \"Anthropic\""
        ]
    );
}

#[rstest]
#[case::http("http://h/v1")]
#[case::no_scheme("h/v1")]
#[case::empty("")]
#[case::empty_host("https:///v1")]
#[case::no_slashes("https:h")]
#[case::space_in_host("https://a b/")]
#[case::bad_port("https://h:x/")]
#[case::bad_escape("https://h/%zz")]
#[case::control("https://h/\u{7f}")]
fn ep_v2_url_must_be_https(#[case] url: &str) {
    let expected = format!(
        "spec.baseURL: Invalid value: {}: baseURL must use https",
        kthena_schema::go::quote(url)
    );

    assert_eq!(provider("/spec/baseURL", json!(url)), [expected]);
}

#[rstest]
#[case::user("https://u:p@h")]
#[case::empty_user("https://@h")]
#[case::query("https://h?a=1")]
#[case::fragment("https://h#a")]
fn ep_v2_url_has_no_extras(#[case] url: &str) {
    let expected = format!(
        "spec.baseURL: Invalid value: \"{url}\": baseURL must not contain userinfo, query, or fragment"
    );

    assert_eq!(provider("/spec/baseURL", json!(url)), [expected]);
}

#[test]
fn ep_v2_covers_a_missing_spec() {
    let expected = ["spec.baseURL: Invalid value: \"\": baseURL must use https"];

    assert_eq!(faults(Rules::ExternalModelProvider, &json!({})), expected);
}

#[rstest]
#[case::space("bad name")]
#[case::empty("")]
#[case::colon("a:b")]
#[case::wide("é")]
fn ep_v3_header_names_are_tokens(#[case] name: &str) {
    let expected =
        format!("spec.headers[{name}]: Invalid value: \"{name}\": header name is invalid");

    assert_eq!(
        provider("/spec/headers", json!({name: "a\r\nb"})),
        [expected]
    );
}

#[rstest]
fn ep_v3_reserved_headers_are_refused_in_any_case(
    #[values(
        "Authorization",
        "proxy-authorization",
        "COOKIE",
        "x-api-key",
        "Host",
        "content-length",
        "Connection",
        "Keep-Alive",
        "proxy-connection",
        "Transfer-Encoding",
        "upgrade",
        "Trailer",
        "te"
    )]
    name: &str,
) {
    let expected = format!(
        "spec.headers[{name}]: Invalid value: \"{name}\": header is reserved and cannot be configured as a static header"
    );

    assert_eq!(provider("/spec/headers", json!({name: "v"})), [expected]);
}

#[test]
fn ep_v3_header_values_have_no_line_breaks() {
    let found = provider("/spec/headers", json!({"X-B": "a\nb", "X-A": "a\r"}));

    assert_eq!(
        found,
        [
            "spec.headers[X-A]: Invalid value: \"a\\r\": header value must not contain CR or LF",
            "spec.headers[X-B]: Invalid value: \"a\\nb\": header value must not contain CR or LF",
        ]
    );
}

#[test]
fn ep_v4_unknown_scheme() {
    assert_eq!(
        provider("/spec/auth/scheme", json!("Basic")),
        [
            "spec.auth.scheme: Unsupported value: \"Basic\": supported values: \"Bearer\", \"APIKey\""
        ]
    );
}

#[test]
fn ep_v5_secret_needs_name_and_key_and_is_not_optional() {
    let found = provider(
        "/spec/auth/secretRef",
        json!({"name": "", "optional": true}),
    );

    assert_eq!(
        found,
        [
            "spec.auth.secretRef.name: Required value: secret name is required",
            "spec.auth.secretRef.key: Required value: secret key is required",
            "spec.auth.secretRef.optional: Invalid value: true: optional must be false or unset",
        ]
    );
}

#[test]
fn several_faults_come_on_separate_lines() {
    let object = json!({"spec": {"providerType": "X", "baseURL": "http://h", "auth": {}}});
    let found = Rules::ExternalModelProvider.faults(&object);

    assert_eq!(
        Rules::ExternalModelProvider.message(&found).lines().count(),
        5
    );
}
