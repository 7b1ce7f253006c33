use bytes::Bytes;
use http::Request;
use rstest::rstest;

use super::{Framing, request, response};
use crate::http1::request::RequestHead;
use crate::http1::response::ResponseHead;

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_request_becomes_what_an_http1_client_would_have_sent() {
    let given = Request::post("https://router.example/v1/x?a=b")
        .header("content-type", "application/json")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("expect", "100-continue")
        .header("content-length", "7")
        .body(())
        .unwrap();

    let (head, framing) = request(&given, false);

    assert_eq!(
        text(&head),
        "POST /v1/x?a=b HTTP/1.1\r\nhost: router.example\r\ncontent-type: application/json\r\n\
         content-length: 7\r\ncookie: a=1; b=2\r\n\r\n"
    );
    assert_eq!(framing, Framing::Plain);
    assert!(RequestHead::parse(&head, 4096).unwrap().is_some());
}

#[rstest]
#[case::with_a_body(false, Framing::Chunked, true)]
#[case::without(true, Framing::Plain, false)]
fn a_body_of_unknown_length_comes_in_chunks(
    #[case] ended: bool,
    #[case] expected: Framing,
    #[case] has_body: bool,
) {
    let given = Request::post("http://router/v1/x").body(()).unwrap();

    let (head, framing) = request(&given, ended);

    assert_eq!(framing, expected);
    let parsed = RequestHead::parse(&head, 4096).unwrap().unwrap();
    assert_eq!(parsed.has_body(), has_body);
}

#[test]
fn an_answer_loses_what_concerns_a_connection_in_http1() {
    let bytes =
        b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
        Keep-Alive: timeout=5\r\nX-A: 1\r\nx-a: 2\r\n\r\n";
    let head = ResponseHead::parse(bytes, false).unwrap().unwrap();

    let answer = response(&head, bytes).unwrap();

    assert_eq!(answer.status(), 503);
    let fields: Vec<_> = answer.headers().iter().collect();
    assert_eq!(fields.len(), 2);
    assert!(answer.headers().get_all("x-a").iter().eq(["1", "2"]));
}
