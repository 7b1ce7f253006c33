//! The real kubectl against each server: what a person types must work alike.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use kthena_conformance::case::Only;
use kthena_testkit::control_plane;
use rstest::rstest;
use serde_json::Value;

use crate::{embedded, real, runtime};

/// kubectl for one server and one namespace.
struct Kubectl {
    kubeconfig: PathBuf,
    namespace: String,
    cache: tempfile::TempDir,
}

impl Kubectl {
    /// Makes the namespace with kubectl itself.
    fn new(kind: Only, namespace: &str) -> Self {
        let kubeconfig = runtime().block_on(async {
            match kind {
                Only::Embedded => embedded::kubeconfig().await,
                Only::Real => real::kubeconfig().await,
            }
        });
        let kubectl = Self {
            kubeconfig,
            namespace: namespace.to_owned(),
            cache: tempfile::tempdir().unwrap(),
        };
        kubectl.run(&["create", "namespace", namespace], "");
        kubectl
    }

    /// Runs kubectl with `input` and gives what it printed; it must succeed.
    fn run(&self, arguments: &[&str], input: &str) -> String {
        let (succeeded, text) = self.outcome(arguments, input);
        assert!(succeeded, "kubectl {arguments:?}: {text}");
        text
    }

    /// Runs kubectl, whether it succeeds or not.
    fn outcome(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let mut child = control_plane::kubectl()
            .unwrap()
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(self.cache.path())
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text.into_owned())
    }

    fn object(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[arguments, &["-o", "json"]].concat(), "")).unwrap()
    }
}

const SERVING: &str = "
apiVersion: workload.serving.volcano.sh/v1alpha1
kind: ModelServing
metadata: {name: m}
spec:
  replicas: 2
  template:
    roles:
    - name: serve
      replicas: 1
      workerReplicas: 0
      entryTemplate: {spec: {containers: [{name: c, image: one}]}}
";

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  replicas: 0
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec: {containers: [{name: c, image: one, ports: [{containerPort: 80}]}]}
";

#[rstest]
#[case::real_server(Only::Real)]
#[case::embedded_server(Only::Embedded)]
fn apply_creates_changes_and_leaves_alone(#[case] kind: Only) {
    let kubectl = Kubectl::new(kind, "kubectl-apply");

    let both = format!("{SERVING}---{DEPLOYMENT}");
    let first = kubectl.run(&["apply", "-f", "-"], &both);
    assert_eq!(
        first,
        "modelserving.workload.serving.volcano.sh/m created\ndeployment.apps/d created\n"
    );
    // kubectl replaces whole lists of custom resources, defaults and all, and calls that a change.
    let again = kubectl.run(&["apply", "-f", "-"], &both);
    assert_eq!(
        again,
        "modelserving.workload.serving.volcano.sh/m configured\ndeployment.apps/d unchanged\n"
    );
    let changed = kubectl.run(
        &["apply", "-f", "-"],
        &both.replace("image: one", "image: two"),
    );
    assert_eq!(
        changed,
        "modelserving.workload.serving.volcano.sh/m configured\ndeployment.apps/d configured\n"
    );
    let image = kubectl.run(
        &[
            "get",
            "deployment",
            "d",
            "-o",
            "jsonpath={.spec.template.spec.containers[0].image}",
        ],
        "",
    );
    assert_eq!(image, "two");
    let gone = kubectl.run(&["delete", "-f", "-"], &both);
    assert!(
        gone.contains("\"m\" deleted") && gone.contains("\"d\" deleted"),
        "{gone}"
    );
}

#[rstest]
#[case::real_server(Only::Real)]
#[case::embedded_server(Only::Embedded)]
fn apply_on_the_server_reports_conflicts(#[case] kind: Only) {
    let kubectl = Kubectl::new(kind, "kubectl-server-side");
    kubectl.run(&["apply", "--server-side", "-f", "-"], DEPLOYMENT);
    kubectl.run(&["scale", "deployment", "d", "--replicas", "3"], "");

    let (succeeded, text) = kubectl.outcome(&["apply", "--server-side", "-f", "-"], DEPLOYMENT);
    assert!(!succeeded);
    assert!(
        text.contains(
            "Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \"scale\""
        ),
        "{text}"
    );
    kubectl.run(
        &["apply", "--server-side", "--force-conflicts", "-f", "-"],
        DEPLOYMENT,
    );

    assert_eq!(
        kubectl.object(&["get", "deployment", "d"])["spec"]["replicas"],
        0
    );
}

#[rstest]
#[case::real_server(Only::Real)]
#[case::embedded_server(Only::Embedded)]
fn get_shows_the_columns(#[case] kind: Only) {
    let kubectl = Kubectl::new(kind, "kubectl-get");
    kubectl.run(&["apply", "-f", "-"], &format!("{SERVING}---{DEPLOYMENT}"));
    let heads = |arguments: &[&str]| {
        let text = kubectl.run(arguments, "");
        text.lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };

    assert_eq!(
        heads(&["get", "deployments"]),
        ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    );
    assert_eq!(
        heads(&["get", "pods"]),
        [
            "No",
            "resources",
            "found",
            "in",
            "kubectl-get",
            "namespace."
        ]
    );
    let servings = heads(&["get", "modelservings"]);
    assert_eq!(
        (
            servings.first().unwrap().as_str(),
            servings.last().unwrap().as_str()
        ),
        ("NAME", "AGE")
    );
    assert_eq!(
        kubectl.run(&["get", "modelserving", "m", "-o", "name"], ""),
        "modelserving.workload.serving.volcano.sh/m\n"
    );
    let (_, missing) = kubectl.outcome(&["get", "configmap", "nope"], "");
    assert_eq!(
        missing,
        "Error from server (NotFound): configmaps \"nope\" not found\n"
    );
}

#[rstest]
#[case::real_server(Only::Real)]
#[case::embedded_server(Only::Embedded)]
fn small_verbs_change_objects(#[case] kind: Only) {
    let kubectl = Kubectl::new(kind, "kubectl-verbs");
    kubectl.run(&["create", "configmap", "a", "--from-literal=k=v"], "");
    kubectl.run(&["label", "configmap", "a", "x=1"], "");
    kubectl.run(&["annotate", "configmap", "a", "y=2"], "");
    kubectl.run(
        &[
            "patch",
            "configmap",
            "a",
            "--type=merge",
            "-p",
            r#"{"data":{"k":"w"}}"#,
        ],
        "",
    );
    kubectl.run(&["apply", "-f", "-"], DEPLOYMENT);
    kubectl.run(&["set", "image", "deployment/d", "c=three"], "");
    kubectl.run(&["expose", "deployment", "d", "--port=80"], "");

    let object = kubectl.object(&["get", "configmap", "a"]);
    assert_eq!(object["data"]["k"], "w");
    assert_eq!(
        (
            &object["metadata"]["labels"]["x"],
            &object["metadata"]["annotations"]["y"]
        ),
        (&"1".into(), &"2".into())
    );
    let image = &kubectl.object(&["get", "deployment", "d"])["spec"]["template"]["spec"]["containers"]
        [0]["image"];
    assert_eq!(image, "three");
    assert_eq!(
        kubectl.object(&["get", "service", "d"])["spec"]["selector"]["app"],
        "d"
    );
    assert!(
        kubectl
            .run(&["describe", "deployment", "d"], "")
            .contains("Selector:               app=d")
    );
    kubectl.run(&["delete", "deployment,service", "--all", "--wait"], "");
    kubectl.run(
        &["wait", "--for=delete", "deployment/d", "--timeout=30s"],
        "",
    );
}

#[rstest]
#[case::real_server(Only::Real)]
#[case::embedded_server(Only::Embedded)]
fn kinds_and_fields_are_explained(#[case] kind: Only) {
    let kubectl = Kubectl::new(kind, "kubectl-explain");

    let kinds = kubectl.run(&["api-resources", "--no-headers", "-o", "name"], "");
    for wanted in [
        "modelservings.workload.serving.volcano.sh",
        "modelroutes.networking.serving.volcano.sh",
        "pods",
        "deployments.apps",
    ] {
        assert!(
            kinds.lines().any(|kind| kind == wanted),
            "{wanted} is not in {kinds}"
        );
    }
    let serving = kubectl.run(&["explain", "modelserving.spec.template.roles"], "");
    assert!(
        serving.contains("KIND:       ModelServing") && serving.contains("workerReplicas"),
        "{serving}"
    );
    let deployment = kubectl.run(&["explain", "deployment.spec"], "");
    assert!(
        deployment.contains("GROUP:      apps") && deployment.contains("selector"),
        "{deployment}"
    );
    let (succeeded, text) = kubectl.outcome(&["explain", "modelserving.spec.nope"], "");
    assert!(
        !succeeded && text.contains("field \"nope\" does not exist"),
        "{text}"
    );
    assert!(kubectl.run(&["version"], "").contains("Server Version: v"));
    // As kubectl did it before there was OpenAPI v3.
    let old = ["explain", "--output=plaintext-openapiv2"];
    let fields = |kind: &str| kubectl.run(&[&old[..], &[kind]].concat(), "");
    let (serving, strategy) = (
        fields("modelserving.spec.template.roles"),
        fields("deployment.spec.strategy"),
    );
    assert!(
        serving.contains("workerReplicas") && serving.contains("-required-"),
        "{serving}"
    );
    assert!(
        strategy.contains("rollingUpdate") && strategy.contains("<Object>"),
        "{strategy}"
    );
}

#[rstest]
#[case::real_server(Only::Real)]
#[case::embedded_server(Only::Embedded)]
fn mistakes_are_named(#[case] kind: Only) {
    let kubectl = Kubectl::new(kind, "kubectl-mistakes");

    let unknown = SERVING.replace("replicas: 2", "replicas: 2\n  nope: 1");
    let (succeeded, text) = kubectl.outcome(&["apply", "-f", "-"], &unknown);
    assert!(
        !succeeded && text.contains("strict decoding error: unknown field \"spec.nope\""),
        "{text}"
    );
    let (_, text) = kubectl.outcome(
        &["apply", "-f", "-"],
        &SERVING.replace("kind: ModelServing", "kind: ModelServant"),
    );
    assert!(text.contains("no matches for kind \"ModelServant\" in version \"workload.serving.volcano.sh/v1alpha1\""), "{text}");
    let (_, text) = kubectl.outcome(
        &["apply", "-f", "-"],
        &SERVING.replace("replicas: 2", "replicas: two"),
    );
    assert!(
        text.contains("spec.replicas: Invalid value: \"string\""),
        "{text}"
    );
    let dry = kubectl.run(&["apply", "--dry-run=server", "-f", "-"], SERVING);
    assert_eq!(
        dry,
        "modelserving.workload.serving.volcano.sh/m created (server dry run)\n"
    );
    let (succeeded, text) = kubectl.outcome(&["diff", "-f", "-"], SERVING);
    assert!(!succeeded && text.contains("+kind: ModelServing"), "{text}");
}

#[rstest]
#[case::real_server(Only::Real)]
#[case::embedded_server(Only::Embedded)]
fn rights_are_told(#[case] kind: Only) {
    let kubectl = Kubectl::new(kind, "kubectl-rights");

    assert_eq!(
        kubectl.run(&["auth", "can-i", "create", "pods"], ""),
        "yes\n"
    );
    let list = kubectl.run(&["auth", "can-i", "--list"], "");
    assert!(list.contains("*.*"), "{list}");
    let who = kubectl.run(&["auth", "whoami"], "");
    assert!(who.contains("system:masters"), "{who}");
}

#[test]
fn a_connection_to_a_pod_is_refused_with_what_to_do_instead() {
    let kubectl = Kubectl::new(Only::Embedded, "kubectl-exec");
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: node, containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}}";
    kubectl.run(&["apply", "-f", "-"], pod);
    let status = r#"{"status":{"phase":"Running","podIP":"127.0.0.2"}}"#;
    kubectl.run(
        &[
            "patch",
            "pod",
            "p",
            "--subresource=status",
            "--type=merge",
            "-p",
            status,
        ],
        "",
    );

    for (arguments, instead) in [
        (
            &["exec", "p", "--", "ls"][..],
            "run the command in a shell here",
        ),
        (&["attach", "p"], "kthena local logs"),
        (
            &["port-forward", "p", ":80"],
            "can be reached from this machine directly",
        ),
    ] {
        let (succeeded, text) = kubectl.outcome(arguments, "");
        assert!(
            !succeeded && text.contains(instead),
            "{arguments:?}: {text}"
        );
    }
}
