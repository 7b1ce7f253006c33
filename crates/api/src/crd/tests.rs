use std::path::Path;

use kthena_schema::Schema;
use serde_json::Value;

use super::{all, schemas, yaml};

/// The limit of the annotation that a client-side `kubectl apply` writes.
const APPLY_LIMIT: usize = 256 * 1024;

fn generated() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds/kthena-crds.yaml")
}

fn find(kind: &str) -> Value {
    all()
        .into_iter()
        .find(|crd| crd["spec"]["names"]["kind"] == kind)
        .expect("is one of the six")
}

/// Set `UPDATE_GENERATED=1` to write the file instead.
#[test]
fn the_generated_file_is_current() {
    let wanted = yaml();
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::create_dir_all(generated().parent().expect("has a folder"))
            .expect("can make the folder");
        std::fs::write(generated(), &wanted).expect("can write the file");
    }
    let found = std::fs::read_to_string(generated()).expect("the file exists");
    assert!(
        found == wanted,
        "deploy/crds/kthena-crds.yaml is stale: run this test with UPDATE_GENERATED=1"
    );
}

#[test]
fn all_six_parse() {
    for crd in all() {
        let schema = crd
            .pointer("/spec/versions/0/schema/openAPIV3Schema")
            .expect("has a schema");
        Schema::parse_resource(schema)
            .unwrap_or_else(|error| panic!("{}: {error}", crd["metadata"]["name"]));
    }
    assert_eq!(schemas().len(), 6);
}

#[test]
fn sg_p4_each_fits_a_client_side_apply() {
    for crd in all() {
        let size = crd.to_string().len();
        assert!(
            size < APPLY_LIMIT,
            "{} takes {size} bytes",
            crd["metadata"]["name"]
        );
    }
}

#[test]
fn names_columns_and_subresources() {
    let shown: Vec<Value> = all()
        .into_iter()
        .map(|crd| {
            let version = &crd["spec"]["versions"][0];
            serde_json::json!({
                "name": crd["metadata"]["name"],
                "group": crd["spec"]["group"],
                "scope": crd["spec"]["scope"],
                "names": crd["spec"]["names"],
                "columns": version["additionalPrinterColumns"],
                "subresources": version["subresources"],
                "required": version["schema"]["openAPIV3Schema"]["required"],
            })
        })
        .collect();
    insta::assert_yaml_snapshot!(shown);
}

/// Everything but the expanded pod templates and pod parts.
#[test]
fn schemas_without_pods() {
    for crd in all() {
        let mut schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        elide_pods(&mut schema);
        insta::assert_yaml_snapshot!(
            crd["spec"]["names"]["singular"]
                .as_str()
                .expect("has a name"),
            schema
        );
    }
}

fn elide_pods(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                let pod = value.pointer("/properties/containers").is_some();
                if pod
                    || matches!(
                        name.as_str(),
                        "affinity" | "env" | "envFrom" | "resources" | "tolerations"
                    )
                {
                    *value = Value::String("(of a pod)".to_owned());
                } else {
                    elide_pods(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(elide_pods),
        _ => {}
    }
}

#[test]
fn sg_p1_lists_of_a_pod_have_their_keys() {
    let schema = &schemas()["ModelServing"];
    let pod = schema
        .at(&["spec", "template", "roles", "entryTemplate", "spec"])
        .expect("is a pod");
    let keys = |steps: &[&str]| -> Vec<String> {
        pod.at(steps)
            .expect("is a list")
            .list_map_keys()
            .map(str::to_owned)
            .collect()
    };
    for list in [
        "containers",
        "initContainers",
        "ephemeralContainers",
        "volumes",
        "imagePullSecrets",
        "resourceClaims",
        "schedulingGates",
    ] {
        assert_eq!(keys(&[list]), ["name"], "{list}");
    }
    for containers in ["containers", "initContainers", "ephemeralContainers"] {
        assert_eq!(keys(&[containers, "env"]), ["name"]);
        assert_eq!(keys(&[containers, "ports"]), ["containerPort", "protocol"]);
        assert_eq!(keys(&[containers, "volumeMounts"]), ["mountPath"]);
        assert_eq!(keys(&[containers, "volumeDevices"]), ["devicePath"]);
        assert_eq!(keys(&[containers, "resources", "claims"]), ["name"]);
    }
    assert_eq!(
        keys(&["topologySpreadConstraints"]),
        ["topologyKey", "whenUnsatisfiable"]
    );
    assert_eq!(pod.properties().count(), 41);
}

#[test]
fn sg_p2_host_aliases_are_a_plain_list() {
    let pod = find("ModelServing");
    let aliases = pod
        .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/template/properties/roles/items/properties/entryTemplate/properties/spec/properties/hostAliases")
        .expect("is a list");
    assert!(aliases.get("x-kubernetes-list-type").is_none());
    assert!(aliases.get("x-kubernetes-list-map-keys").is_none());
}

#[test]
fn sg_p3_defaults_of_a_pod() {
    let pod = schemas()["ModelServing"]
        .at(&["spec", "template", "roles", "workerTemplate", "spec"])
        .expect("is a pod");
    let default = |steps: &[&str]| {
        pod.at(steps)
            .expect("exists")
            .default_value()
            .cloned()
            .expect("has a default")
    };
    assert_eq!(default(&["containers", "ports", "protocol"]), "TCP");
    assert_eq!(default(&["imagePullSecrets", "name"]), "");
    assert_eq!(
        default(&["containers", "env", "valueFrom", "configMapKeyRef", "name"]),
        ""
    );
    assert_eq!(
        default(&["containers", "env", "valueFrom", "secretKeyRef", "name"]),
        ""
    );
    assert_eq!(
        default(&["containers", "env", "valueFrom", "fileKeyRef", "optional"]),
        false
    );
    assert_eq!(
        default(&["containers", "livenessProbe", "grpc", "service"]),
        ""
    );
    assert_eq!(default(&["volumes", "azureDisk", "fsType"]), "ext4");
    assert_eq!(default(&["volumes", "azureDisk", "readOnly"]), false);
    assert_eq!(default(&["volumes", "iscsi", "iscsiInterface"]), "default");
    assert_eq!(default(&["volumes", "rbd", "keyring"]), "/etc/ceph/keyring");
    assert_eq!(default(&["volumes", "rbd", "pool"]), "rbd");
    assert_eq!(default(&["volumes", "rbd", "user"]), "admin");
    assert_eq!(default(&["volumes", "scaleIO", "fsType"]), "xfs");
    assert_eq!(
        default(&["volumes", "scaleIO", "storageMode"]),
        "ThinProvisioned"
    );
    assert!(
        pod.at(&["containers", "imagePullPolicy"])
            .expect("exists")
            .default_value()
            .is_none()
    );
}
