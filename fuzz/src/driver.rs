//! Changes known inputs at random, for runs without a coverage-guided fuzzer.
//!
//! It sees no coverage, so it finds less than libFuzzer does; it keeps what was found from coming back, and costs
//! nothing to set up. A seed repeats a run.

/// Longest input that is made, in bytes.
const LONGEST: usize = 16 << 10;

/// Pieces of syntax that random bytes seldom hit.
const WORDS: [&[u8]; 24] = [
    b"\"model\":",
    b"\"stream\":true",
    b"{}",
    b"[]",
    b"null",
    b"\\u0000",
    b"\\ud800",
    b"\"usage\":{",
    b"data: ",
    b"\n\n",
    b"\r\n",
    b"\r",
    b"event: ",
    b"\xef\xbb\xbf",
    b"NaN",
    b"+Inf",
    b"# TYPE ",
    b"{le=\"+Inf\"}",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 1\r\n",
    b"0\r\n\r\n",
    b"(?i)",
    b"{1,1000}",
    b"\xff",
];

/// Gives changed copies of `corpus`, one for each call.
#[derive(Debug)]
pub struct Driver {
    corpus: Vec<Vec<u8>>,
    random: fastrand::Rng,
}

impl Driver {
    /// A driver over `corpus`, to which an empty input is added.
    pub fn new(mut corpus: Vec<Vec<u8>>, seed: u64) -> Self {
        corpus.push(Vec::new());
        Self {
            corpus,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// The next input.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = self.any();
        for _ in 0..self.random.u8(1..6) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn any(&mut self) -> Vec<u8> {
        let index = self.random.usize(..self.corpus.len());
        self.corpus[index].clone()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.usize(..=input.len());
        match self.random.u8(..6) {
            0 => input.truncate(at),
            1 => input.insert(at, self.random.u8(..)),
            2 => {
                let word = WORDS[self.random.usize(..WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
            3 => {
                let end = self.random.usize(at..=input.len());
                input.drain(at..end);
            }
            4 => {
                let other = self.any();
                let from = self.random.usize(..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.random.u8(..8);
                }
            }
        }
    }
}
