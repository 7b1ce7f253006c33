//! Finds the event that ends a stream of the OpenAI API.

/// Bytes of the payload's end that are kept: the event, with the line before it and a few blanks.
const KEPT: usize = 24;

/// Watches the payload of an answer. Where it is cut plays no role.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct EndMarker {
    tail: [u8; KEPT],
    length: usize,
    seen: bool,
}

impl EndMarker {
    /// The payload ended with the event at some moment.
    pub(super) fn was_seen(&self) -> bool {
        self.seen
    }

    /// Looks at the next stretch of the payload.
    pub(super) fn feed(&mut self, payload: &[u8]) {
        if payload.len() >= KEPT {
            self.tail.copy_from_slice(&payload[payload.len() - KEPT..]);
            self.length = KEPT;
        } else {
            let stays = self.length.min(KEPT - payload.len());
            self.tail.copy_within(self.length - stays..self.length, 0);
            self.tail[stays..stays + payload.len()].copy_from_slice(payload);
            self.length = stays + payload.len();
        }
        self.seen |= ends_with_marker(&self.tail[..self.length]);
    }
}

/// Whether the last line that is not blank is `data: [DONE]`, with or without the space.
fn ends_with_marker(text: &[u8]) -> bool {
    let text = text.trim_ascii_end();
    let before = text
        .strip_suffix(b"[DONE]")
        .map(<[u8]>::trim_ascii_end)
        .and_then(|text| text.strip_suffix(b"data:"));
    before.is_some_and(|before| before.is_empty() || before.ends_with(b"\n"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::EndMarker;

    #[rstest]
    #[case::alone("data: [DONE]\n\n", true)]
    #[case::behind_others("data: {\"choices\":[]}\n\ndata: [DONE]\n\n", true)]
    #[case::without_a_space("data: {}\n\ndata:[DONE]\n\n", true)]
    #[case::with_carriage_returns("data: {}\r\n\r\ndata: [DONE]\r\n\r\n", true)]
    #[case::not_terminated("data: {}\n\ndata: [DONE]", true)]
    #[case::inside_a_text("data: {\"content\":\"data: [DONE]\"}\n\n", false)]
    #[case::cut_inside_a_text("data: {\"content\":\"data: [DONE]", false)]
    #[case::another_event("data: [DONE!]\n\n", false)]
    #[case::nothing("", false)]
    fn the_end_of_a_stream(#[case] payload: &str, #[case] expected: bool) {
        for cut in 1..=payload.len().max(1) {
            let mut marker = EndMarker::default();
            for piece in payload.as_bytes().chunks(cut) {
                marker.feed(piece);
            }
            assert_eq!(marker.was_seen(), expected, "cut into {cut}");
        }
    }

    #[test]
    fn what_follows_does_not_take_it_back() {
        let mut marker = EndMarker::default();
        marker.feed(b"data: [DONE]\n\n");
        marker.feed(b": one more comment\n");
        assert!(marker.was_seen());
    }
}
