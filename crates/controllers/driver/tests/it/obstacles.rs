//! What others put in the way: finalizers, refusals of admission, definitions that come and go.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kthena_testkit::{ControlPlane, Part, crds, eventually, eventually_ok};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fixture::{Bench, SOON, role, serving, set_image};
use crate::killed::kubelet;

const HOLD: &str = "example.com/hold";

impl Bench {
    /// Puts finalizers on a pod, or takes them away.
    async fn finalize(&self, pod: &str, finalizers: &Value) {
        let patch = json!({ "metadata": { "finalizers": finalizers } });
        self.pods_api()
            .patch(pod, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("patched");
    }

    /// Waits until a true condition's message contains `text`.
    async fn told(&self, name: &str, text: &str) {
        eventually_ok(
            &format!("a condition that tells {text:?}"),
            SOON,
            || async {
                let conditions = self.status(name).await.conditions.unwrap_or_default();
                let mut messages = conditions
                    .into_iter()
                    .filter(|condition| condition.status == "True")
                    .map(|condition| condition.message);
                let all: Vec<String> = messages.by_ref().collect();
                if all.iter().any(|message| message.contains(text)) {
                    Ok(())
                } else {
                    Err(all)
                }
            },
        )
        .await
        .expect("told");
    }

    async fn pod(&self, name: &str) -> Option<Pod> {
        self.pods_api().get_opt(name).await.expect("an answer")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_a_finalizer_holds_is_waited_for_and_named() {
    let bench = Bench::without_kubelet().await;
    let mut beside = JoinSet::new();
    beside.spawn(kubelet(bench.client.clone()));
    let controller = bench.start();
    bench
        .apply(&serving("sample", 2, &[role("decode", 1, 0)]))
        .await;
    bench.ready("sample").await;
    let held = "sample-1-decode-0-0";
    bench.finalize(held, &json!([HOLD])).await;
    let before = bench.pod(held).await.expect("there").uid();

    bench
        .merge("sample", json!({ "spec": { "replicas": 1 } }))
        .await;
    bench.told("sample", HOLD).await;
    // Wanted again, its name is still taken.
    bench
        .merge("sample", json!({ "spec": { "replicas": 2 } }))
        .await;
    eventually("the change has been looked at", SOON, || async {
        let object = bench.servings().get("sample").await.ok()?;
        let seen = object.status?.observed_generation;
        (Some(seen) == object.metadata.generation).then_some(())
    })
    .await
    .unwrap();
    bench.told("sample", HOLD).await;
    assert_eq!(bench.pod(held).await.expect("held").uid(), before);

    bench.finalize(held, &json!(null)).await;
    bench.ready("sample").await;
    assert_ne!(bench.pod(held).await.expect("made again").uid(), before);
    controller.stop().await;
    beside.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_goes_no_further_than_its_budget_while_a_finalizer_holds_a_pod() {
    let bench = Bench::without_kubelet().await;
    let mut beside = JoinSet::new();
    beside.spawn(kubelet(bench.client.clone()));
    let controller = bench.start();
    let mut object = serving("sample", 2, &[role("decode", 1, 0)]);
    bench.apply(&object).await;
    bench.ready("sample").await;
    for pod in bench.live().await {
        bench.finalize(&pod, &json!([HOLD])).await;
    }
    let before = bench.pods().await;

    set_image(&mut object, "engine:2");
    bench.apply(&object).await;
    bench.told("sample", HOLD).await;

    let uids = |pods: &[Pod]| pods.iter().map(ResourceExt::uid).collect::<Vec<_>>();
    assert_eq!(uids(&bench.pods().await), uids(&before));
    assert_eq!(bench.live().await.len(), 1, "one may be missing");

    // One is let go, then the other, and each makes room for its successor.
    for _ in 0..2 {
        let held = eventually("a pod is asked to go", SOON, || async {
            let pods = bench.pods().await.into_iter();
            let held = |pod: &Pod| {
                pod.metadata.deletion_timestamp.is_some() && pod.metadata.finalizers.is_some()
            };
            pods.map(|pod| (held(&pod), pod.name_any()))
                .find_map(|(is_held, name)| is_held.then_some(name))
        })
        .await
        .unwrap();
        bench.finalize(&held, &json!(null)).await;
    }
    bench.ready("sample").await;
    controller.stop().await;
    beside.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r30_nothing_is_made_for_an_object_whose_deletion_waits_for_a_finalizer() {
    let bench = Bench::without_kubelet().await;
    let mut beside = JoinSet::new();
    beside.spawn(kubelet(bench.client.clone()));
    let controller = bench.start();
    bench
        .apply(&serving("doomed", 2, &[role("decode", 1, 1)]))
        .await;
    bench.ready("doomed").await;
    let held = "doomed-0-decode-0-1";
    bench.finalize(held, &json!([HOLD])).await;

    bench
        .servings()
        .delete("doomed", &DeleteParams::foreground())
        .await
        .unwrap();
    bench.only(&[held]).await;
    assert!(bench.servings().get("doomed").await.is_ok(), "it waits");
    // What is served beside it is served all the same, and the controller has had its turn.
    bench
        .apply(&serving("other", 1, &[role("decode", 1, 0)]))
        .await;
    bench.ready("other").await;
    bench.only(&[held, "other-0-decode-0-0"]).await;

    bench.finalize(held, &json!(null)).await;
    eventually("the object is gone", SOON, || async {
        let found = bench.servings().get_opt("doomed").await.ok()?;
        found.is_none().then_some(())
    })
    .await
    .unwrap();
    bench.only(&["other-0-decode-0-0"]).await;
    controller.stop().await;
    beside.shutdown().await;
}

/// Refuses pods of the `ModelServing` called `refused` in one namespace.
async fn refuse(client: &Client, namespace: &str) -> Api<ValidatingAdmissionPolicyBinding> {
    let name = format!("no-pods-{namespace}");
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": {
            "matchConstraints": { "resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
            }] },
            "validations": [{
                "expression": "!object.metadata.name.startsWith('refused-')",
                "message": "ask the platform team for a permit",
            }],
        },
    }))
    .expect("made");
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": {
            "policyName": name, "validationActions": ["Deny"],
            "matchResources": { "namespaceSelector": { "matchLabels": {
                "kubernetes.io/metadata.name": namespace,
            } } },
        },
    }))
    .expect("made");
    let policies = Api::all(client.clone());
    policies
        .create(&PostParams::default(), &policy)
        .await
        .expect("made");
    let bindings = Api::all(client.clone());
    bindings
        .create(&PostParams::default(), &binding)
        .await
        .expect("made");
    bindings
}

#[tokio::test(flavor = "multi_thread")]
async fn what_admission_refuses_is_told_in_its_words_and_holds_nobody_else_up() {
    let bench = Bench::new().await;
    let bindings = refuse(&bench.client, &bench.namespace).await;
    // A policy takes a moment to be in force.
    let trial: Pod = serde_json::from_value(json!({
        "metadata": { "name": "refused-trial" },
        "spec": { "containers": [{ "name": "engine", "image": "engine:1" }] },
    }))
    .unwrap();
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    eventually("the policy is in force", SOON, || async {
        bench.pods_api().create(&dry, &trial).await.err().map(drop)
    })
    .await
    .unwrap();
    let controller = bench.start();

    bench
        .apply(&serving("refused", 2, &[role("decode", 1, 0)]))
        .await;
    bench
        .apply(&serving("fine", 1, &[role("decode", 1, 0)]))
        .await;

    bench.ready("fine").await;
    let message = bench.event("FailedCreate").await;
    assert!(
        message.contains("ask the platform team for a permit"),
        "{message}"
    );
    assert!(message.contains("refused-0-decode-0-0"), "{message}");

    let name = format!("no-pods-{}", bench.namespace);
    bindings
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
    bench.ready("refused").await;
    controller.stop().await;
}

/// A control plane of its own: its definitions come and go.
#[tokio::test(flavor = "multi_thread")]
async fn the_kind_itself_may_come_late_and_go_for_a_while() {
    let plane = ControlPlane::start(&[Part::ControllerManager, Part::Scheduler, Part::Kwok])
        .await
        .expect("a control plane");
    let client = plane.client().await.expect("a client");
    plane.add_kwok_nodes(2).await.expect("nodes");
    let bench = Bench {
        client: client.clone(),
        namespace: "default".to_owned(),
    };
    let definitions: Vec<CustomResourceDefinition> = kthena_api::crd::all()
        .into_iter()
        .map(|definition| serde_json::from_value(definition).expect("a definition"))
        .collect();
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let controller = bench.start();

    for round in ["first", "second"] {
        crds::install(&client, &definitions)
            .await
            .expect("definitions");
        bench
            .apply(&serving(round, 1, &[role("decode", 1, 1)]))
            .await;
        bench.ready(round).await;
        if round == "second" {
            break;
        }

        let name = "modelservings.workload.serving.volcano.sh";
        api.delete(name, &DeleteParams::default())
            .await
            .expect("deleted");
        eventually("the definition is gone", SOON, || async {
            api.get_opt(name).await.ok()?.is_none().then_some(())
        })
        .await
        .expect("gone");
    }
    // Without the kind nobody could say whether its objects were gone. Now the garbage collector can.
    bench
        .only(&["second-0-decode-0-0", "second-0-decode-0-1"])
        .await;
    controller.stop().await;
}
