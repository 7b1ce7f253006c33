use serde_json::json;

use super::*;

fn server(name: &str, port: &serde_json::Value) -> ModelServer {
    let server = json!({
        "metadata": {"namespace": "ns", "name": name},
        "spec": {"workloadPort": port},
    });
    serde_json::from_value(server).unwrap()
}

#[test]
fn a_server_that_wants_tls_is_named_once() {
    let secure = |name| server(name, &json!({"port": 1, "protocol": "https"}));
    let plain = server("a", &json!({"port": 1, "protocol": "http"}));
    let mut unencrypted = Unencrypted::default();

    assert!(!unencrypted.note(&plain));
    assert!(!unencrypted.note(&server("a", &json!({"port": 1}))));
    assert!(unencrypted.note(&secure("a")));
    assert!(!unencrypted.note(&secure("a")), "it was said");
    assert!(unencrypted.note(&secure("b")), "another server");
    assert!(!unencrypted.note(&plain));
    assert!(
        unencrypted.note(&secure("a")),
        "it was changed and changed back"
    );
    unencrypted.forget(&plain.key());
    assert!(unencrypted.note(&secure("a")), "it was created anew");
}
