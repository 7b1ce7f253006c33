//! Conditions of a status: set without losing when they last changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

#[cfg(test)]
mod tests;

/// Longest message that the schema takes, in characters.
pub const MAX_MESSAGE: usize = 32_768;

/// What a condition says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The type, unique in its list.
    pub kind: &'a str,
    /// True or false.
    pub holds: bool,
    /// One word for machines.
    pub reason: &'a str,
    /// For people; cut to what the schema takes.
    pub message: &'a str,
    /// Generation it was judged by.
    pub observed_generation: Option<i64>,
}

/// Sets a condition, in place or at the end. The time of the last transition moves only when the status changes, to
/// the whole second of `now`. True if anything changed.
pub fn set(conditions: &mut Vec<Condition>, wanted: &Wanted<'_>, now: Timestamp) -> bool {
    let status = if wanted.holds { "True" } else { "False" };
    let message = cut(wanted.message).to_owned();
    // Stored times have whole seconds.
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let Some(found) = conditions
        .iter_mut()
        .find(|condition| condition.type_ == wanted.kind)
    else {
        conditions.push(Condition {
            last_transition_time: now,
            message,
            observed_generation: wanted.observed_generation,
            reason: wanted.reason.to_owned(),
            status: status.to_owned(),
            type_: wanted.kind.to_owned(),
        });
        return true;
    };
    let before = found.clone();
    if found.status != status {
        found.last_transition_time = now;
        status.clone_into(&mut found.status);
    }
    wanted.reason.clone_into(&mut found.reason);
    found.message = message;
    found.observed_generation = wanted.observed_generation;
    *found != before
}

/// Makes a condition false if it is there; it keeps its reason and message. True if anything changed.
pub fn withdraw(
    conditions: &mut Vec<Condition>,
    kind: &str,
    observed_generation: Option<i64>,
    now: Timestamp,
) -> bool {
    let Some(Condition {
        reason, message, ..
    }) = find(conditions, kind).cloned()
    else {
        return false;
    };
    let wanted = Wanted {
        kind,
        holds: false,
        reason: &reason,
        message: &message,
        observed_generation,
    };
    set(conditions, &wanted, now)
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// True if the condition is there and its status is `True`.
pub fn holds(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// True if the condition holds and its message is this one, or as much of it as the schema takes.
pub fn says(conditions: &[Condition], kind: &str, message: &str) -> bool {
    holds(conditions, kind)
        && find(conditions, kind).is_some_and(|condition| condition.message == cut(message))
}

/// As much of a message as the schema takes.
fn cut(message: &str) -> &str {
    message
        .char_indices()
        .nth(MAX_MESSAGE)
        .map_or(message, |(end, _)| &message[..end])
}
