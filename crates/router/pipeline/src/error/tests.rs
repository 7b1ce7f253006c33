use rstest::rstest;
use serde_json::Value;

use super::*;
use crate::json::JsonProblem;

/// Status, old status, message, log type, metric label: the table as users see it.
#[rstest]
#[case::unreadable(
    RouteError::BodyUnreadable("gone"),
    400,
    500,
    "the request body could not be read: gone",
    "request_parsing",
    None
)]
#[case::too_large(
    RouteError::BodyTooLarge,
    413,
    413,
    "request body too large",
    "request_parsing",
    None
)]
#[case::bad_json(RouteError::BadJson(JsonFault { position: 3, problem: JsonProblem::Colon }), 400, 400, "invalid JSON at byte 3: a colon was expected", "request_parsing", None)]
#[case::trailing(
    RouteError::TrailingData,
    400,
    400,
    "invalid request body",
    "request_parsing",
    None
)]
#[case::model(
    RouteError::ModelMissing,
    400,
    404,
    "model not found",
    "request_parsing",
    None
)]
#[case::prompt(
    RouteError::PromptMissing,
    400,
    404,
    "prompt not found",
    "prompt_parsing",
    Some("prompt_parsing")
)]
#[case::input_limited(
    RouteError::InputLimited { retry_after: Some(2) },
    429,
    429,
    "input token rate limit exceeded",
    "input_rate_limit",
    Some("rate_limit")
)]
#[case::output_limited(
    RouteError::OutputLimited { retry_after: None },
    429,
    429,
    "output token rate limit exceeded",
    "output_rate_limit",
    Some("rate_limit")
)]
#[case::route(
    RouteError::NoRoute,
    404,
    404,
    "route not found",
    "route_not_found",
    Some("route_not_found")
)]
#[case::server(RouteError::NoServer("n/s".into()), 404, 404, "can't find model server: n/s", "pod_discovery", Some("pod_discovery"))]
#[case::provider(RouteError::NoProvider("n/p".into()), 404, 404, "can't find external model provider: n/p", "provider_discovery", Some("provider_discovery"))]
#[case::pods(RouteError::NoPods("n/s".into()), 503, 503, "no available pods for model server: n/s", "pod_discovery", Some("pod_discovery"))]
#[case::decode(
    RouteError::NoDecodePod,
    503,
    400,
    "can't schedule to target pod: no decode pod found",
    "scheduling",
    Some("request_failed")
)]
#[case::all_failed(RouteError::AllFailed { timed_out: false }, 502, 503, "request to all pods failed", "proxy", Some("proxy"))]
#[case::all_timed_out(RouteError::AllFailed { timed_out: true }, 504, 503, "request to all pods failed", "proxy", Some("proxy"))]
#[case::pair(
    RouteError::NoPair,
    503,
    400,
    "can't schedule to target pod: no valid prefill-decode pod pairs found",
    "scheduling",
    Some("request_failed")
)]
#[case::pairs_failed(RouteError::PairsFailed { timed_out: false }, 502, 500, "all prefill/decode attempts failed", "proxy", Some("request_failed"))]
#[case::pairs_timed_out(RouteError::PairsFailed { timed_out: true }, 504, 500, "all prefill/decode attempts failed", "proxy", Some("request_failed"))]
#[case::timed_out(
    RouteError::TimedOut,
    504,
    504,
    "the request was not answered in time",
    "proxy",
    Some("proxy")
)]
#[case::queue_timed_out(
    RouteError::QueueTimedOut,
    504,
    504,
    "Request processing timed out in queue",
    "scheduling",
    Some("scheduling")
)]
#[case::queue_left(
    RouteError::QueueLeft,
    503,
    503,
    "Client disconnected while waiting in queue",
    "scheduling",
    Some("scheduling")
)]
#[case::queue_full(RouteError::QueueFull { retry_after: 3 }, 429, 500, "failed to enqueue request: too many requests wait for the model", "scheduling", Some("scheduling"))]
#[case::queue_refused(
    RouteError::QueueRefused("request queue is closed"),
    503,
    500,
    "failed to enqueue request: request queue is closed",
    "scheduling",
    Some("scheduling")
)]
#[case::client(
    RouteError::ClientGone,
    499,
    499,
    "the client closed the connection",
    "client_closed",
    Some("client_closed")
)]
#[case::slow_body(
    RouteError::BodyTimedOut,
    408,
    408,
    "the request body did not arrive in time",
    "request_parsing",
    None
)]
#[case::overloaded(
    RouteError::Overloaded,
    503,
    503,
    "the router has too many connections",
    "proxy",
    Some("proxy")
)]
#[case::draining(
    RouteError::Draining,
    503,
    503,
    "the router is shutting down",
    "request_parsing",
    None
)]
#[case::panicked(
    RouteError::Panicked,
    500,
    500,
    "request processing failed",
    "panic",
    Some("request_failed")
)]
#[case::starting(
    RouteError::NotReady,
    503,
    503,
    "the router is starting",
    "request_parsing",
    None
)]
fn the_table(
    #[case] error: RouteError,
    #[case] status: u16,
    #[case] legacy: u16,
    #[case] message: &str,
    #[case] log_type: &str,
    #[case] metric: Option<&str>,
) {
    let outcome = error.outcome();
    assert_eq!((outcome.log_type, outcome.metric), (log_type, metric));

    let (code, body) = error.render(ErrorStyle::OpenAi);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (code.as_u16(), body["error"]["message"].as_str()),
        (status, Some(message))
    );
    let kind = match status {
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    assert_eq!(body["error"]["type"], kind);

    let (code, body) = error.render(ErrorStyle::Legacy);
    assert_eq!(
        (
            code.as_u16(),
            serde_json::from_str::<String>(&body).unwrap().as_str()
        ),
        (legacy, message)
    );
}
