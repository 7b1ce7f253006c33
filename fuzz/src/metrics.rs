//! The metrics page of an engine.

use kthena_router_engines::exposition::{Line, lines};
use kthena_router_engines::{Meter, Reading};

/// Reads any page. The order of its lines must not matter to whether it can be used, and what follows from it must be
/// finite numbers.
pub fn metrics(data: &[u8]) {
    for line in lines(data) {
        if let Line::Sample(raw) = line
            && let Some(sample) = raw.read()
        {
            let _ = (sample.labels.get("le"), sample.labels.get("model_name"));
        }
    }
    let read = Reading::parse(data);
    let mut reversed: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    reversed.reverse();
    let reversed = Reading::parse(&reversed.join(&b'\n'));
    assert_eq!(read.is_ok(), reversed.is_ok(), "order of lines");
    let Ok(reading) = read else { return };
    let mut meter = Meter::default();
    meter.apply(&Reading::default());
    for _ in 0..2 {
        let state = *meter.apply(&reading);
        let numbers = [
            state.usage,
            state.first_token,
            state.next_token,
            state.prefill_per_token,
            state.hit_ratio,
        ];
        assert!(
            numbers
                .iter()
                .all(|number| number.is_finite() && *number >= 0.0),
            "{state:?}"
        );
    }
}
