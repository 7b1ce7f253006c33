//! Tells the API server which authority vouches for the webhooks.
//!
//! Whoever installs the configurations anew empties that field, so it is looked at again and again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kthena_cluster::{ObjectKey, Target, WriteError, write};
use kube::Client;
use serde_json::{Value, json};

/// A webhook configuration of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configuration {
    /// It names webhooks that change objects; otherwise ones that judge them.
    pub mutates: bool,
    /// Its name.
    pub name: &'static str,
}

impl Configuration {
    /// Those that name the controller manager.
    pub const CONTROLLER_MANAGER: &'static [Self] = &[
        Self {
            mutates: false,
            name: "kthena-controller-manager-validating-webhook",
        },
        Self {
            mutates: true,
            name: "kthena-controller-manager-mutating-webhook",
        },
    ];

    /// That which names the router.
    pub const ROUTER: &'static [Self] = &[Self {
        mutates: false,
        name: "kthena-router-validating-webhook",
    }];

    fn target(self) -> Target {
        let (kind, plural) = if self.mutates {
            (
                "MutatingWebhookConfiguration",
                "mutatingwebhookconfigurations",
            )
        } else {
            (
                "ValidatingWebhookConfiguration",
                "validatingwebhookconfigurations",
            )
        };
        Target {
            api_version: "admissionregistration.k8s.io/v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }
}

/// Puts the authority into all webhooks of the configurations that there are.
pub(crate) async fn all(client: &Client, configurations: &[Configuration], authority: &str) {
    for configuration in configurations {
        match one(client, *configuration, authority).await {
            // Not installed, or changed by somebody else this moment: the next look decides.
            Ok(()) | Err(WriteError::NotFound | WriteError::Conflict { .. }) => {}
            Err(error) => {
                let name = configuration.name;
                tracing::warn!(%error, name, "the authority cannot be put into the webhook configuration");
            }
        }
    }
}

async fn one(
    client: &Client,
    configuration: Configuration,
    authority: &str,
) -> Result<(), WriteError> {
    let target = configuration.target();
    let key = ObjectKey::new("", configuration.name);
    let request = http::Request::get(target.object(&key)).body(Vec::new())?;
    let object: Value = client.request(request).await?;
    let Some(patch) = patch(&object, authority) else {
        return Ok(());
    };
    write::merge_patch(client, &target, &key, None, &patch)
        .await
        .map(|_| ())
}

/// A conditional patch; `None` if all webhooks have the authority.
fn patch(object: &Value, authority: &str) -> Option<Value> {
    let bundle = STANDARD.encode(authority);
    let webhooks = object.get("webhooks")?.as_array()?;
    let is_right = |webhook: &Value| webhook["clientConfig"]["caBundle"] == bundle;
    if webhooks.iter().all(is_right) {
        return None;
    }
    let mut webhooks = webhooks.clone();
    for webhook in &mut webhooks {
        webhook["clientConfig"]["caBundle"] = json!(bundle);
    }
    // Lists are replaced whole, so nobody may have changed it since.
    let version = &object["metadata"]["resourceVersion"];
    Some(json!({ "metadata": { "resourceVersion": version }, "webhooks": webhooks }))
}
