//! What containers see: variables, volumes, addresses of peers, devices, stand-ins for images.

use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use rstest::rstest;
use serde_json::json;

use crate::support::{
    Server, container, fixture, fixture_on, fixture_with, program, shell, waiting,
};

#[rstest]
#[case::real(Server::Real)]
#[case::in_process(Server::InProcess)]
#[tokio::test]
async fn variables_come_from_everywhere(#[case] server: Server) {
    let fixture = fixture_on(server, |_| {}).await;
    fixture
        .create::<ConfigMap>(
            json!({ "metadata": { "name": "settings" }, "data": { "color": "blue", "SIZE": "9" } }),
        )
        .await;
    fixture
        .create::<Secret>(
            json!({ "metadata": { "name": "keys" }, "stringData": { "token": "s3cret" } }),
        )
        .await;
    let mut main = shell(
        "main",
        "echo $COLOR $CFG_SIZE $TOKEN $NAME $APP $CPU \"$BOTH\" $NOTHING \"$0\"; exec sleep 1000",
    );
    main["args"] = json!(["$(BOTH)-$$(BOTH)-$(UNKNOWN)"]);
    main["resources"] = json!({ "limits": { "cpu": "1500m" } });
    main["envFrom"] = json!([{ "prefix": "CFG_", "configMapRef": { "name": "settings" } }]);
    main["env"] = json!([
        { "name": "COLOR", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "color" } } },
        { "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "keys", "key": "token" } } },
        { "name": "NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
        { "name": "APP", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels['app']" } } },
        { "name": "CPU", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } },
        { "name": "BOTH", "value": "$(COLOR)/$(NAME)" },
        { "name": "NOTHING", "valueFrom": { "secretKeyRef": { "name": "absent", "key": "x", "optional": true } } },
    ]);
    fixture.pod("vars", json!({ "containers": [main] })).await;

    let log = fixture.logged("vars", "blue").await;

    assert_eq!(
        log,
        "blue 9 s3cret vars vars 2 blue/vars blue/vars-$(BOTH)-$(UNKNOWN)\n"
    );
}

#[tokio::test]
async fn a_missing_config_map_is_waited_for() {
    let fixture = fixture().await;
    let mut main = shell("main", "echo got $VALUE; exec sleep 1000");
    main["env"] = json!([{ "name": "VALUE", "valueFrom": { "configMapKeyRef": { "name": "late", "key": "value" } } }]);
    fixture
        .pod("patient", json!({ "containers": [main] }))
        .await;
    let waits = |pod: &_| waiting(pod, "main") == Some("CreateContainerConfigError");
    fixture
        .wait("patient", "it waits for the ConfigMap", waits)
        .await;

    fixture
        .create::<ConfigMap>(json!({ "metadata": { "name": "late" }, "data": { "value": "it" } }))
        .await;

    fixture.logged("patient", "got it").await;
}

#[rstest]
#[case::real(Server::Real)]
#[case::in_process(Server::InProcess)]
#[tokio::test]
async fn volumes_are_folders_and_follow_their_config_map(#[case] server: Server) {
    let fixture = fixture_on(server, |config| {
        config.volume_refresh = std::time::Duration::from_millis(200);
    })
    .await;
    fixture
        .create::<ConfigMap>(json!({ "metadata": { "name": "files" }, "data": { "a.txt": "one" } }))
        .await;
    let script = "cat /etc/conf/a.txt; echo; cat $LABELS/name; echo; echo scratch > /scratch/x; cat /scratch/x; \
                  while [ \"$(cat /etc/conf/a.txt)\" = one ]; do sleep 0.05; done; echo $(cat /etc/conf/a.txt); exec sleep 1000";
    let mut main = shell("main", script);
    main["env"] = json!([{ "name": "LABELS", "value": "/etc/pod" }]);
    main["volumeMounts"] = json!([
        { "name": "conf", "mountPath": "/etc/conf" },
        { "name": "scratch", "mountPath": "/scratch" },
        { "name": "pod", "mountPath": "/etc/pod/" },
    ]);
    let field = json!({ "path": "name", "fieldRef": { "fieldPath": "metadata.name" } });
    let volumes = json!([
        { "name": "conf", "configMap": { "name": "files" } },
        { "name": "scratch", "emptyDir": {} },
        { "name": "pod", "projected": { "sources": [{ "downwardAPI": { "items": [field] } }] } },
    ]);
    fixture
        .pod(
            "volumes",
            json!({ "volumes": volumes, "containers": [main] }),
        )
        .await;
    assert_eq!(
        fixture.logged("volumes", "scratch").await,
        "one\nvolumes\nscratch\n"
    );

    let api: kube::Api<ConfigMap> =
        kube::Api::namespaced(fixture.client.clone(), &fixture.namespace);
    let patch = kube::api::Patch::Merge(json!({ "data": { "a.txt": "changed" } }));
    api.patch("files", &kube::api::PatchParams::default(), &patch)
        .await
        .unwrap();

    fixture.logged("volumes", "changed").await;
}

#[tokio::test]
async fn a_host_path_of_the_wrong_kind_is_named() {
    let fixture = fixture().await;
    let volumes =
        json!([{ "name": "host", "hostPath": { "path": "/no/such/folder", "type": "Directory" } }]);
    fixture
        .pod(
            "wrong-path",
            json!({ "volumes": volumes, "containers": [shell("main", "true")] }),
        )
        .await;

    fixture
        .event("wrong-path", "FailedMount", "/no/such/folder")
        .await;
}

#[rstest]
#[case::real(Server::Real)]
#[case::in_process(Server::InProcess)]
#[tokio::test]
async fn entry_and_worker_find_each_other(#[case] server: Server) {
    let fixture = fixture_on(server, |_| {}).await;
    let namespace = fixture.namespace.clone();
    let env = json!([{ "name": "ENTRY_ADDRESS", "value": format!("group-0-0.{namespace}") }]);
    let with_env = |script: &str| {
        let mut container = shell("main", script);
        container["env"] = env.clone();
        container
    };
    let mut worker = with_env("echo joins $ENTRY_ADDRESS \"$0\"; exec sleep 1000");
    worker["args"] = json!([format!(
        "tcp://$(ENTRY_ADDRESS):6379,http://router.{namespace}.svc.cluster.local/x"
    )]);
    fixture
        .pod("group-0-1", json!({ "containers": [worker] }))
        .await;
    fixture
        .event("group-0-1", "WaitingForAddress", "group-0-0")
        .await;

    fixture
        .create::<Service>(json!({
            "metadata": { "name": "router" },
            "spec": { "clusterIP": "None", "selector": { "app": "group-0-0" }, "ports": [{ "port": 80 }] },
        }))
        .await;
    fixture
        .pod(
            "group-0-0",
            json!({ "containers": [with_env("echo is $ENTRY_ADDRESS; exec sleep 1000")] }),
        )
        .await;

    let entry = fixture
        .ready("group-0-0")
        .await
        .status
        .unwrap()
        .pod_ip
        .unwrap();
    assert_eq!(
        fixture.logged("group-0-0", "is").await,
        format!("is {entry}\n")
    );
    let expected = format!("joins {entry} tcp://{entry}:6379,http://{entry}/x\n");
    assert_eq!(fixture.logged("group-0-1", "joins").await, expected);
}

#[tokio::test]
async fn an_engine_that_is_not_installed_is_simulated_on_the_address_of_the_pod() {
    let fixture = fixture_with(|config| {
        let stub = ["sh", "-c", "echo \"$@\"; exec sleep 1000", "engine"];
        config.engine_program = stub.iter().map(|word| (*word).to_owned()).collect();
    })
    .await;
    let main = json!({
        "name": "main",
        "image": "vllm/vllm-openai:v0.11.0",
        "command": ["sh", "-c", "vllm serve Qwen/Qwen3-8B --port 8000 --host 0.0.0.0 && true"],
    });
    fixture.pod("engine", json!({ "containers": [main] })).await;

    let address = fixture
        .ready("engine")
        .await
        .status
        .unwrap()
        .pod_ip
        .unwrap();

    let expected = format!("--dialect vllm Qwen/Qwen3-8B --port 8000 --host {address}\n");
    assert_eq!(fixture.logged("engine", "--dialect").await, expected);
    fixture
        .event("engine", "Started", "simulated vllm engine")
        .await;
}

#[tokio::test]
async fn a_helper_of_kthena_is_replaced_by_a_stand_in() {
    let fixture = fixture().await;
    let runtime = json!({
        "name": "runtime",
        "image": "ghcr.io/volcano-sh/kthena/runtime:latest",
        "args": ["--port", "8100"],
        "readinessProbe": { "httpGet": { "port": 8100, "path": "/health" } },
    });
    fixture
        .pod(
            "helped",
            json!({ "containers": [shell("main", "exec sleep 1000"), runtime] }),
        )
        .await;

    let pod = fixture.ready("helped").await;

    assert!(container(&pod, "runtime").unwrap().ready);
    fixture.event("helped", "Started", "stand-in").await;
}

#[tokio::test]
async fn a_busy_port_is_explained() {
    let fixture = fixture().await;
    let script = "echo 'OSError: [Errno 98] Address already in use' >&2; exit 1";
    fixture.script("clash", script).await;

    fixture.event("clash", "PortInUse", "--isolate").await;
}

#[tokio::test]
async fn isolated_pods_may_all_listen_on_all_addresses() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let fixture = fixture_with(|config| config.isolate = true).await;
    let mut main = shell("main", &format!("exec {} serve 0.0.0.0:8000 /", program()));
    main["readinessProbe"] =
        json!({ "httpGet": { "port": 8000, "path": "/" }, "periodSeconds": 1 });
    for name in ["one", "two"] {
        fixture.pod(name, json!({ "containers": [main] })).await;
    }

    let one = fixture.ready("one").await.status.unwrap().pod_ip;
    let two = fixture.ready("two").await.status.unwrap().pod_ip;

    assert!(one.as_ref().unwrap().starts_with("10.89."));
    assert_ne!(one, two);
}
