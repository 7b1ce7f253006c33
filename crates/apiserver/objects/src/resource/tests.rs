use rstest::rstest;

use super::*;

#[rstest]
#[case::core("", "pods", "pods")]
#[case::group("apps", "deployments", "deployments.apps")]
fn resources_are_named_with_their_group(
    #[case] group: &str,
    #[case] resource: &str,
    #[case] shown: &str,
) {
    assert_eq!(GroupResource::new(group, resource).to_string(), shown);
}

#[rstest]
#[case::deployment("apps", "deployments", GenerationRule::Spec, true)]
#[case::config_map("", "configmaps", GenerationRule::None, false)]
#[case::lease("coordination.k8s.io", "leases", GenerationRule::None, false)]
#[case::slice(
    "discovery.k8s.io",
    "endpointslices",
    GenerationRule::AllButMetadata,
    false
)]
#[case::definition(
    "apiextensions.k8s.io",
    "customresourcedefinitions",
    GenerationRule::Spec,
    true
)]
fn built_in_rules(
    #[case] group: &str,
    #[case] resource: &str,
    #[case] generation: GenerationRule,
    #[case] status: bool,
) {
    let rules = Resource::builtin(group, resource, "X", Scope::Namespaced);
    assert_eq!((rules.generation, rules.status), (generation, status));
    assert!(!rules.is_custom());
}

#[test]
fn custom_resources_follow_their_definition() {
    let rules = Resource::custom("x.io", "ws", "W", Scope::Cluster, false, &[".spec.a.b"]);
    assert!(
        rules.is_custom() && !rules.is_namespaced() && !rules.status && !rules.unconditional_update
    );
    assert_eq!(rules.fields[0].label.as_ref(), "spec.a.b");
}
