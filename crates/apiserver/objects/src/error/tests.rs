use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn deployments() -> GroupResource {
    GroupResource::new("apps", "deployments")
}

fn invalid(faults: Vec<Fault>) -> ApiError {
    ApiError::Invalid {
        group: "x.io".to_owned(),
        kind: "W".to_owned(),
        name: "w".to_owned(),
        faults,
    }
}

#[rstest]
#[case::not_found(ApiError::not_found(&deployments(), "d"), 404, "NotFound", "deployments.apps \"d\" not found")]
#[case::unknown_path(
    ApiError::UnknownPath,
    404,
    "NotFound",
    "the server could not find the requested resource"
)]
#[case::conflict(
    ApiError::conflict(&deployments(), "d", ApiError::MODIFIED), 409, "Conflict",
    "Operation cannot be fulfilled on deployments.apps \"d\": the object has been modified; please apply your changes to the latest version and try again")]
#[case::one_fault(
    invalid(vec![Fault::required(FieldPath::new("spec.a"), "")]), 422, "Invalid",
    "W.x.io \"w\" is invalid: spec.a: Required value")]
#[case::two_faults(
    invalid(vec![Fault::invalid(FieldPath::new("spec.a"), 7, "too big"), Fault::forbidden(FieldPath::new("b"), "no")]), 422, "Invalid",
    "W.x.io \"w\" is invalid: [spec.a: Invalid value: 7: too big, b: Forbidden: no]")]
#[case::future(ApiError::VersionTooLarge { asked: 9, current: 1 }, 504, "Timeout", "Timeout: Too large resource version: 9, current: 1")]
#[case::verb(
    ApiError::MethodNotSupported { resource: deployments(), action: "create".to_owned() }, 405, "MethodNotAllowed",
    "create is not supported on resources of kind \"deployments.apps\"")]
#[case::internal(
    ApiError::internal("x"),
    500,
    "InternalError",
    "Internal error occurred: x"
)]
#[case::no_token(ApiError::Unauthorized, 401, "Unauthorized", "Unauthorized")]
fn errors_read_as_the_servers(
    #[case] error: ApiError,
    #[case] code: u16,
    #[case] reason: &str,
    #[case] message: &str,
) {
    let status = error.status();
    assert_eq!(status["kind"], "Status");
    assert_eq!(status["status"], "Failure");
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&json!(code), &json!(reason))
    );
    assert_eq!(status["message"], message);
    assert_eq!(error.code(), code);
}

#[test]
fn details_name_the_object_and_every_cause() {
    let missing = ApiError::not_found(&deployments(), "d").status();
    assert_eq!(
        missing["details"],
        json!({"name": "d", "group": "apps", "kind": "deployments"})
    );

    let broken = invalid(vec![Fault::invalid(FieldPath::new("spec.a"), 7, "too big")]).status();
    assert_eq!(
        broken["details"],
        json!({"name": "w", "group": "x.io", "kind": "W", "causes": [
            {"reason": "FieldValueInvalid", "message": "Invalid value: 7: too big", "field": "spec.a"},
        ]})
    );
}

#[test]
fn conflicts_of_several_managers_are_listed_by_manager() {
    let cause = |manager: &str, field: &str| FieldConflict {
        manager: manager.to_owned(),
        field: field.to_owned(),
    };
    let error = ApiError::ApplyConflict {
        causes: vec![
            cause("\"a\"", ".x"),
            cause("\"a\"", ".y"),
            cause("\"b\" using v1", ".x"),
        ],
    };
    assert_eq!(
        error.to_string(),
        "Apply failed with 3 conflicts: conflicts with \"a\":\n- .x\n- .y\nconflicts with \"b\" using v1:\n- .x"
    );
    let causes = error.status()["details"]["causes"].clone();
    assert_eq!(
        causes[2],
        json!({"reason": "FieldManagerConflict", "message": "conflict with \"b\" using v1", "field": ".x"})
    );
}

#[test]
fn a_status_without_details_has_none() {
    assert_eq!(ApiError::bad_request("x").status().get("details"), None);
    assert_eq!(ApiError::VersionOnCreate.status().get("reason"), None);
    let unprocessable = ApiError::Unprocessable {
        message: "x".to_owned(),
    };
    assert_eq!(
        unprocessable.status()["details"],
        Value::Object(serde_json::Map::new())
    );
}
