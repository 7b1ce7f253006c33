//! The real kubectl over TLS.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::support::TestServer;

const POD: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
spec:
  containers:
  - name: main
    image: nginx:1.27
    ports: [{containerPort: 80}]
";

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: nginx:1.27
";

const ROUTE: &str = "
apiVersion: networking.serving.volcano.sh/v1alpha1
kind: ModelRoute
metadata:
  name: route
spec:
  modelName: m
  rules:
  - targetModels:
    - modelServerName: s
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applies_shows_edits_and_deletes_a_pod() {
    let test = TestServer::start().await;

    test.ok_with(&["apply", "-f", "-"], POD).await;
    let again = test.ok_with(&["apply", "-f", "-"], POD).await;
    assert!(again.contains("unchanged"), "{again}");
    let wide = test.ok(&["get", "pods", "-o", "wide"]).await;
    assert!(wide.contains("NODE") && wide.contains("web"), "{wide}");
    let yaml = test.ok(&["get", "pod", "web", "-o", "yaml"]).await;
    assert!(
        yaml.contains("restartPolicy: Always") && yaml.contains("qosClass: BestEffort"),
        "{yaml}"
    );
    let described = test.ok(&["describe", "pod", "web"]).await;
    assert!(described.contains("nginx:1.27"), "{described}");
    test.ok(&["label", "pod", "web", "tier=front"]).await;
    test.ok(&["annotate", "pod", "web", "note=one"]).await;
    test.ok(&[
        "patch",
        "pod",
        "web",
        "-p",
        r#"{"spec":{"containers":[{"name":"main","image":"nginx:1.28"}]}}"#,
    ])
    .await;
    let image = test
        .ok(&[
            "get",
            "pod",
            "-l",
            "tier=front",
            "-o",
            "jsonpath={.items[0].spec.containers[0].image}",
        ])
        .await;
    assert_eq!(image, "nginx:1.28");
    let refused = test
        .fails(
            &[
                "patch",
                "pod",
                "web",
                "-p",
                r#"{"spec":{"restartPolicy":"Never"}}"#,
            ],
            "",
        )
        .await;
    assert!(
        refused.contains("pod updates may not change fields other than"),
        "{refused}"
    );
    test.ok(&["delete", "pod", "web", "--wait"]).await;
    test.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_side_apply_and_strict_validation() {
    let test = TestServer::start().await;

    test.ok_with(&["apply", "--server-side", "-f", "-"], DEPLOYMENT)
        .await;
    let fields = test
        .ok(&[
            "get",
            "deployment",
            "web",
            "--show-managed-fields",
            "-o",
            "json",
        ])
        .await;
    assert!(fields.contains("\"operation\": \"Apply\""), "{fields}");
    let misspelt = DEPLOYMENT.replace("replicas:", "replica:");
    let refused = test.fails(&["apply", "-f", "-"], &misspelt).await;
    assert!(
        refused.contains("unknown field \"spec.replica\""),
        "{refused}"
    );
    let nobody = test
        .fails(
            &["apply", "-f", "-"],
            &DEPLOYMENT.replace("kind: Deployment", "kind: Deploy"),
        )
        .await;
    assert!(
        nobody.contains("no matches for kind \"Deploy\""),
        "{nobody}"
    );
    let dry = test
        .ok_with(
            &["apply", "--dry-run=server", "-f", "-"],
            &DEPLOYMENT.replace("name: web", "name: dry"),
        )
        .await;
    assert!(dry.contains("created (server dry run)"), "{dry}");
    test.fails(&["get", "deployment", "dry"], "").await;
    test.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scales_explains_and_lists_resources() {
    let test = TestServer::start().await;

    test.ok_with(&["apply", "-f", "-"], DEPLOYMENT).await;
    test.ok(&["scale", "deployment", "web", "--replicas=5"])
        .await;
    let replicas = test
        .ok(&[
            "get",
            "deployment",
            "web",
            "-o",
            "jsonpath={.spec.replicas}",
        ])
        .await;
    assert_eq!(replicas, "5");
    let explained = test
        .ok(&[
            "explain",
            "deployment.spec.template.spec.containers.livenessProbe",
        ])
        .await;
    assert!(
        explained.contains("FIELD: livenessProbe") && explained.contains("periodSeconds"),
        "{explained}"
    );
    let explained = test.ok(&["explain", "modelserving.spec.replicas"]).await;
    assert!(explained.contains("replicas"), "{explained}");
    let resources = test.ok(&["api-resources"]).await;
    assert!(
        resources.contains("modelservings") && resources.contains("endpointslices"),
        "{resources}"
    );
    let versions = test.ok(&["api-versions"]).await;
    assert!(
        versions.contains("workload.serving.volcano.sh/v1alpha1"),
        "{versions}"
    );
    test.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_kinds_are_defaulted_validated_and_admitted() {
    let test = TestServer::start().await;

    test.ok_with(&["apply", "-f", "-"], ROUTE).await;
    let weight = test
        .ok(&[
            "get",
            "modelroute",
            "route",
            "-o",
            "jsonpath={.spec.rules[0].targetModels[0].weight}",
        ])
        .await;
    assert_eq!(weight, "100");
    let renamed = test
        .fails(
            &["apply", "-f", "-"],
            &ROUTE.replace("modelName: m", "modelName: other"),
        )
        .await;
    assert!(renamed.contains("modelName is immutable"), "{renamed}");
    let zero = ROUTE
        .replace("modelServerName: s", "modelServerName: s\n      weight: 0")
        .replace("name: route", "name: zero");
    let denied = test.fails(&["create", "-f", "-"], &zero).await;
    assert!(
        denied.contains("admission webhook \"validate-modelroute.volcano.sh\" denied the request: validation failed:"),
        "{denied}"
    );
    test.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_for_a_condition_that_an_agent_reports() {
    let test = TestServer::start().await;
    test.ok_with(&["apply", "-f", "-"], POD).await;
    let pods: Api<Pod> = Api::default_namespaced(test.client());
    let ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });

    let report = async {
        pods.patch_status("web", &PatchParams::default(), &Patch::Strategic(ready))
            .await
            .unwrap();
    };
    let (waited, ()) = tokio::join!(
        test.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=20s"]),
        report
    );

    assert!(waited.contains("condition met"), "{waited}");
    test.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_goes_with_its_contents() {
    let test = TestServer::start().await;

    test.ok_with(
        &["create", "-f", "-"],
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n",
    )
    .await;
    test.ok_with(&["-n", "team", "apply", "-f", "-"], DEPLOYMENT)
        .await;
    test.ok_with(&["-n", "team", "apply", "-f", "-"], ROUTE)
        .await;
    test.ok(&["delete", "namespace", "team", "--wait", "--timeout=20s"])
        .await;

    let left = test
        .ok(&["get", "modelroutes,deployments", "-A", "-o", "name"])
        .await;
    assert_eq!(left, "");
    test.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_is_served_at_once_and_takes_its_objects_along() {
    let test = TestServer::start().await;
    let definition = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wi]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer, minimum: 0, default: 3}}}
          status: {type: object, properties: {size: {type: integer}}}
";
    test.ok_with(&["apply", "-f", "-"], definition).await;
    test.ok(&[
        "wait",
        "--for=condition=Established",
        "crd/widgets.example.org",
        "--timeout=20s",
    ])
    .await;
    let widget = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\nspec: {}\n";
    test.ok_with(&["apply", "-f", "-"], widget).await;
    let row = test.ok(&["get", "wi"]).await;
    assert!(row.contains("SIZE") && row.contains('3'), "{row}");
    test.ok(&["scale", "widget", "w", "--replicas=7"]).await;
    let refused = test
        .fails(
            &[
                "patch",
                "widget",
                "w",
                "--type=merge",
                "-p",
                r#"{"spec":{"size":-1}}"#,
            ],
            "",
        )
        .await;
    assert!(refused.contains("spec.size"), "{refused}");
    test.ok(&[
        "delete",
        "crd",
        "widgets.example.org",
        "--wait",
        "--timeout=20s",
    ])
    .await;
    test.fails(&["get", "widgets"], "").await;
    test.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_typed_clients_work_too() {
    let test = TestServer::start().await;

    test.ok(&["create", "namespace", "team"]).await;
    test.ok(&[
        "create",
        "secret",
        "generic",
        "key",
        "--from-literal=token=abc",
    ])
    .await;
    let token = test
        .ok(&["get", "secret", "key", "-o", "jsonpath={.data.token}"])
        .await;
    assert_eq!(token, "YWJj");
    test.ok(&[
        "create",
        "deployment",
        "web",
        "--image=nginx:1.27",
        "--replicas=3",
        "--port=80",
    ])
    .await;
    let port =
        "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].ports[0].containerPort}";
    assert_eq!(
        test.ok(&["get", "deployment", "web", "-o", port]).await,
        "3 80"
    );
    test.ok(&["expose", "deployment", "web", "--port=80"]).await;
    test.ok(&["create", "service", "clusterip", "other", "--tcp=5678:8080"])
        .await;
    let target = "jsonpath={.spec.ports[0].targetPort}";
    assert_eq!(
        test.ok(&["get", "service", "other", "-o", target]).await,
        "8080"
    );
    test.ok(&["run", "one", "--image=nginx:1.27"]).await;
    test.ok(&["create", "serviceaccount", "robot"]).await;
    test.ok(&["set", "image", "deployment/web", "nginx=nginx:1.28"])
        .await;
    test.ok(&[
        "delete",
        "deployment,service",
        "--all",
        "--cascade=foreground",
    ])
    .await;
    test.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_one_store_under_two_groups() {
    let test = TestServer::start().await;
    let event = "
apiVersion: events.k8s.io/v1
kind: Event
metadata: {name: e}
eventTime: 2026-01-01T00:00:00.000000Z
reportingController: tester
reportingInstance: here
action: Look
reason: Seen
type: Normal
note: something was seen
regarding: {apiVersion: v1, kind: Pod, name: p, namespace: default}
";
    test.ok_with(&["create", "-f", "-"], event).await;

    let shown = test
        .ok(&["get", "--raw", "/api/v1/namespaces/default/events/e"])
        .await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["message"], "something was seen");
    assert_eq!(shown["involvedObject"]["name"], "p");
    let listed = test
        .ok(&["get", "events", "--field-selector", "involvedObject.name=p"])
        .await;
    assert!(listed.contains("Seen"), "{listed}");
    test.stop().await;
}
