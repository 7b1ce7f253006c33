//! Cuts an input into a few instructions and the text they are about.

/// Takes the first `N` bytes as instructions; zeros if there are fewer.
pub(crate) fn instructions<const N: usize>(data: &[u8]) -> ([u8; N], &[u8]) {
    let mut taken = [0; N];
    let (head, rest) = data.split_at(data.len().min(N));
    taken[..head.len()].copy_from_slice(head);
    (taken, rest)
}

/// Cuts a text into pieces whose lengths follow from `pattern`.
pub(crate) fn pieces(text: &[u8], pattern: u8) -> Vec<&[u8]> {
    let mut rest = text;
    let mut state = pattern;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state = state.wrapping_mul(37).wrapping_add(11);
        // Short pieces are the ones that cut tokens in two.
        let length = usize::from(state % 16).max(1).min(rest.len());
        let (piece, left) = rest.split_at(length);
        pieces.push(piece);
        rest = left;
    }
    pieces
}
