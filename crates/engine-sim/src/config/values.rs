//! Values as users write them.

use std::time::Duration;

/// A whole number; `32k` is 32,000 and `32K` is 32,768, as vLLM reads them.
pub(super) fn count(text: &str) -> Option<u64> {
    let (digits, factor) = match text.char_indices().next_back()? {
        (at, 'k') => (&text[..at], 1e3),
        (at, 'K') => (&text[..at], 1024.0),
        (at, 'm') => (&text[..at], 1e6),
        (at, 'M') => (&text[..at], 1024.0 * 1024.0),
        _ => return text.parse().ok(),
    };
    let number: f64 = digits.parse().ok()?;
    (number >= 0.0).then_some((number * factor) as u64)
}

/// A length of time: `1.5s`, `200ms`, `2m`; a bare number is seconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let units = [
        ("ms", 1e-3),
        ("us", 1e-6),
        ("m", 60.0),
        ("s", 1.0),
        ("", 1.0),
    ];
    let (number, unit) = units
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))?;
    let seconds = number.trim().parse::<f64>().ok()? * unit;
    Duration::try_from_secs_f64(seconds).ok()
}
