//! The three frames of a message, and what their numbers say about those that did not arrive.

/// A message as it comes over ZMQ: topic, number, payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Matched by prefix on the wire, in full by [`Message::is_on`].
    pub topic: &'a str,
    /// Counts up by one from 0 at each start of the engine. None if the frame is no number.
    pub sequence: Option<u64>,
    /// What [`super::decode`] takes.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Takes exactly three frames with a topic of text; anything else is no message of ours.
    pub fn from_frames<F: AsRef<[u8]>>(frames: &'a [F]) -> Option<Self> {
        let [topic, sequence, payload] = frames else {
            return None;
        };
        Some(Self {
            topic: std::str::from_utf8(topic.as_ref()).ok()?,
            sequence: sequence.as_ref().try_into().ok().map(u64::from_be_bytes),
            payload: payload.as_ref(),
        })
    }

    /// Whether the topic is the wanted one. An empty filter wants all.
    pub fn is_on(&self, filter: &str) -> bool {
        filter.is_empty() || self.topic == filter
    }
}

/// Follows the numbers of one publisher.
#[derive(Debug, Clone, Copy, Default)]
pub struct Order {
    next: Option<u64>,
}

/// What a number says about the messages before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is the next one, or numbers say nothing.
    Next,
    /// It is the first we see, and earlier ones were missed.
    Late {
        /// How many the engine published before.
        missed: u64,
    },
    /// Some between the last one and this are missing.
    Gap {
        /// The first that is missing.
        from: u64,
        /// How many are.
        missed: u64,
    },
    /// The engine counts from 0 again: it restarted and its cache is empty.
    Restart {
        /// How many it published since, without this one.
        missed: u64,
    },
}

impl Order {
    /// Books a message's number.
    pub fn observe(&mut self, sequence: Option<u64>) -> Progress {
        let Some(sequence) = sequence else {
            return Progress::Next;
        };
        let expected = self.next.replace(sequence.wrapping_add(1));
        match expected {
            None if sequence == 0 => Progress::Next,
            None => Progress::Late { missed: sequence },
            Some(expected) if sequence == expected => Progress::Next,
            Some(expected) if sequence > expected => Progress::Gap {
                from: expected,
                missed: sequence - expected,
            },
            Some(_) => Progress::Restart { missed: sequence },
        }
    }

    /// The number that comes next, where any was seen.
    pub fn next(&self) -> Option<u64> {
        self.next
    }
}
