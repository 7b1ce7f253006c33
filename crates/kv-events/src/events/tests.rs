use proptest::prelude::*;
use rstest::rstest;

use super::*;

/// The frames of three messages of a vLLM 0.32.0, in hexadecimal.
fn recorded() -> Vec<[Vec<u8>; 3]> {
    let text = include_str!("../../fixtures/vllm-0.32-events.json");
    let messages: Vec<[String; 3]> = serde_json::from_str(text).unwrap();
    messages
        .iter()
        .map(|frames| std::array::from_fn(|at| unhex(&frames[at])))
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Writes JSON as `MessagePack`: what an engine of any version might send.
fn pack(value: &serde_json::Value) -> Vec<u8> {
    use rmp::encode as mp;
    use serde_json::Value as Json;
    let mut out = Vec::new();
    match value {
        Json::Null => mp::write_nil(&mut out).unwrap(),
        Json::Bool(flag) => mp::write_bool(&mut out, *flag).unwrap(),
        Json::Number(number) if number.is_u64() => {
            mp::write_uint(&mut out, number.as_u64().unwrap()).unwrap();
        }
        Json::Number(number) if number.is_i64() => {
            mp::write_sint(&mut out, number.as_i64().unwrap()).unwrap();
        }
        Json::Number(number) => mp::write_f64(&mut out, number.as_f64().unwrap()).unwrap(),
        Json::String(text) => match text.strip_prefix("0x") {
            Some(hex) => mp::write_bin(&mut out, &unhex(hex)).unwrap(),
            None => mp::write_str(&mut out, text).unwrap(),
        },
        Json::Array(items) => {
            mp::write_array_len(&mut out, items.len().try_into().unwrap()).unwrap();
            out.extend(items.iter().flat_map(pack));
        }
        Json::Object(members) => {
            mp::write_map_len(&mut out, members.len().try_into().unwrap()).unwrap();
            for (key, value) in members {
                mp::write_str(&mut out, key).unwrap();
                out.extend(pack(value));
            }
        }
    }
    out
}

fn decode_json(value: &serde_json::Value) -> Batch {
    decode(&pack(value)).unwrap()
}

fn stored(hashes: &[u64], tokens: &[u32]) -> Stored {
    Stored {
        hashes: hashes.iter().map(|&hash| hash.into()).collect(),
        tokens: tokens.to_vec(),
        block_size: 2,
        ..Stored::default()
    }
}

#[test]
fn a_real_engines_messages_are_read_whole() {
    let recorded = recorded();
    let mut order = Order::default();
    let mut last: Option<EngineHash> = None;
    let mut blocks = Vec::new();
    for (at, frames) in recorded.iter().enumerate() {
        let message = Message::from_frames(frames).unwrap();
        assert_eq!(message.topic, "kv-events");
        assert_eq!(message.sequence, Some(at as u64));
        assert_eq!(order.observe(message.sequence), Progress::Next);
        let batch = decode(message.payload).unwrap();
        assert_eq!((batch.unknown, batch.faulty), (0, 0));
        assert_eq!(batch.rank, Some(0));
        assert!(batch.timestamp > 1.7e9);
        let [KvEvent::Stored(stored)] = &batch.events[..] else {
            panic!("{batch:?}");
        };
        assert_eq!(stored.block_size, 32);
        assert_eq!(stored.medium.as_deref(), Some("GPU"));
        assert_eq!((&stored.adapter, stored.keyed), (&None, false));
        assert_eq!(stored.blocks().unwrap().count(), stored.hashes.len());
        if at == 0 {
            assert_eq!(stored.parent, None);
            last = stored.hashes.get(6).cloned();
        } else {
            // The second and third request shared seven blocks with the first.
            assert_eq!(stored.parent, last);
        }
        blocks.push(stored.hashes.len());
    }
    assert_eq!(blocks, [8, 1, 1]);
}

#[rstest]
#[case::oldest_arrays(serde_json::json!([1.5, [["BlockStored", [7], null, [1, 2], 2, null]]]), stored(&[7], &[1, 2]))]
#[case::more_than_we_know(
    serde_json::json!([1.5, [["BlockStored", [7], null, [1, 2], 2, null, null, null, null, 0, "x", {"y": [1]}]], 0, "more"]),
    stored(&[7], &[1, 2])
)]
#[case::no_block_size(
    serde_json::json!([1.5, [["BlockStored", [7], null, [1, 2]]]]),
    Stored { block_size: 0, ..stored(&[7], &[1, 2]) }
)]
#[case::map_with_unknown_fields(
    serde_json::json!([1.5, [{"zz": {"a": [1]}, "type": "BlockStored", "block_hashes": [7], "token_ids": [1, 2], "block_size": 2}]]),
    stored(&[7], &[1, 2])
)]
#[case::the_batch_is_a_map_too(
    serde_json::json!({"events": [{"type": "BlockStored", "block_hashes": [7], "token_ids": [1, 2], "block_size": 2}], "ts": 1.5}),
    stored(&[7], &[1, 2])
)]
#[case::hash_of_bytes(
    serde_json::json!([1.5, [["BlockStored", ["0x00ff"], "0x0102", [1, 2], 2, null]]]),
    Stored {
        hashes: vec![EngineHash::Bytes([0x00, 0xff].into())],
        parent: Some(EngineHash::Bytes([1, 2].into())),
        ..stored(&[], &[1, 2])
    }
)]
#[case::signed_hash(
    serde_json::json!([1.5, [["BlockStored", [-7], null, [1, 2], 2, null]]]),
    Stored { hashes: vec![EngineHash::Negative(-7)], ..stored(&[], &[1, 2]) }
)]
#[case::adapter_by_number(
    serde_json::json!([1.5, [["BlockStored", [7], null, [1, 2], 2, 3, "CPU"]]]),
    Stored {
        adapter: Some(Adapter { id: Some(3), name: None }),
        medium: Some("CPU".into()),
        ..stored(&[7], &[1, 2])
    }
)]
#[case::adapter_by_name_is_no_other_key(
    serde_json::json!([1.5, [["BlockStored", [7], null, [1, 2], 2, 3, "GPU", "sql", [["sql"]]]]]),
    Stored {
        adapter: Some(Adapter { id: Some(3), name: Some("sql".into()) }),
        medium: Some("GPU".into()),
        ..stored(&[7], &[1, 2])
    }
)]
#[case::a_salt_is_another_key(
    serde_json::json!([1.5, [["BlockStored", [7], null, [1, 2], 2, null, null, null, [["salt"]]]]]),
    Stored { keyed: true, ..stored(&[7], &[1, 2]) }
)]
fn reads_a_stored_block(#[case] payload: serde_json::Value, #[case] expected: Stored) {
    let batch = decode_json(&payload);

    assert_eq!(batch.events, [KvEvent::Stored(expected)]);
    assert!((batch.timestamp - 1.5).abs() < 1e-9);
    assert_eq!((batch.unknown, batch.faulty), (0, 0));
}

#[rstest]
#[case::unknown_kind(serde_json::json!(["BlockMoved", [1]]), (1, 0))]
#[case::no_kind(serde_json::json!({"block_hashes": [1]}), (1, 0))]
#[case::not_an_event(serde_json::json!(17), (1, 0))]
#[case::token_too_large(serde_json::json!(["BlockStored", [1], null, [4_294_967_296_u64], 1, null]), (0, 1))]
#[case::token_below_zero(serde_json::json!(["BlockStored", [1], null, [-1], 1, null]), (0, 1))]
#[case::pair_for_a_token(serde_json::json!(["BlockStored", [1], null, [[1, 2]], 1, null]), (0, 1))]
#[case::text_for_a_hash(serde_json::json!(["BlockStored", ["x"], null, [1], 1, null]), (0, 1))]
#[case::stored_without_tokens(serde_json::json!({"type": "BlockStored", "block_hashes": [1]}), (0, 1))]
#[case::removed_without_hashes(serde_json::json!(["BlockRemoved"]), (0, 1))]
#[case::stored_elsewhere(
    serde_json::json!({"type": "BlockStored", "block_hashes": [1], "token_ids": [1], "medium": "STORAGE", "locality": "REMOTE"}),
    (1, 0)
)]
#[case::removed_elsewhere(serde_json::json!({"type": "BlockRemoved", "block_hashes": [1], "locality": "REMOTE"}), (1, 0))]
fn a_bad_event_costs_itself_only(#[case] bad: serde_json::Value, #[case] skipped: (u32, u32)) {
    let good = serde_json::json!(["BlockRemoved", [5], "GPU"]);
    let batch = decode_json(&serde_json::json!([
        1.0,
        [good, bad, ["AllBlocksCleared"]],
        null
    ]));

    let removed = Removed {
        hashes: vec![5_u64.into()],
        medium: Some("GPU".into()),
        group: 0,
    };
    assert_eq!(batch.events, [KvEvent::Removed(removed), KvEvent::Cleared]);
    assert_eq!((batch.unknown, batch.faulty), skipped);
}

#[rstest]
#[case::a_removal(serde_json::json!(["BlockRemoved", ["x"]]), 1)]
#[case::a_store(serde_json::json!(["BlockStored", ["x"], null, [1], 1, null]), 0)]
#[case::a_removal_elsewhere(serde_json::json!({"type": "BlockRemoved", "locality": "REMOTE"}), 0)]
fn removals_that_cannot_be_read_are_told(#[case] bad: serde_json::Value, #[case] missed: u32) {
    let batch = decode_json(&serde_json::json!([1.0, [bad]]));
    assert_eq!(batch.missed_removals, missed);
}

#[test]
fn a_block_said_to_be_near_is_read() {
    let batch = decode_json(&serde_json::json!([1.5, [
        {"type": "BlockStored", "block_hashes": [7], "token_ids": [1, 2], "block_size": 2, "locality": "LOCAL"}
    ]]));
    assert_eq!(batch.events, [KvEvent::Stored(stored(&[7], &[1, 2]))]);
}

#[rstest]
#[case::empty(&[], DecodeError::Malformed)]
#[case::text(&[0xa1, b'x'], DecodeError::NotABatch)]
#[case::no_events(&[0x91, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0], DecodeError::NotABatch)]
#[case::cut_off(&[0x92, 0x01, 0x91, 0x91], DecodeError::Malformed)]
#[case::a_length_beyond_the_bytes(&[0x92, 0x01, 0xdd, 0xff, 0xff, 0xff, 0xff], DecodeError::Malformed)]
#[case::reserved_marker(&[0xc1], DecodeError::Malformed)]
fn what_is_no_batch_is_an_error(#[case] payload: &[u8], #[case] expected: DecodeError) {
    assert_eq!(decode(payload), Err(expected));
}

#[rstest]
#[case::starts_at_zero(&[0, 1, 2], Progress::Next)]
#[case::came_late(&[5], Progress::Late { missed: 5 })]
#[case::gap(&[0, 1, 4], Progress::Gap { from: 2, missed: 2 })]
#[case::restart(&[0, 1, 2, 0], Progress::Restart { missed: 0 })]
#[case::restart_seen_late(&[7, 8, 9, 3], Progress::Restart { missed: 3 })]
fn numbers_tell_what_was_missed(#[case] numbers: &[u64], #[case] last: Progress) {
    let mut order = Order::default();
    let seen: Vec<_> = numbers
        .iter()
        .map(|&number| order.observe(Some(number)))
        .collect();
    assert_eq!(seen.last(), Some(&last));
}

#[rstest]
#[case::filter_equal("kv-events", true)]
#[case::filter_is_a_prefix("kv", false)]
#[case::no_filter("", true)]
fn the_topic_must_be_the_filter(#[case] filter: &str, #[case] wanted: bool) {
    let frames = ["kv-events".as_bytes(), &[0; 8], &[]];
    assert_eq!(Message::from_frames(&frames).unwrap().is_on(filter), wanted);
}

#[test]
fn messages_have_three_frames() {
    assert_eq!(Message::from_frames(&[[0_u8; 8]; 2]), None);
    assert_eq!(Message::from_frames(&[[0_u8; 8]; 4]), None);
    let odd = ["t".as_bytes(), &[1, 2], &[]];
    assert_eq!(Message::from_frames(&odd).unwrap().sequence, None);
}

fn engine_hash() -> impl Strategy<Value = EngineHash> {
    prop_oneof![
        any::<u64>().prop_map(EngineHash::from),
        any::<i64>().prop_map(EngineHash::from),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| EngineHash::Bytes(bytes.into())),
    ]
}

fn some_text() -> impl Strategy<Value = Option<Arc<str>>> {
    prop::option::of("[a-zA-Z0-9]{0,12}".prop_map(Arc::from))
}

prop_compose! {
    fn any_stored()(
        hashes in prop::collection::vec(engine_hash(), 0..6),
        parent in prop::option::of(engine_hash()),
        tokens in prop::collection::vec(any::<u32>(), 0..40),
        block_size in any::<u32>(),
        id in prop::option::of(any::<i64>().prop_filter("0 is none", |id| *id != 0)),
        name in some_text(),
        medium in some_text(),
        group in any::<u32>(),
        keyed in any::<bool>(),
    ) -> Stored {
        let adapter = (id.is_some() || name.is_some()).then_some(Adapter { id, name });
        Stored { hashes, parent, tokens, block_size, adapter, medium, group, keyed }
    }
}

fn any_event() -> impl Strategy<Value = KvEvent> {
    prop_oneof![
        any_stored().prop_map(KvEvent::Stored),
        (
            prop::collection::vec(engine_hash(), 0..6),
            some_text(),
            any::<u32>()
        )
            .prop_map(|(hashes, medium, group)| KvEvent::Removed(Removed {
                hashes,
                medium,
                group
            })),
        Just(KvEvent::Cleared),
    ]
}

fn any_batch() -> impl Strategy<Value = Batch> {
    (
        0.0..4e9_f64,
        prop::option::of(any::<u32>()),
        prop::collection::vec(any_event(), 0..6),
    )
        .prop_map(|(timestamp, rank, events)| Batch {
            timestamp,
            rank,
            events,
            ..Batch::default()
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(batch in any_batch(), arrays in any::<bool>()) {
        let layout = if arrays { Layout::Arrays } else { Layout::Maps };
        prop_assert_eq!(decode(&encode(&batch, layout)), Ok(batch));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_damaged_message_is_survived(
        batch in any_batch(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(&batch, Layout::Maps);
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = decode(&bytes);
    }

    #[test]
    fn a_hash_keeps_its_sign_in_keys(hash in any::<i64>()) {
        prop_assert_eq!(EngineHash::from(hash).to_string(), hash.to_string());
    }
}
