//! Names of groups, role instances, pods and snapshots, and the ordinals in them.

/// `<serving>-<ordinal>`.
pub(crate) fn group(serving: &str, ordinal: i32) -> String {
    format!("{serving}-{ordinal}")
}

/// `<role>-<ordinal>`.
pub(crate) fn instance(role: &str, ordinal: i32) -> String {
    format!("{role}-{ordinal}")
}

/// `<group>-<role id>-<index>`; index 0 is the entry pod. The headless service has the entry pod's name.
pub(crate) fn pod(group: &str, role_id: &str, index: i32) -> String {
    format!("{group}-{role_id}-{index}")
}

/// `<serving>-<revision>`.
pub(crate) fn snapshot(serving: &str, revision: &str) -> String {
    format!("{serving}-{revision}")
}

/// The digits after the last hyphen; `None` if there are none or too many for 32 bits.
pub(crate) fn ordinal(name: &str) -> Option<i32> {
    let (_, digits) = name.rsplit_once('-')?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// The ordinal of a name that is exactly `<parent>-<ordinal>`.
pub(crate) fn ordinal_under(parent: &str, name: &str) -> Option<i32> {
    let ordinal = ordinal(name)?;
    (name == format!("{parent}-{ordinal}")).then_some(ordinal)
}

#[cfg(test)]
mod tests;
