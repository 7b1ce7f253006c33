//! What lies between a client and an engine: TLS, HTTP/2, prefill and decode, a client that leaves.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use kthena_testkit::binary;
use rustix::process::Signal;
use serde_json::json;

use crate::machine::{Machine, chat, end, ended, example, until};

/// A router of its own, which watches the objects of a machine.
struct Router {
    program: Option<Child>,
    /// With `https://`.
    url: String,
    certificate: PathBuf,
}

impl Router {
    /// Starts a router that speaks TLS for `localhost`, and waits until it serves.
    fn start(machine: &Machine) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = machine.write("tls.crt", &made.cert.pem());
        let key = machine.write("tls.key", &made.signing_key.serialize_pem());
        // Taken together, so that no two are the same.
        let [port, metrics, debug] = [(); 3]
            .map(|()| TcpListener::bind("127.0.0.1:0").unwrap())
            .map(|listener| listener.local_addr().unwrap().port());
        let program = Command::new(binary::kthena().unwrap())
            .arg("router")
            .arg("--enable-webhook=false")
            .args([
                format!("--port={port}"),
                format!("--metrics-port={metrics}"),
            ])
            .arg(format!("--debug-port={debug}"))
            .arg(format!("--tls-cert={}", certificate.display()))
            .arg(format!("--tls-key={}", key.display()))
            .env("KUBECONFIG", machine.run(&["kubeconfig"]).stdout.trim())
            .env("SHUTDOWN_DELAY", "0s")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let router = Self {
            program: Some(program),
            url: format!("https://localhost:{port}"),
            certificate,
        };
        until("the router is ready", || {
            let ready = router.curl(&["--fail", "--silent", &format!("{}/readyz", router.url)]);
            ready.success.then_some(())
        });
        router
    }

    fn curl(&self, arguments: &[&str]) -> crate::machine::Ended {
        let output = Command::new("curl")
            .arg("--cacert")
            .arg(&self.certificate)
            .args(arguments)
            .output()
            .unwrap();
        ended(&output)
    }

    /// The checks of one OpenAI client.
    fn check(&self, language: &str) {
        let script = binary::repository().join("tests/clients/check.sh");
        let output = Command::new(script)
            .arg(language)
            .env("BASE_URL", format!("{}/v1", self.url))
            .env("MODEL", "chat")
            .env("EMBEDDING_MODEL", "embed")
            .env("SSL_CERT_FILE", &self.certificate)
            .env("NODE_EXTRA_CA_CERTS", &self.certificate)
            .output()
            .unwrap();
        let ended = ended(&output);
        assert!(ended.success, "{}{}", ended.stdout, ended.stderr);
    }

    fn stop(mut self) -> bool {
        end(self.program.take().unwrap(), Signal::TERM).success
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        if let Some(mut program) = self.program.take() {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

fn models() -> PathBuf {
    binary::repository().join("tests/clients/models.yaml")
}

/// A machine with the models of the clients' checks, which answer.
fn machine_with(manifests: &Path, models: &[&str]) -> (Machine, String) {
    let machine = Machine::new();
    let router = machine.up(manifests);
    until("every model", || {
        let answers = models
            .iter()
            .all(|model| chat(&router, model, &[]).0 != 503);
        answers.then_some(())
    });
    (machine, router)
}

#[test]
fn the_openai_clients_work_over_tls() {
    let (machine, _) = machine_with(&models(), &["chat", "embed"]);
    let router = Router::start(&machine);

    router.check("python");
    router.check("node");

    assert!(router.stop(), "the router did not end well");
}

#[test]
fn a_chat_is_streamed_over_http_2() {
    let (machine, _) = machine_with(&models(), &["chat"]);
    let router = Router::start(&machine);
    let body = json!({"model": "chat", "stream": true, "max_tokens": 20,
        "messages": [{"role": "user", "content": "Hello"}]});
    let url = format!("{}/v1/chat/completions", router.url);
    let body = body.to_string();
    let request = [
        "--http2",
        "--silent",
        "--no-buffer",
        "--json",
        &body,
        "-w",
        "%{http_version} %{http_code}",
        &url,
    ];

    let answer = router.curl(&request);

    assert!(answer.success, "{}{}", answer.stdout, answer.stderr);
    let (stream, told) = answer.stdout.rsplit_once('\n').unwrap();
    assert_eq!(told, "2 200");
    assert!(stream.ends_with("data: [DONE]\n"), "{stream}");
    assert!(stream.matches("data: {").count() > 10, "{stream}");
    assert!(router.stop(), "the router did not end well");
}

/// Samples of a metric, of all pods with a label, that have `part` among their labels, added up.
fn sum(machine: &Machine, label: &str, metric: &str, part: &str) -> f64 {
    let path = "jsonpath={.items[*].status.podIP}";
    let addresses = machine
        .kubectl(&["get", "pods", "-l", label, "-o", path])
        .stdout;
    let mut sum = 0.0;
    for address in addresses.split_whitespace() {
        let url = format!("http://{address}:8000/metrics");
        let page = Command::new("curl")
            .args(["--silent", &url])
            .output()
            .unwrap();
        let page = String::from_utf8(page.stdout).unwrap();
        let lines = page
            .lines()
            .filter(|line| line.starts_with(metric) && line.contains(part));
        sum += lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>();
    }
    sum
}

#[test]
fn an_engine_sees_that_a_client_left_in_the_middle() {
    let (machine, router) = machine_with(&example("quickstart"), &["qwen"]);
    let body = json!({"model": "qwen", "stream": true, "max_tokens": 4000, "ignore_eos": true,
        "messages": [{"role": "user", "content": "Hello"}]});
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut answer = runtime.block_on(async {
        let request = reqwest::Client::new().post(format!("{router}/v1/chat/completions"));
        request.json(&body).send().await.unwrap()
    });
    for _ in 0..3 {
        assert!(runtime.block_on(answer.chunk()).unwrap().is_some());
    }
    assert!(sum(&machine, "app=qwen", "vllm:num_requests_running", "") > 0.0);

    drop(answer);
    drop(runtime);

    until("the engine stopped", || {
        let running = sum(&machine, "app=qwen", "vllm:num_requests_running", "");
        (running == 0.0).then_some(())
    });
    let (ended, aborted) = ("vllm:request_success_total", "finished_reason=\"abort\"");
    let aborted = sum(&machine, "app=qwen", ended, aborted);
    assert!((aborted - 1.0).abs() < 1e-9, "{aborted}");
}

#[test]
fn a_chat_is_prefilled_in_one_pod_and_decoded_in_another() {
    let (machine, router) = machine_with(&example("prefill-decode"), &["qwen-pd"]);
    let done = "vllm:request_success_total";
    let halves = || ["stage=prefill", "stage=decode"].map(|label| sum(&machine, label, done, ""));
    let before = halves();

    let (status, body) = chat(&router, "qwen-pd", &[]);

    assert_eq!(status, 200, "{body}");
    assert_eq!(body["usage"]["completion_tokens"], 5, "{body}");
    let after = halves();
    for (before, after) in before.into_iter().zip(after) {
        assert!((after - before - 1.0).abs() < 1e-9, "{before} {after}");
    }
}
