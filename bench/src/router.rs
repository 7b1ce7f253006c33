//! The router as a process of its own, told about engines that no API server knows.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use kthena_router_proxy::{
    AccessLogFormat, AccessLogOutput, PodFacts, Router, RouterConfig, SchedulingConfig,
    ScrapeConfig, View, read_configuration,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// What the router stands in front of.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) engine_port: u16,
    pub(crate) pods: u32,
    pub(crate) routes: u32,
    /// Whether engines are asked for their state.
    pub(crate) scrape: bool,
    /// The text of a configuration file, empty = defaults.
    pub(crate) configuration: String,
}

/// Serves for ever, with everything on that is on by default and what the fleet's configuration says.
pub(crate) async fn serve(listen: SocketAddr, fleet: Fleet, log: PathBuf) -> anyhow::Result<()> {
    let scheduling = SchedulingConfig {
        config: read_configuration(&fleet.configuration)?,
        file: None,
    };
    let config = RouterConfig {
        listen,
        scheduling,
        metrics_listen: None,
        expose_metrics: true,
        scrape: fleet.scrape.then(ScrapeConfig::default),
        access_log: Some((AccessLogFormat::Text, AccessLogOutput::File(log))),
        ..RouterConfig::default()
    };
    let bound = Router::bind(config).await?;
    let mut view = view(&fleet)?;
    bound.publisher().publish(view.snapshot());
    drop(view);
    Ok(bound.serve(CancellationToken::new()).await?)
}

fn view(fleet: &Fleet) -> anyhow::Result<View> {
    let Fleet {
        engine_port,
        pods,
        routes,
        ..
    } = *fleet;
    let mut view = View::default();
    let server = json!({
        "metadata": {"namespace": "default", "name": "server"},
        "spec": {"workloadSelector": {"matchLabels": {"app": "m"}}, "workloadPort": {"port": engine_port}},
    });
    view.apply_server(Arc::new(serde_json::from_value(server)?));
    for number in 0..routes {
        let model = if number == 0 {
            "m".to_owned()
        } else {
            format!("model-{number}")
        };
        let route = json!({
            "metadata": {"namespace": "default", "name": format!("route-{number}")},
            "spec": {"modelName": model, "rules": [{"targetModels": [{"modelServerName": "server"}]}]},
        });
        view.apply_route(&serde_json::from_value(route)?);
    }
    let first = u32::from(Ipv4Addr::LOCALHOST);
    for number in 0..pods {
        view.apply_pod(PodFacts {
            namespace: "default".to_owned(),
            name: format!("pod-{number}"),
            uid: format!("uid-{number}"),
            labels: [("app".to_owned(), "m".to_owned())].into(),
            ready: true,
            address: Some(IpAddr::V4(Ipv4Addr::from(first + number))),
            started_unix: None,
        });
    }
    Ok(view)
}
