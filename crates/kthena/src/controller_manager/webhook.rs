//! The admission webhooks beside the controllers: what they serve, from the flags.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use kthena_controllers_webhook::{Configuration, Endpoint, WebhookConfig};

use super::Args;

/// Where the pod's namespace is told.
const NAMESPACE: &str = "POD_NAMESPACE";
/// How often certificates and configurations are looked at.
const INTERVAL: Duration = Duration::from_secs(15);
/// How long open requests may go on after shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// `None` if the webhooks are switched off.
pub(super) fn resolve(args: &Args) -> Option<WebhookConfig> {
    if !args.enable_webhook {
        return None;
    }
    let namespace = std::env::var(NAMESPACE).ok();
    Some(WebhookConfig {
        listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, args.port)),
        endpoints: Endpoint::CONTROLLER_MANAGER,
        configurations: Configuration::CONTROLLER_MANAGER,
        namespace: namespace
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "default".to_owned()),
        secret: args.cert_secret_name.clone(),
        service: args.service_name.clone(),
        certificate: args.tls_cert_file.clone(),
        key: args.tls_private_key_file.clone(),
        timeout: Duration::from_secs(args.webhook_timeout.max(1).into()),
        interval: INTERVAL,
        grace: GRACE,
    })
}
