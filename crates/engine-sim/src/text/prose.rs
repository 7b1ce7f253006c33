//! Endless plain prose from a seed.

/// A small generator of evenly spread numbers (splitmix64); the same seed gives the same numbers.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number below `sides`.
    pub(crate) fn below(&mut self, sides: u64) -> u64 {
        self.roll() % sides.max(1)
    }

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len() as u64) as usize]
    }
}

const ADJECTIVES: &[&str] = &[
    "quiet", "small", "bright", "patient", "early", "warm", "careful", "old", "steady", "open",
    "distant", "gentle", "clear", "simple", "busy", "long",
];
const NOUNS: &[&str] = &[
    "river", "garden", "harbor", "engine", "letter", "window", "valley", "market", "bridge",
    "train", "forest", "story", "lantern", "orchard", "road", "library", "morning", "machine",
    "village", "island",
];
const VERBS: &[&str] = &[
    "follows",
    "carries",
    "answers",
    "remembers",
    "crosses",
    "finds",
    "keeps",
    "warms",
    "draws",
    "meets",
    "opens",
    "guards",
    "repairs",
    "reaches",
];
const ENDINGS: &[&str] = &[
    "before noon",
    "without a sound",
    "in plain sight",
    "every spring",
    "after the rain",
    "for the first time",
    "as it always did",
    "one step at a time",
    "near the old wall",
    "while the town sleeps",
];
const LINKS: &[&str] = &["and", "so", "while", "because", "until"];
const OPENERS: &[&str] = &[
    "Now", "Still", "Later", "Often", "Soon", "At last", "In time",
];

/// Appends one sentence, with a space before it unless it is the first.
pub(crate) fn sentence(dice: &mut Dice, first: bool, out: &mut String) {
    if !first {
        out.push(' ');
    }
    let opener = dice.below(4) == 0;
    if opener {
        out.push_str(dice.pick(OPENERS));
        out.push_str(", the ");
    } else {
        out.push_str("The ");
    }
    clause(dice, out);
    match dice.below(3) {
        0 => {
            out.push_str(", ");
            out.push_str(dice.pick(LINKS));
            out.push_str(" the ");
            clause(dice, out);
        }
        1 => {
            out.push(' ');
            out.push_str(dice.pick(ENDINGS));
        }
        _ => {}
    }
    out.push('.');
}

fn clause(dice: &mut Dice, out: &mut String) {
    if dice.below(2) == 0 {
        out.push_str(dice.pick(ADJECTIVES));
        out.push(' ');
    }
    out.push_str(dice.pick(NOUNS));
    out.push(' ');
    out.push_str(dice.pick(VERBS));
    out.push_str(" the ");
    out.push_str(dice.pick(NOUNS));
}
