use proptest::prelude::{Just, Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use rstest::rstest;

use super::*;

const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5,\"total_tokens\":12}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// Feeds `input` in segments of `cut` bytes; what the client gets, and the relay.
fn relayed(mut relay: BodyRelay, input: &[u8], cut: usize) -> (Vec<u8>, BodyRelay) {
    let mut sent = Vec::new();
    for segment in input.chunks(cut.max(1)) {
        let verbatim = relay.advance(segment, &mut sent).unwrap();
        sent.extend_from_slice(&segment[verbatim]);
    }
    (sent, relay)
}

fn chunked(events: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for event in events {
        push_chunk(event.as_bytes(), &mut out);
    }
    out.extend_from_slice(LAST_CHUNK);
    out
}

fn payload(mut framed: &[u8]) -> String {
    let mut walker = ChunkWalker::new();
    let mut out = Vec::new();
    let used = walker
        .walk(framed, |stretch| out.extend_from_slice(stretch))
        .unwrap();
    framed = &framed[used..];
    assert!(
        walker.is_done() && framed.is_empty(),
        "the framing is not whole"
    );
    String::from_utf8(out).unwrap()
}

#[rstest]
#[case::sized(BodyLength::Sized(5), false, false, Delivery::AsIs)]
#[case::sized_to_an_old_client(BodyLength::Sized(5), true, false, Delivery::AsIs)]
#[case::sized_with_something_to_hide(BodyLength::Sized(5), false, true, Delivery::Chunked)]
#[case::chunked(BodyLength::Chunked, false, false, Delivery::AsIs)]
#[case::chunked_to_an_old_client(BodyLength::Chunked, true, false, Delivery::UntilClose)]
#[case::chunked_with_something_to_hide(BodyLength::Chunked, false, true, Delivery::Chunked)]
#[case::until_close(BodyLength::UntilClose, false, false, Delivery::Chunked)]
#[case::empty(BodyLength::Empty, false, true, Delivery::AsIs)]
fn how_a_body_is_delivered(
    #[case] body: BodyLength,
    #[case] old: bool,
    #[case] hide: bool,
    #[case] expected: Delivery,
) {
    assert_eq!(BodyRelay::new(body, old, hide).delivery(), expected);
}

#[test]
fn a_sized_body_is_passed_as_it_is_and_its_usage_read() {
    let body = br#"{"choices":[{"message":{"content":"\"usage\":{"}}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;
    for cut in 1..=body.len() {
        let relay = BodyRelay::new(BodyLength::Sized(body.len() as u64), false, false);
        let (sent, relay) = relayed(relay, body, cut);

        assert_eq!(sent, body);
        assert!(relay.is_ended() && !relay.has_excess());
        assert_eq!(
            relay.usage(),
            Some(Usage {
                prompt: 1,
                completion: 2
            })
        );
    }
}

#[test]
fn whole_lines_without_a_report_pass_untouched_even_when_something_is_hidden() {
    let mut relay = BodyRelay::new(BodyLength::Chunked, false, true);
    let mut input = Vec::new();
    push_chunk(b"data: {\"a\":1,\"usage\":null}\n\n", &mut input);
    let mut out = Vec::new();

    assert_eq!(relay.advance(&input, &mut out), Ok(0..input.len()));
    assert!(out.is_empty());
}

#[rstest]
#[case::only_usage(USAGE, "")]
#[case::usage_without_choices("data: {\"usage\":{\"total_tokens\":3}}\n\n", "")]
#[case::no_space("data:{\"choices\":[],\"usage\":{\"total_tokens\":3}}\r\n\r\n", "")]
#[case::with_choices(
    "data: {\"choices\":[{}],\"usage\":{\"total_tokens\":3}}\n\n",
    "data: {\"choices\":[{}],\"usage\":{\"total_tokens\":3}}\n\n"
)]
#[case::nothing_counted(
    "data: {\"choices\":[],\"usage\":{\"total_tokens\":0}}\n\n",
    "data: {\"choices\":[],\"usage\":{\"total_tokens\":0}}\n\n"
)]
#[case::comment(": \"usage\":{\n\n", ": \"usage\":{\n\n")]
#[case::event_line(
    "event: x\ndata: no json \"usage\":{}\n\n",
    "event: x\ndata: no json \"usage\":{}\n\n"
)]
#[case::not_terminated("data: {\"a\":1}", "data: {\"a\":1}")]
#[case::usage_not_terminated("data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}", "")]
fn what_is_withheld(#[case] event: &str, #[case] expected: &str) {
    let input = chunked(&["data: {\"a\":1}\n\n", event]);
    for cut in 1..=input.len() {
        let (sent, relay) = relayed(
            BodyRelay::new(BodyLength::Chunked, false, true),
            &input,
            cut,
        );
        assert!(relay.is_ended());
        assert_eq!(
            payload(&sent),
            format!("data: {{\"a\":1}}\n\n{expected}"),
            "cut into {cut}"
        );
    }
}

#[test]
fn a_line_too_long_to_judge_passes_and_the_next_is_judged_again() {
    let long = format!("data: {}\n\n", "x".repeat(300 << 10));
    let input = chunked(&[&long, USAGE, DONE]);

    let (sent, relay) = relayed(
        BodyRelay::new(BodyLength::Chunked, false, true),
        &input,
        64 << 10,
    );

    assert_eq!(payload(&sent), format!("{long}{DONE}"));
    assert!(relay.saw_end_marker());
}

#[test]
fn bytes_behind_the_body_make_the_connection_useless() {
    for hide in [false, true] {
        let mut input = chunked(&[DONE]);
        input.extend(b"HTTP/1.1 200 OK");
        let (sent, relay) = relayed(
            BodyRelay::new(BodyLength::Chunked, false, hide),
            &input,
            input.len(),
        );
        assert!(relay.is_ended() && relay.has_excess());
        assert_eq!(payload(&sent), DONE);
    }
}

#[rstest]
#[case::sized(BodyLength::Sized(9), Err(BrokenBody))]
#[case::chunked(BodyLength::Chunked, Err(BrokenBody))]
#[case::until_close(BodyLength::UntilClose, Ok(()))]
fn when_the_engine_closes(#[case] body: BodyLength, #[case] expected: Result<(), BrokenBody>) {
    let mut relay = BodyRelay::new(body, false, false);
    let mut out = Vec::new();
    relay.advance(b"3", &mut out).unwrap();

    assert_eq!(relay.close(&mut out), expected);
}

fn event() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z\"]{0,20}".prop_map(|text| format!("data: {}\n\n", serde_json::json!({"choices": [{"text": text}], "usage": null}))),
        1 => (0_u64..50).prop_map(|count| format!("data: {}\n\n", serde_json::json!({"choices": [{}], "usage": {"completion_tokens": count, "prompt_tokens": 1}}))),
        1 => Just(USAGE.to_owned()),
        1 => Just(": comment\n\n".to_owned()),
        1 => Just("event: ping\n".to_owned()),
    ]
}

proptest! {
    #[test]
    fn any_cut_of_any_stream_gives_the_same(
        events in prop::collection::vec(event(), 0..12),
        chunk in 1_usize..80,
        cut in 1_usize..80,
        hide: bool,
    ) {
        let whole: String = events.concat() + DONE;
        let mut input = Vec::new();
        for piece in whole.as_bytes().chunks(chunk) {
            push_chunk(piece, &mut input);
        }
        input.extend_from_slice(LAST_CHUNK);

        let (sent, relay) = relayed(BodyRelay::new(BodyLength::Chunked, false, hide), &input, cut);

        let kept: String = events.iter().filter(|event| !hide || **event != USAGE).cloned().collect();
        prop_assert_eq!(payload(&sent), kept + DONE);
        prop_assert!(relay.is_ended());
        let counted = events.iter().rev().find_map(|event| {
            let json: serde_json::Value = serde_json::from_str(event.strip_prefix("data: ")?).ok()?;
            json["usage"]["completion_tokens"].as_u64().filter(|count| *count > 0)
        });
        prop_assert_eq!(relay.usage().map(|usage| usage.completion).filter(|count| *count > 0), counted);
    }
}
