//! What names, label keys and label values may look like. Each function returns the broken rules as texts.

use crate::resource::Resource;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
     characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
     'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or \
     '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex \
     used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and \
     end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
     validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, \
     '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
     'my_value',  or '12345', regex used for validation is \
     '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// The shape names of a resource must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// A DNS subdomain; most kinds.
    Subdomain,
    /// A DNS label; namespaces and whatever becomes one part of a DNS name.
    Label,
    /// Anything that is one segment of a path.
    PathSegment,
}

impl NameRule {
    /// The rule for objects of `resource`.
    pub fn of(resource: &Resource) -> Self {
        match (resource.group(), resource.group_resource.resource()) {
            ("", "namespaces" | "services") => Self::Label,
            ("rbac.authorization.k8s.io", _) => Self::PathSegment,
            _ => Self::Subdomain,
        }
    }

    /// What is wrong with `name`. A prefix may end in what a whole name may not.
    pub fn faults(self, name: &str, is_prefix: bool) -> Vec<String> {
        let mut whole = name.to_owned();
        if is_prefix && let Some(cut) = name.strip_suffix('-') {
            whole = format!("{cut}a");
        }
        match self {
            Self::Subdomain => subdomain(&whole),
            Self::Label => label(&whole),
            Self::PathSegment => path_segment(&whole),
        }
    }
}

fn is_lower_alnum(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// True for `[edge]([inner]*[edge])?`.
fn shaped(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match bytes {
        [] => false,
        [only] => edge(*only),
        [first, middle @ .., last] => {
            edge(*first) && edge(*last) && middle.iter().all(|byte| inner(*byte))
        }
    }
}

fn is_label(text: &str) -> bool {
    shaped(text, is_lower_alnum, |byte| {
        is_lower_alnum(byte) || byte == b'-'
    })
}

fn is_qualified_part(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    shaped(text, |byte| byte.is_ascii_alphanumeric(), inner)
}

fn checked(text: &str, limit: usize, unit: &str, fits: bool, rule: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text.len() > limit {
        faults.push(format!("must be no more than {limit} {unit}"));
    }
    if !fits {
        faults.push(rule.to_owned());
    }
    faults
}

/// Rules of a DNS subdomain.
pub fn subdomain(text: &str) -> Vec<String> {
    checked(
        text,
        253,
        "characters",
        text.split('.').all(is_label),
        SUBDOMAIN,
    )
}

/// Rules of a DNS label.
pub fn label(text: &str) -> Vec<String> {
    if text.len() <= 63 && !is_label(text) && text.contains('.') && text.split('.').all(is_label) {
        return vec!["must not contain dots".to_owned()];
    }
    checked(text, 63, "characters", is_label(text), LABEL)
}

fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"]
        .iter()
        .filter(|part| text.contains(**part))
        .map(|part| format!("may not contain '{part}'"))
        .collect()
}

/// Rules of label and annotation keys and of finalizers: a name with an optional DNS prefix.
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                faults.push("prefix part must be non-empty".to_owned());
            } else {
                faults.extend(
                    subdomain(prefix)
                        .into_iter()
                        .map(|fault| format!("prefix part {fault}")),
                );
            }
            *name
        }
        _ => {
            return vec![format!(
                "a valid label key {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        faults.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_qualified_part(name) {
        faults.push(format!("name part {QUALIFIED}"));
    }
    faults
}

/// Rules of label values.
pub fn label_value(text: &str) -> Vec<String> {
    checked(
        text,
        63,
        "bytes",
        text.is_empty() || is_qualified_part(text),
        LABEL_VALUE,
    )
}
