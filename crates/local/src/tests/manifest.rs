use std::path::{Path, PathBuf};

use rstest::rstest;

use crate::manifest::{Manifest, ManifestFault, load, parse};

const TWO: &str = "\
# a comment
apiVersion: v1
kind: ConfigMap
metadata:
  name: first
---
---
apiVersion: v1
kind: Pod
metadata: {name: second, namespace: other}
spec:
  containers:
  - name: a
    image: x
  - name: b
    image: y
";

fn parsed(text: &str) -> (Vec<Manifest>, Vec<ManifestFault>) {
    let (mut manifests, mut faults) = (Vec::new(), Vec::new());
    parse(Path::new("file.yaml"), text, &mut manifests, &mut faults);
    (manifests, faults)
}

#[test]
fn each_document_is_an_object_and_empty_ones_are_none() {
    let (manifests, faults) = parsed(TWO);

    assert_eq!(faults, []);
    let names: Vec<_> = manifests
        .iter()
        .map(|m| (m.kind(), m.namespace(), m.name()))
        .collect();
    assert_eq!(
        names,
        [
            ("ConfigMap", "default", "first"),
            ("Pod", "other", "second")
        ]
    );
}

#[rstest]
#[case::a_key("spec.containers", 12)]
#[case::an_item("spec.containers[1]", 15)]
#[case::a_value_in_an_item("spec.containers[1].image", 16)]
#[case::a_flow_value("metadata.namespace", 10)]
#[case::a_field_that_is_missing("spec.containers[0].command", 13)]
#[case::nothing_near("status.phase", 8)]
fn a_fault_names_the_line_of_its_field(#[case] path: &str, #[case] line: usize) {
    let (manifests, _) = parsed(TWO);

    let fault = manifests[1].fault(path, "wrong");

    assert_eq!(fault.to_string(), format!("file.yaml:{line}: wrong"));
}

#[test]
fn every_bad_document_is_reported_with_its_line() {
    let (_, faults) = parsed("kind: A\n---\n- 1\n---\nkind: B\n---\na: b: c\n---\nx: [1\n");

    let text: Vec<_> = faults
        .iter()
        .map(|fault| (fault.line, fault.message.as_str()))
        .collect();
    assert_eq!(text.len(), 3, "{text:?}");
    assert_eq!(
        text[0],
        (Some(3), "not a Kubernetes object: a mapping is expected")
    );
    assert_eq!(text[1].0, Some(7));
    assert!(text[2].0 >= Some(9), "{text:?}");
}

#[test]
fn a_list_is_its_items() {
    let (manifests, faults) = parsed(
        "apiVersion: v1\nkind: List\nitems:\n- kind: A\n  metadata: {name: a}\n- kind: B\n  metadata:\n    name: b\n",
    );

    assert_eq!(faults, []);
    assert_eq!(
        manifests.iter().map(Manifest::kind).collect::<Vec<_>>(),
        ["A", "B"]
    );
    assert_eq!(manifests[1].fault("metadata.name", "wrong").line, Some(8));
}

#[test]
fn anchors_and_merge_keys_are_resolved() {
    let (manifests, faults) = parsed("base: &base {kind: A}\n<<: *base\nmetadata: {name: x}\n");

    assert_eq!(faults, []);
    assert_eq!(manifests[0].kind(), "A");
}

#[test]
fn a_folder_is_its_manifests_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (file, kind) in [("b.yaml", "B"), ("a.json", "A"), ("c.txt", "C")] {
        std::fs::write(
            folder.path().join(file),
            format!("{{\"kind\": \"{kind}\"}}"),
        )
        .unwrap();
    }

    let manifests = load(&[folder.path().to_owned()]).unwrap();

    assert_eq!(
        manifests.iter().map(Manifest::kind).collect::<Vec<_>>(),
        ["A", "B"]
    );
}

#[test]
fn each_file_that_cannot_be_read_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.yaml");

    let faults = load(&[
        missing.clone(),
        folder.path().to_owned(),
        PathBuf::from("/proc/1/mem"),
    ])
    .unwrap_err();

    let text: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(text.len(), 3, "{text:?}");
    assert!(
        text[0].starts_with(&format!("{}: No such file", missing.display())),
        "{text:?}"
    );
    assert!(
        text[1].ends_with("the folder holds no .yaml, .yml or .json file"),
        "{text:?}"
    );
}
