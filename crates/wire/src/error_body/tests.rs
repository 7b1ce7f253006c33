use rstest::rstest;

use super::*;

#[test]
fn absent_members_are_null() {
    let body = ErrorBody::new(404, "no such model").with_code("model_not_found");
    assert_eq!(
        body.to_bytes(),
        r#"{"error":{"message":"no such model","type":"not_found_error","param":null,"code":"model_not_found"}}"#
    );
}

#[rstest]
#[case::engine(r#"{"error":{"message":"m","type":"BadRequestError","param":"p","code":400}}"#)]
#[case::openai(r#"{"error":{"message":"m","type":"t","param":null,"code":"c"}}"#)]
fn both_spellings_of_code_survive(#[case] text: &str) {
    let body: ErrorBody = serde_json::from_str(text).unwrap();
    assert_eq!(body.to_bytes(), text);
}

#[rstest]
#[case::bad_request(400, "invalid_request_error")]
#[case::too_large(413, "invalid_request_error")]
#[case::unauthorized(401, "authentication_error")]
#[case::forbidden(403, "permission_error")]
#[case::busy(429, "rate_limit_error")]
#[case::broken(500, "server_error")]
#[case::engine_fault(502, "server_error")]
#[case::unavailable(503, "service_unavailable_error")]
#[case::too_slow(504, "timeout_error")]
fn type_follows_status(#[case] status: u16, #[case] expected: &str) {
    assert_eq!(ErrorBody::new(status, "x").error.kind, expected);
}
