use std::sync::Arc;

use super::*;

fn apps() -> Value {
    let catalog = Catalog::builtin().unwrap();
    let types: Vec<Arc<ResourceType>> = catalog.of_version("apps", "v1").cloned().collect();
    document::write(&types, &|_| None)
}

#[test]
fn every_reference_leads_somewhere() {
    let document = apps();
    let schemas = document
        .pointer("/components/schemas")
        .unwrap()
        .as_object()
        .unwrap();
    let text = document.to_string();
    let names = text
        .split("#/components/schemas/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());

    let missing: Vec<&str> = names.filter(|name| !schemas.contains_key(*name)).collect();

    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn patches_take_field_validation_and_strategic_merges() {
    let document = apps();
    let patch =
        &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];

    assert_eq!(
        patch["x-kubernetes-group-version-kind"]["kind"],
        "Deployment"
    );
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(
        parameters
            .iter()
            .any(|parameter| parameter["name"] == "fieldValidation")
    );
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
}
