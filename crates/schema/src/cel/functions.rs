//! The environment that rules are compiled and run in: standard CEL with Kubernetes' additions.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use cel::common::types::{CelBool, CelInt, CelString};
use cel::{Env, ExecutionError, extensions};

use super::{network, quantity};
use crate::re2::{self, Regex, RegexError};

/// Stands for `matches` in compiled rules, so that patterns follow RE2 and are compiled once.
pub(super) const MATCHES: &str = "kthena.matches";
/// The same for `find`.
pub(super) const FIND: &str = "kthena.find";

/// Distinct literal patterns kept compiled; more than any set of CRDs has.
const MAX_PATTERNS: usize = 4096;

static PATTERNS: LazyLock<RwLock<HashMap<String, Regex>>> = LazyLock::new(RwLock::default);

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // A name that is taken already would stay as it was; the tests call every function.
    let _ = env.add_extension(extensions::strings);
    let _ = env.add_extension(extensions::lists);
    let _ = cel::add_member_overload!(env, fn matches: (CelString, CelString) -> Result<CelBool>, name = MATCHES);
    let _ = cel::add_overload!(env, fn matches: (CelString, CelString) -> Result<CelBool>, name = MATCHES);
    let _ = cel::add_member_overload!(env, fn find: (CelString, CelString) -> Result<CelString>, name = FIND);
    let _ = cel::add_overload!(env, fn duration: (CelString) -> Result<CelInt>, name = "duration");
    let _ = env.add_extension(network::extension);
    let _ = env.add_extension(quantity::extension);
    Arc::new(env)
});

/// The environment, built once.
pub(super) fn environment() -> &'static Arc<Env> {
    &ENVIRONMENT
}

/// What a rule may call besides operators.
const NAMES: &[&str] = &[
    MATCHES,
    FIND,
    "add",
    "all",
    "asApproximateFloat",
    "asInteger",
    "base64.decode",
    "base64.encode",
    "bool",
    "bytes",
    "charAt",
    "cidr",
    "compareTo",
    "contains",
    "containsCIDR",
    "containsIP",
    "distinct",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "exists",
    "exists_one",
    "family",
    "filter",
    "flatten",
    "format",
    "getEscapedPath",
    "getHost",
    "getHostname",
    "getPort",
    "getScheme",
    "hasValue",
    "indexOf",
    "int",
    "ip",
    "ip.isCanonical",
    "isCIDR",
    "isGlobalUnicast",
    "isGreaterThan",
    "isIP",
    "isInteger",
    "isLessThan",
    "isLinkLocalMulticast",
    "isLinkLocalUnicast",
    "isLoopback",
    "isQuantity",
    "isURL",
    "isUnspecified",
    "join",
    "lastIndexOf",
    "lists.range",
    "lowerAscii",
    "map",
    "masked",
    "max",
    "min",
    "optional.none",
    "optional.of",
    "optional.ofNonZeroValue",
    "or",
    "orValue",
    "prefixLength",
    "quantity",
    "replace",
    "reverse",
    "size",
    "slice",
    "sort",
    "split",
    "startsWith",
    "string",
    "strings.quote",
    "sub",
    "substring",
    "trim",
    "type",
    "uint",
    "upperAscii",
    "url",
    "value",
];

/// Whether a rule may call it. Names that begin with a sign are operators.
pub(super) fn is_known(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    !last.starts_with(|c: char| c.is_ascii_alphabetic()) || NAMES.contains(&name)
}

/// Compiles a literal pattern ahead of its first use.
pub(super) fn prepare(pattern: &str) -> Result<(), RegexError> {
    compiled(pattern).map(drop)
}

fn compiled(pattern: &str) -> Result<Regex, RegexError> {
    if let Some(regex) = PATTERNS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(pattern)
    {
        return Ok(regex.clone());
    }
    let regex = re2::compile(pattern)?;
    let mut patterns = PATTERNS.write().unwrap_or_else(PoisonError::into_inner);
    if patterns.len() < MAX_PATTERNS {
        patterns.insert(pattern.to_owned(), regex.clone());
    }
    Ok(regex)
}

fn pattern_of(pattern: &CelString<'_>) -> Result<Regex, ExecutionError> {
    compiled(pattern.inner()).map_err(|error| ExecutionError::function_error("matches", error))
}

fn matches(text: &CelString<'_>, pattern: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    Ok(pattern_of(pattern)?.is_match(text.inner()).into())
}

fn find(
    text: &CelString<'_>,
    pattern: &CelString<'_>,
) -> Result<CelString<'static>, ExecutionError> {
    let found = pattern_of(pattern)?.find(text.inner());
    Ok(String::from(found.map_or("", |range| &text.inner()[range])).into())
}

/// A Go duration in nanoseconds, which compares and subtracts as durations do.
fn duration(text: &CelString<'_>) -> Result<CelInt, ExecutionError> {
    let nanos = crate::go::duration_nanos(text.inner());
    nanos
        .map(CelInt::from)
        .ok_or_else(|| ExecutionError::function_error("duration", "invalid duration"))
}
