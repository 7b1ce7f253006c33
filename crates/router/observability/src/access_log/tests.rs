use std::time::UNIX_EPOCH;

use rstest::rstest;

use super::*;
use crate::labels::{BackendKind, Destination};
use crate::record::LogError;
use crate::usage::Usage;

fn bare() -> Record {
    Record {
        method: "GET".to_owned(),
        path: "/v1/models".to_owned(),
        status: 200,
        request_id: "id".to_owned(),
        ..Record::new(UNIX_EPOCH + Duration::from_nanos(1_767_225_600_012_345_600))
    }
}

fn full() -> Record {
    let destination = Destination {
        route: "ns/r".into(),
        kind: BackendKind::ModelServer,
        backend: "ns/s".into(),
        upstream_model: "served".into(),
    };
    Record {
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        status: 503,
        error: Some(LogError {
            kind: "proxy",
            message: "request to all pods failed".to_owned(),
        }),
        model: "m".to_owned(),
        route: Some("ns/r".into()),
        server: Some("ns/s".into()),
        pod: Some("pod-0".into()),
        destination: Some(destination),
        upstream_status: 502,
        attempts: 2,
        input_tokens: 10,
        usage: Some(Usage {
            prompt: 9,
            completion: 4,
        }),
        phases: Phases {
            total: Duration::from_micros(15_900),
            request: Duration::from_millis(1),
            upstream: Duration::from_millis(12),
            response: Duration::from_millis(2),
        },
        ..bare()
    }
}

fn line(record: &Record, format: LogFormat) -> String {
    let mut out = String::new();
    write_line(record, format, &mut out);
    out
}

#[test]
fn lines() {
    let all: String = [bare(), full()]
        .iter()
        .flat_map(|record| [line(record, LogFormat::Text), line(record, LogFormat::Json)])
        .collect();

    insta::assert_snapshot!(all, @r#"
    [2026-01-01T00:00:00.0123456Z] "GET /v1/models HTTP/1.1" 200 model_name= request_id=id timings=0ms(0+0+0)
    {"timestamp":"2026-01-01T00:00:00.0123456Z","method":"GET","path":"/v1/models","protocol":"HTTP/1.1","status_code":200,"model_name":"","request_id":"id","duration_total":0,"duration_request_processing":0,"duration_upstream_processing":0,"duration_response_processing":0}
    [2026-01-01T00:00:00.0123456Z] "POST /v1/chat/completions HTTP/1.1" 503 error="proxy:request to all pods failed" model_name=m model_route=ns/r model_server=ns/s selected_pod=pod-0 request_id=id backend_type=model_server backend_name=ns/s upstream_model=served upstream_status_code=502 upstream_attempts=2 tokens=10/4 timings=15ms(1+12+2)
    {"timestamp":"2026-01-01T00:00:00.0123456Z","method":"POST","path":"/v1/chat/completions","protocol":"HTTP/1.1","status_code":503,"error":{"type":"proxy","message":"request to all pods failed"},"model_name":"m","model_route":"ns/r","model_server":"ns/s","selected_pod":"pod-0","request_id":"id","backend_type":"model_server","backend_name":"ns/s","upstream_model":"served","upstream_status_code":502,"upstream_attempts":2,"input_tokens":10,"output_tokens":4,"duration_total":15,"duration_request_processing":1,"duration_upstream_processing":12,"duration_response_processing":2}
    "#);
}

#[rstest]
#[case::line_feed("a\nb", "\"a\\nb\"")]
#[case::space("a b", "\"a b\"")]
#[case::quote("a\"b", "\"a\\\"b\"")]
#[case::equals("a=b", "\"a=b\"")]
#[case::letters_of_other_scripts("modèle-模型", "modèle-模型")]
fn a_value_cannot_forge_another(#[case] model: &str, #[case] expected: &str) {
    let record = Record {
        model: model.to_owned(),
        ..bare()
    };

    let text = line(&record, LogFormat::Text);

    assert!(
        text.contains(&format!(" model_name={expected} request_id=")),
        "{text}"
    );
    assert_eq!(text.matches('\n').count(), 1);
}

#[rstest]
#[case::whole_second(0, "1970-01-01T00:00:00Z")]
#[case::one_digit(100_000_000, "1970-01-01T00:00:00.1Z")]
#[case::nine_digits(1, "1970-01-01T00:00:00.000000001Z")]
fn times(#[case] nanos: u64, #[case] expected: &str) {
    let mut out = String::new();
    timestamp(UNIX_EPOCH + Duration::from_nanos(nanos), &mut out);

    assert_eq!(out, expected);
}
