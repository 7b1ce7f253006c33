//! The admission webhooks beside the router: what they serve, from flags and environment.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use kthena_controllers_webhook::{Configuration, Endpoint, WebhookConfig};

use super::flags::Args;
use super::settings::flag;

/// Where the pod's namespace is told.
const NAMESPACE: &str = "POD_NAMESPACE";
/// How often certificates and configurations are looked at.
const INTERVAL: Duration = Duration::from_secs(15);
/// How long reading a request and writing its answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long open requests may go on after shutdown.
const GRACE: Duration = Duration::from_secs(30);

/// `None` if the webhooks are switched off.
pub(super) fn resolve(
    args: &Args,
    env: &impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Option<WebhookConfig>> {
    if flag("enable-webhook", args.enable_webhook.as_ref())? == Some(false) {
        return Ok(None);
    }
    let namespace = env(NAMESPACE).filter(|name| !name.is_empty());
    Ok(Some(WebhookConfig {
        listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, args.webhook_port.get())),
        endpoints: Endpoint::ROUTER,
        configurations: Configuration::ROUTER,
        namespace: namespace.unwrap_or_else(|| "default".to_owned()),
        secret: args.cert_secret_name.clone(),
        service: args.webhook_service_name.clone(),
        certificate: args.webhook_tls_cert_file.clone().into(),
        key: args.webhook_tls_private_key_file.clone().into(),
        timeout: TIMEOUT,
        interval: INTERVAL,
        grace: GRACE,
    }))
}
