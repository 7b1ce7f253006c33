//! Withholds events that the client did not ask for from a stream of lines.

use kthena_router_observability::usage::is_only_usage;

/// A line longer than this is passed on unjudged.
const LONGEST: usize = 256 << 10;

/// Passes lines on, except those that report usage and nothing else.
#[derive(Debug, Default)]
pub(crate) struct LineFilter {
    /// The incomplete last line.
    pending: Vec<u8>,
    /// The rest of a line that was too long to judge passes.
    passing: bool,
    /// The blank line behind a withheld event goes with it.
    skip_blank: bool,
}

impl LineFilter {
    /// Nothing is held back, so that whole lines may go around the filter.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty() && !self.passing && !self.skip_blank
    }

    /// Takes in payload and appends to `out` what may go on.
    pub(crate) fn feed(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        for piece in payload.split_inclusive(|byte| *byte == b'\n') {
            let ended = piece.ends_with(b"\n");
            if self.passing {
                out.extend_from_slice(piece);
                self.passing = !ended;
            } else if !ended {
                self.hold(piece, out);
            } else if self.pending.is_empty() {
                self.judge(piece, out);
            } else {
                let mut line = std::mem::take(&mut self.pending);
                line.extend_from_slice(piece);
                self.judge(&line, out);
            }
        }
    }

    /// The stream ended: what is held back is its last line.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.pending);
        self.judge(&line, out);
    }

    fn hold(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.pending.extend_from_slice(piece);
        if self.pending.len() > LONGEST {
            out.append(&mut self.pending);
            self.pending = Vec::new();
            self.passing = true;
        }
    }

    fn judge(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let text = line.trim_ascii();
        if std::mem::take(&mut self.skip_blank) && text.is_empty() {
            return;
        }
        if text.strip_prefix(b"data:").is_some_and(is_only_usage) {
            self.skip_blank = true;
        } else {
            out.extend_from_slice(line);
        }
    }
}
