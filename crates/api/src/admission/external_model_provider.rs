//! Rules EP-V1 to EP-V5.

use kthena_schema::Fault;

use super::at::At;
use super::{go_url, invalid, names};

/// Headers that the router sets or that belong to a connection; compared in any case.
const RESERVED: [&str; 13] = [
    "Authorization",
    "Proxy-Authorization",
    "Cookie",
    "X-API-Key",
    "Host",
    "Content-Length",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Transfer-Encoding",
    "Upgrade",
    "Trailer",
    "TE",
];

pub(super) fn check(root: &At<'_>, faults: &mut Vec<Fault>) {
    let spec = root.field("spec");
    check_choice(
        &spec.field("providerType"),
        &["OpenAI", "Anthropic"],
        faults,
    );
    check_url(&spec.field("baseURL"), faults);
    for (name, value) in spec.field("headers").entries() {
        check_header(name, &value, faults);
    }
    let auth = spec.field("auth");
    if !auth.is_absent() {
        check_choice(&auth.field("scheme"), &["Bearer", "APIKey"], faults);
        check_secret(&auth.field("secretRef"), faults);
    }
}

fn check_choice(at: &At<'_>, supported: &[&str], faults: &mut Vec<Fault>) {
    if !at.text().is_empty() && !supported.contains(&at.text()) {
        faults.push(Fault::not_supported(at.path.clone(), at.text(), supported));
    }
}

fn check_url(at: &At<'_>, faults: &mut Vec<Fault>) {
    let detail = match go_url::parse(at.text()) {
        Some(url) if url.scheme == "https" && !url.host.is_empty() => {
            if !(url.has_user || url.has_query || url.has_fragment) {
                return;
            }
            "baseURL must not contain userinfo, query, or fragment"
        }
        _ => "baseURL must use https",
    };
    faults.push(invalid(at.path.clone(), at.text(), detail));
}

fn check_header(name: &str, value: &At<'_>, faults: &mut Vec<Fault>) {
    if !names::is_http_token(name) {
        faults.push(invalid(value.path.clone(), name, "header name is invalid"));
        return;
    }
    if RESERVED
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(name))
    {
        let detail = "header is reserved and cannot be configured as a static header";
        faults.push(invalid(value.path.clone(), name, detail));
    }
    if value.text().contains(['\r', '\n']) {
        faults.push(value.invalid("header value must not contain CR or LF"));
    }
}

fn check_secret(secret: &At<'_>, faults: &mut Vec<Fault>) {
    for (name, detail) in [
        ("name", "secret name is required"),
        ("key", "secret key is required"),
    ] {
        let at = secret.field(name);
        if at.text().is_empty() {
            faults.push(at.required(detail));
        }
    }
    let optional = secret.field("optional");
    if optional.flag() {
        faults.push(optional.invalid("optional must be false or unset"));
    }
}
