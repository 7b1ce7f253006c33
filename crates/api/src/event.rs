//! What planners tell users about an object; whoever runs a planner makes Events of it.

/// Something to tell users about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whether somebody should look.
    pub severity: Severity,
    /// One word for machines.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Whether somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// As expected.
    Normal,
    /// Something is wrong.
    Warning,
}

impl Event {
    /// Of what is as expected.
    pub const fn normal(reason: &'static str, message: String) -> Self {
        Self {
            severity: Severity::Normal,
            reason,
            message,
        }
    }

    /// Of what somebody should look at.
    pub const fn warning(reason: &'static str, message: String) -> Self {
        Self {
            severity: Severity::Warning,
            reason,
            message,
        }
    }
}
