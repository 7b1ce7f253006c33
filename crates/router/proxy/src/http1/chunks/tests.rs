use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use rstest::rstest;

use super::*;

fn framed(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        push_chunk(piece, &mut out);
    }
    out.extend_from_slice(LAST_CHUNK);
    out
}

/// Walks over `input` in segments of `cut` bytes: payload, bytes used, whether the end was seen.
fn walk(input: &[u8], cut: usize) -> Result<(Vec<u8>, usize, bool), BadChunk> {
    let mut walker = ChunkWalker::new();
    let (mut payload, mut used) = (Vec::new(), 0);
    for segment in input.chunks(cut) {
        used += walker.walk(segment, |stretch| payload.extend_from_slice(stretch))?;
    }
    Ok((payload, used, walker.is_done()))
}

#[rstest]
#[case::plain("3\r\nabc\r\n0\r\n\r\n", "abc", true)]
#[case::upper_case_size("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", true)]
#[case::extension("3;a=b\r\nabc\r\n0;c\r\n\r\n", "abc", true)]
#[case::space_behind_the_size("3 \r\nabc\r\n0\r\n\r\n", "abc", true)]
#[case::bare_line_feeds("3\nabc\n0\n\n", "abc", true)]
#[case::trailers("0\r\nA: b\r\nC: d\r\n\r\n", "", true)]
#[case::not_ended("3\r\nabc\r\n", "abc", false)]
#[case::leading_zeros("0003\r\nabc\r\n00\r\n\r\n", "abc", true)]
fn payloads(#[case] input: &str, #[case] payload: &str, #[case] done: bool) {
    for cut in 1..=input.len() {
        let expected = (payload.as_bytes().to_vec(), input.len(), done);
        assert_eq!(walk(input.as_bytes(), cut), Ok(expected), "cut into {cut}");
    }
}

#[rstest]
#[case::no_size("\r\nabc")]
#[case::no_hexadecimal("x\r\n")]
#[case::negative("-1\r\n")]
#[case::size_too_large("fffffffffffffffffff\r\n")]
#[case::data_too_long("3\r\nabcd\r\n")]
#[case::junk_behind_the_data("3\r\nabc\rx")]
fn broken_framing(#[case] input: &str) {
    assert_eq!(walk(input.as_bytes(), input.len()), Err(BadChunk));
}

#[test]
fn bytes_behind_the_end_are_not_touched() {
    assert_eq!(
        walk(b"0\r\n\r\nHTTP/1.1 200", 100),
        Ok((Vec::new(), 5, true))
    );
}

proptest! {
    #[test]
    fn what_is_framed_is_read_back(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6), cut in 1_usize..64) {
        let input = framed(&pieces);
        prop_assert_eq!(walk(&input, cut), Ok((pieces.concat(), input.len(), true)));
    }

    #[test]
    fn no_bytes_are_walked_beyond(input: Vec<u8>, cut in 1_usize..16) {
        if let Ok((payload, used, _)) = walk(&input, cut) {
            prop_assert!(used <= input.len() && payload.len() <= used);
        }
    }
}
