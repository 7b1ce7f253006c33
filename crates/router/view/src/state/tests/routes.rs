//! Routes by the names they answer for.

use serde_json::json;

use super::*;

fn route(name: &str, created: &str, spec: &serde_json::Value) -> ModelRoute {
    let meta = json!({"namespace": "ns", "name": name, "creationTimestamp": created});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

/// Key of the route that a plain request for `model` meets.
fn met(view: &mut View, model: &str) -> Option<String> {
    let snapshot = view.snapshot();
    let facts = kthena_router_routing::RouteFacts {
        model,
        path: b"/v1/chat/completions",
        headers: &kthena_router_routing::NoHeaders,
    };
    let selection = snapshot.routes.select(&facts, 0)?;
    Some(selection.route.key().to_string())
}

const RULES: &str = r#"[{"targetModels": [{"modelServerName": "s"}]}]"#;

#[test]
fn all_names_of_a_route_follow_its_edits() {
    let rules: serde_json::Value = serde_json::from_str(RULES).unwrap();
    let mut view = View::default();
    let spec = json!({"modelName": "m", "loraAdapters": ["a", "b"], "rules": rules});
    view.apply_route(&route("r", "2026-01-01T00:00:00Z", &spec));
    assert_eq!(met(&mut view, "b").as_deref(), Some("ns/r"));

    let spec = json!({"modelName": "m", "loraAdapters": ["c"], "rules": rules});
    view.apply_route(&route("r", "2026-01-01T00:00:00Z", &spec));
    assert_eq!(view.snapshot().routes.models(), ["c", "m"]);
    assert_eq!(met(&mut view, "a"), None);
    assert_eq!(met(&mut view, "c").as_deref(), Some("ns/r"));

    let spec = json!({"modelName": "m", "parentRefs": [{"name": "gw"}], "rules": rules});
    view.apply_route(&route("r", "2026-01-01T00:00:00Z", &spec));
    assert_eq!(met(&mut view, "m"), None, "it moved to a gateway");
}

#[test]
fn the_next_oldest_route_takes_over_a_name() {
    let rules: serde_json::Value = serde_json::from_str(RULES).unwrap();
    let spec = json!({"modelName": "m", "rules": rules});
    let mut view = View::default();
    view.apply_route(&route("young", "2026-01-02T00:00:00Z", &spec));
    view.apply_route(&route("old", "2026-01-01T00:00:00Z", &spec));
    assert_eq!(met(&mut view, "m").as_deref(), Some("ns/old"));

    view.delete_route("ns", "old");
    assert_eq!(met(&mut view, "m").as_deref(), Some("ns/young"));
    view.delete_route("other", "young");
    assert_eq!(met(&mut view, "m").as_deref(), Some("ns/young"));
    view.delete_route("ns", "young");
    assert_eq!(met(&mut view, "m"), None);
    assert!(view.snapshot().routes.models().is_empty());
}

#[test]
fn servers_of_a_model_are_found_through_its_routes() {
    let mut view = View::default();
    let mut spec = selecting(&[("app", "x")]);
    spec["model"] = json!("served");
    view.apply_server(server("s", &spec));
    view.apply_server(server("t", &selecting(&[("app", "x")])));
    let targets =
        json!([{"modelServerName": "s"}, {"modelServerName": "t"}, {"modelServerName": "gone"}]);
    let spec =
        json!({"modelName": "m", "loraAdapters": ["a"], "rules": [{"targetModels": targets}]});
    view.apply_route(&route("r", "2026-01-01T00:00:00Z", &spec));
    let snapshot = view.snapshot();
    let found = |model| -> Vec<(String, String)> {
        let servers = snapshot.servers_of(model);
        servers
            .map(|(server, served)| (server.key.to_string(), served.to_owned()))
            .collect()
    };
    let told = |server: &str, served: &str| (server.to_owned(), served.to_owned());

    assert_eq!(found("m"), [told("ns/s", "served"), told("ns/t", "m")]);
    assert_eq!(found("a"), [told("ns/s", "a"), told("ns/t", "a")]);
    assert!(found("stranger").is_empty());
}
