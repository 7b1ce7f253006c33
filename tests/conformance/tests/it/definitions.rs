//! The definitions that the cases use, put on a server.

use kthena_testkit::crds;
use kube::Client;

/// Installs our six kinds, `PodGroup` and `LeaderWorkerSet`.
pub(crate) async fn install(client: &Client) {
    let ours = kthena_api::crd::all().into_iter();
    let mut definitions: Vec<_> = ours
        .map(|crd| serde_json::from_value(crd).unwrap())
        .collect();
    definitions.extend([crds::pod_group(), crds::leader_worker_set()]);
    crds::install(client, &definitions).await.unwrap();
}
