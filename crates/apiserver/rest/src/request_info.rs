//! Reads what a request path asks for; pure, so that every URL shape is a unit test.
//!
//! # Invariants
//!
//! - The parser knows the shape of Kubernetes paths, not which resources exist; that is the registry's business.
//! - Path segments are percent-decoded exactly once.
//! - A `namespaces/NAME` prefix is a scope when a resource follows, and the Namespace object itself otherwise.

#[cfg(test)]
mod tests;

/// What a path points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/api`: versions of the core group.
    CoreVersions,
    /// `/apis`: all named groups.
    GroupList,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1` or `/apis/GROUP/VERSION`: the resources of a version.
    ResourceList {
        /// Empty for the core group.
        group: String,
        /// For example `v1`.
        version: String,
    },
    /// Anything inside a version.
    Resource(ResourcePath),
    /// `/openapi/v3`, with the rest of the path behind it.
    OpenApiV3(String),
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/version`.
    Version,
    /// `/healthz`, `/livez` and their checks.
    Health,
    /// `/readyz` and its checks.
    Ready,
    /// `/`.
    Root,
    /// Nothing this server knows.
    Unknown,
}

/// A resource, an object of it, or a subresource of that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    /// Empty for the core group.
    pub(crate) group: String,
    /// For example `v1`.
    pub(crate) version: String,
    /// Plural name as in the URL.
    pub(crate) resource: String,
    /// The scope; absent for cluster-scoped resources and for lists over all namespaces.
    pub(crate) namespace: Option<String>,
    /// The object; absent for collections.
    pub(crate) name: Option<String>,
    /// For example `status`.
    pub(crate) subresource: Option<String>,
    /// Whether the path says `watch`, as old clients write it.
    pub(crate) watch: bool,
}

/// Sorts `path` (without query) into a [`Target`].
pub(crate) fn parse(path: &str) -> Target {
    let segments: Vec<String> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(percent_decode)
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        [] => Target::Root,
        ["api"] => Target::CoreVersions,
        ["apis"] => Target::GroupList,
        ["apis", group] => Target::Group((*group).to_owned()),
        ["api", version] => resource_list("", version),
        ["apis", group, version] => resource_list(group, version),
        ["api", version, rest @ ..] => resource("", version, rest),
        ["apis", group, version, rest @ ..] => resource(group, version, rest),
        ["openapi", "v2"] => Target::OpenApiV2,
        ["openapi", "v3", rest @ ..] => Target::OpenApiV3(rest.join("/")),
        ["version"] => Target::Version,
        ["healthz" | "livez", ..] => Target::Health,
        ["readyz", ..] => Target::Ready,
        _ => Target::Unknown,
    }
}

fn resource_list(group: &str, version: &str) -> Target {
    Target::ResourceList {
        group: group.to_owned(),
        version: version.to_owned(),
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Target {
    let (watch, rest) = match rest {
        ["watch", inner @ ..] if !inner.is_empty() => (true, inner),
        _ => (false, rest),
    };
    let (namespace, rest) = match rest {
        // `namespaces/x`, `namespaces/x/status` and `namespaces/x/finalize` are the Namespace object.
        ["namespaces", _, "status" | "finalize"] if group.is_empty() => (None, rest),
        ["namespaces", namespace, inner @ ..] if !inner.is_empty() => (Some(*namespace), inner),
        _ => (None, rest),
    };
    let (resource, name, subresource) = match rest {
        [resource] => (*resource, None, None),
        [resource, name] => (*resource, Some(*name), None),
        [resource, name, subresource @ ..] => (*resource, Some(*name), Some(subresource.join("/"))),
        [] => return Target::Unknown,
    };
    Target::Resource(ResourcePath {
        group: group.to_owned(),
        version: version.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.map(ToOwned::to_owned),
        name: name.map(ToOwned::to_owned),
        subresource,
        watch,
    })
}

/// Replaces `%XX` by its byte; broken escapes and bytes that are not UTF-8 stay or are replaced, never refused.
pub(crate) fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(byte) = escape {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
