use bytes::BytesMut;
use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn decode(chunks: &[&[u8]]) -> Result<Vec<Event>, SseError> {
    let mut decoder = Decoder::new(1 << 16);
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.push(chunk, &mut events)?;
    }
    Ok(events)
}

fn data(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.data.as_str()).collect()
}

#[rstest]
#[case::line_feeds("data: a\n\ndata: b\n\n", &["a", "b"])]
#[case::carriage_returns("data: a\r\rdata: b\r\r", &["a", "b"])]
#[case::both("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"])]
#[case::no_space("data:a\n\n", &["a"])]
#[case::only_one_space_is_dropped("data:  a\n\n", &[" a"])]
#[case::lines_are_joined("data: a\ndata: b\n\n", &["a\nb"])]
#[case::comments_are_skipped(": ping\n\ndata: a\n: x\n\n", &["a"])]
#[case::unknown_fields_are_skipped("retry: 5\nfoo: x\ndata: a\n\n", &["a"])]
#[case::empty_data_is_an_event("data\n\n", &[""])]
#[case::unfinished_event_is_dropped("data: a\n\ndata: b\n", &["a"])]
#[case::byte_order_mark("\u{feff}data: a\n\n", &["a"])]
#[case::not_a_mark_later("data: a\n\n\u{feff}data: b\n\n", &["a"])]
#[case::blank_lines_make_no_events("\n\n\ndata: a\n\n\n\n", &["a"])]
fn reads(#[case] input: &str, #[case] expected: &[&str]) {
    let events = decode(&[input.as_bytes()]).unwrap();
    assert_eq!(data(&events), expected);
}

#[test]
fn names_end_with_their_event_and_ids_last() {
    let events = decode(&[b"event: a\nid: 7\ndata: x\n\ndata: y\n\n"]).unwrap();
    assert_eq!((events[0].name.as_str(), events[0].id.as_str()), ("a", "7"));
    assert_eq!((events[1].name.as_str(), events[1].id.as_str()), ("", "7"));
}

#[test]
fn a_line_over_the_limit_fails_for_good_after_what_came_before() {
    let mut decoder = Decoder::new(16);
    let mut events = Vec::new();
    let error = decoder.push(b"data: a\n\ndata: 0123456789abcdef\n\n", &mut events);
    assert_eq!(error, Err(SseError::TooLong { limit: 16 }));
    assert_eq!(data(&events), ["a"]);
    assert!(decoder.push(b"data: b\n\n", &mut events).is_err());
    assert_eq!(events.len(), 1);
}

#[test]
fn many_short_lines_of_one_event_count_together() {
    let mut decoder = Decoder::new(64);
    let mut events = Vec::new();
    let result = (0..100).try_for_each(|_| decoder.push(b"data: xxxxxxxx\n", &mut events));
    assert!(result.is_err());
}

#[rstest]
#[case::one_line("{\"a\":1}", "data: {\"a\":1}\n\n")]
#[case::two_lines("a\nb", "data: a\ndata: b\n\n")]
#[case::nothing("", "data: \n\n")]
fn writes(#[case] payload: &str, #[case] expected: &str) {
    let mut out = BytesMut::new();
    encode(&mut out, payload.as_bytes());
    assert_eq!(out, expected);
}

/// Text in which everything that matters to the decoder is frequent.
fn stream() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("data:".to_owned()),
        Just("data: ".to_owned()),
        Just("event: e".to_owned()),
        Just("id: 1".to_owned()),
        Just(":".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("é€😀".to_owned()),
        "[a-z ]{0,6}",
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_events(text in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let bytes = text.as_bytes();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let mut start = 0;
        let mut chunks = Vec::new();
        for end in ends {
            chunks.push(&bytes[start..end]);
            start = end;
        }
        prop_assert_eq!(decode(&chunks), decode(&[bytes]));
    }

    #[test]
    fn what_is_encoded_is_decoded(payloads in prop::collection::vec("[^\r\u{feff}]{0,40}", 0..8)) {
        let mut out = BytesMut::new();
        for payload in &payloads {
            encode(&mut out, payload.as_bytes());
        }
        let events = decode(&[&out]).unwrap();
        prop_assert_eq!(data(&events), payloads.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_taken(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..8)) {
        let mut decoder = Decoder::new(128);
        let mut events = Vec::new();
        for chunk in &chunks {
            if decoder.push(chunk, &mut events).is_err() {
                break;
            }
        }
    }
}
