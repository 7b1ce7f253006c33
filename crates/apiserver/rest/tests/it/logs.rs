//! The log subresource, fed by a made-up node agent.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use kthena_apiserver_rest::{LogError, LogOptions, LogStream, PodLogs};

use crate::support::TestServer;

/// Says which log was asked for.
#[derive(Debug)]
struct Echo;

impl PodLogs for Echo {
    fn open<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        let first = format!(
            "{namespace}/{pod}/{}\n",
            options.container.unwrap_or_default()
        );
        let lines = [Bytes::from(first), Bytes::from_static(b"second\n")];
        async move {
            if options.previous {
                return Err(LogError::BadRequest(
                    "previous terminated container not found".into(),
                ));
            }
            Ok(stream::iter(lines).boxed())
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_shows_what_the_agent_streams() {
    let test = TestServer::start().await;
    let pod = "
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {nodeName: here, containers: [{name: main, image: i}]}
";
    test.ok_with(&["apply", "-f", "-"], pod).await;
    let refused = test.fails(&["logs", "p"], "").await;
    assert!(refused.contains("no node agent offers logs"), "{refused}");

    test.server.set_pod_logs(Arc::new(Echo));

    assert_eq!(
        test.ok(&["logs", "p", "-f"]).await,
        "default/p/main\nsecond\n"
    );
    let refused = test.fails(&["logs", "p", "-c", "other"], "").await;
    assert!(
        refused.contains("container other is not valid for pod p"),
        "{refused}"
    );
    let refused = test.fails(&["logs", "p", "--previous"], "").await;
    assert!(
        refused.contains("previous terminated container not found"),
        "{refused}"
    );
    test.stop().await;
}
