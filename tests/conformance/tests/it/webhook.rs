//! A refusal by our admission rules: on the real server a webhook gives it, on the embedded one the same rules in process.
//! A client must not see the difference.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kthena_api::admission::Rules;
use kthena_conformance::case::Only;
use kthena_testkit::objects;
use kube::api::PostParams;
use kube::{Api, Client};
use rstest::rstest;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio_rustls::TlsAcceptor;

use crate::{embedded, real, runtime};

const DEADLINE: Duration = Duration::from_mins(1);

/// What a webhook answers: the message of our rules and nothing else.
fn review(review: &Value) -> Value {
    let request = &review["request"];
    let rules = Rules::ALL
        .into_iter()
        .find(|rules| rules.kind() == request["kind"]["kind"])
        .unwrap();
    let old = Some(&request["oldObject"]).filter(|old| !old.is_null());
    let faults = rules.validate(&request["object"], old);
    let mut response = json!({"uid": request["uid"], "allowed": faults.is_empty()});
    if !faults.is_empty() {
        response["status"] = json!({"message": rules.message(&faults)});
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let answer = review(&serde_json::from_slice(&body).unwrap());
    let response = Response::builder().header("content-type", "application/json");
    Ok(response.body(Full::new(answer.to_string().into())).unwrap())
}

/// Serves the webhook and gives its address with the certificate that callers are to trust.
async fn serve() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                // The API server closes connections as it likes.
                drop(connection.await);
            });
        }
    });
    (address, made.cert.pem())
}

/// The namespace whose objects the webhook judges.
const NAMESPACE: &str = "webhook";

fn configuration(address: &str, certificate: &str) -> ValidatingWebhookConfiguration {
    let webhooks: Vec<Value> = Rules::ALL
        .into_iter()
        .map(|rules| {
            json!({
                "name": rules.webhook(),
                "clientConfig": {"url": address, "caBundle": ByteString(certificate.into())},
                "rules": [{
                    "apiGroups": [rules.group()], "apiVersions": ["v1alpha1"], "operations": ["CREATE", "UPDATE"],
                    "resources": [format!("{}s", rules.kind().to_lowercase()).replace("policys", "policies")],
                }],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
                "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            })
        })
        .collect();
    serde_json::from_value(
        json!({"metadata": {"name": "kthena-conformance"}, "webhooks": webhooks}),
    )
    .unwrap()
}

/// A server that applies the rules in one namespace, which is made here.
async fn judged(kind: Only) -> Client {
    static REAL: OnceCell<Client> = OnceCell::const_new();
    static EMBEDDED: OnceCell<Client> = OnceCell::const_new();
    let (server, shared) = match kind {
        Only::Real => (real::server().await, &REAL),
        Only::Embedded => (embedded::server().await, &EMBEDDED),
    };
    let client = shared.get_or_init(|| async {
        let client = server.client.clone();
        let namespace = serde_json::from_value(objects::namespace(NAMESPACE)).unwrap();
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        if kind == Only::Real {
            let (address, certificate) = serve().await;
            Api::all(client.clone())
                .create(
                    &PostParams::default(),
                    &configuration(&address, &certificate),
                )
                .await
                .unwrap();
        }
        client
    });
    client.await.clone()
}

async fn send(client: &Client, method: Method, path: &str, kind: &str, body: &Value) -> Value {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .body(kube::client::Body::from(body.to_string().into_bytes()))
        .unwrap();
    let answer = client.send(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

const SERVINGS: &str =
    "/apis/workload.serving.volcano.sh/v1alpha1/namespaces/webhook/modelservings";

fn serving(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "workload.serving.volcano.sh/v1alpha1", "kind": "ModelServing", "metadata": {"name": name},
        "spec": {"replicas": 1, "template": {"roles": [{
            "name": "serve", "workerReplicas": 0, "entryTemplate": {"spec": {"containers": [{"name": "c", "image": image}]}},
        }]}},
    })
}

fn denied() -> Value {
    let message = "admission webhook \"validate-workload-ai-v1alpha1-modelserving.volcano.sh\" denied the request: \
        validation failed:\n  - spec.template.roles[0].entryTemplate.spec.containers[0].image: Invalid value: \"a b\": \
        invalid container image reference: image cannot contain spaces";
    // No reason and no details: the webhook gives none.
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": 400})
}

/// The webhook of the real server takes a moment to count.
async fn refused(client: &Client, method: Method, path: &str, kind: &str, body: &Value) -> Value {
    let tried = async {
        loop {
            let answer = send(client, method.clone(), path, kind, body).await;
            if answer["kind"] == "Status" {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, tried).await.unwrap()
}

#[rstest]
#[case::real_server(Only::Real)]
#[case::embedded_server(Only::Embedded)]
fn a_denied_create_has_a_message_and_no_reason(#[case] kind: Only) {
    runtime().block_on(async {
        let client = judged(kind).await;
        let path = format!("{SERVINGS}?dryRun=All");
        let sent = serving("m", "a b");

        let answer = refused(&client, Method::POST, &path, "application/json", &sent).await;

        assert_eq!(answer, denied());
    });
}

#[rstest]
#[case::real_server(Only::Real)]
#[case::embedded_server(Only::Embedded)]
fn a_denied_update_looks_the_same_however_it_was_sent(#[case] kind: Only) {
    runtime().block_on(async {
        let client = judged(kind).await;
        let object = format!("{SERVINGS}/changed");
        let plain = "application/json";
        let held = send(&client, Method::POST, SERVINGS, plain, &serving("changed", "a")).await;
        let mut replaced = serving("changed", "a b");
        replaced["metadata"]["resourceVersion"] = held["metadata"]["resourceVersion"].clone();
        let patch = json!([{"op": "replace", "path": "/spec/template/roles/0/entryTemplate/spec/containers/0/image", "value": "a b"}]);

        let path = format!("{object}?dryRun=All");
        let put = refused(&client, Method::PUT, &path, plain, &replaced).await;
        let patched = refused(&client, Method::PATCH, &path, "application/json-patch+json", &patch).await;
        let path = format!("{path}&fieldManager=test&force=true");
        let applied = refused(&client, Method::PATCH, &path, "application/apply-patch+yaml", &serving("changed", "a b")).await;

        assert_eq!((&put, &patched, &applied), (&denied(), &denied(), &denied()));
    });
}
