use rstest::rstest;

use super::*;

fn path(
    group: &str,
    version: &str,
    namespace: Option<&str>,
    resource: &str,
    name: Option<&str>,
    subresource: Option<&str>,
) -> Target {
    Target::Resource(ResourcePath {
        group: group.into(),
        version: version.into(),
        resource: resource.into(),
        namespace: namespace.map(Into::into),
        name: name.map(Into::into),
        subresource: subresource.map(Into::into),
        watch: false,
    })
}

#[rstest]
#[case::root("/", Target::Root)]
#[case::core_versions("/api", Target::CoreVersions)]
#[case::trailing_slash("/apis/", Target::GroupList)]
#[case::group("/apis/apps", Target::Group("apps".into()))]
#[case::core_resources("/api/v1", Target::ResourceList { group: String::new(), version: "v1".into() })]
#[case::openapi_index("/openapi/v3", Target::OpenApiV3(String::new()))]
#[case::openapi_group("/openapi/v3/apis/apps/v1", Target::OpenApiV3("apis/apps/v1".into()))]
#[case::health_check("/livez/ping", Target::Health)]
#[case::readiness_check("/readyz/ping", Target::Ready)]
#[case::unknown("/metrics", Target::Unknown)]
#[case::all_pods("/api/v1/pods", path("", "v1", None, "pods", None, None))]
#[case::pods_of_a_namespace(
    "/api/v1/namespaces/a/pods",
    path("", "v1", Some("a"), "pods", None, None)
)]
#[case::pod_log(
    "/api/v1/namespaces/a/pods/p/log",
    path("", "v1", Some("a"), "pods", Some("p"), Some("log"))
)]
#[case::namespace_object(
    "/api/v1/namespaces/a",
    path("", "v1", None, "namespaces", Some("a"), None)
)]
#[case::namespace_finalize(
    "/api/v1/namespaces/a/finalize",
    path("", "v1", None, "namespaces", Some("a"), Some("finalize"))
)]
#[case::a_pod_called_status(
    "/api/v1/namespaces/a/pods/status",
    path("", "v1", Some("a"), "pods", Some("status"), None)
)]
#[case::cluster_scoped(
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/x.y/status",
    path(
        "apiextensions.k8s.io",
        "v1",
        None,
        "customresourcedefinitions",
        Some("x.y"),
        Some("status")
    )
)]
#[case::escaped_name(
    "/apis/g/v1/namespaces/a/things/a%3Ab",
    path("g", "v1", Some("a"), "things", Some("a:b"), None)
)]
fn sorts_paths(#[case] url: &str, #[case] expected: Target) {
    assert_eq!(parse(url), expected);
}

#[rstest]
#[case::plain("abc", "abc")]
#[case::escapes("a%20b%2fc", "a b/c")]
#[case::broken_escape_stays("100%", "100%")]
#[case::escape_before_a_wide_character("%2é", "%2é")]
fn decodes_percent(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(percent_decode(text), expected);
}

#[test]
fn the_old_watch_prefix_is_taken_off() {
    let Target::Resource(path) = parse("/api/v1/watch/namespaces/a/pods") else {
        panic!("not a resource");
    };

    assert!(path.watch);
    assert_eq!(
        (path.namespace.as_deref(), path.resource.as_str()),
        (Some("a"), "pods")
    );
}
