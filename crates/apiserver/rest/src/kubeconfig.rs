//! The kubeconfig that leads kubectl to this server.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

/// Name of cluster, user and context.
const NAME: &str = "kthena-local";

/// The file's text. JSON is YAML, and needs no quoting rules of its own.
pub(crate) fn text(address: SocketAddr, authority: &str, token: &str) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NAME,
        "clusters": [{
            "name": NAME,
            "cluster": {
                "server": format!("https://{address}"),
                "certificate-authority-data": STANDARD.encode(authority),
            },
        }],
        "users": [{ "name": NAME, "user": { "token": token } }],
        "contexts": [{
            "name": NAME,
            "context": { "cluster": NAME, "user": NAME, "namespace": "default" },
        }],
    });
    format!("{config:#}\n")
}
