//! Local mode places by what engines say they hold, and as the router's ConfigMap says.

use std::ffi::OsStr;

use serde_json::{Value, json};

use crate::machine::{Machine, PATIENCE, chat, example, until};

/// Where a prompt went, and the router's account of it.
struct Told {
    pod: String,
    account: Value,
}

impl Told {
    /// What a plugin gave to the pod that answered.
    fn mark(&self, plugin: &str) -> Option<i64> {
        self.of_pod(&self.pod, plugin)
    }

    /// Tokens of the prompt that the engine that answered held before.
    fn cached_tokens(&self) -> Option<u64> {
        self.candidate(&self.pod)?["cachedTokens"].as_u64()
    }

    fn candidate(&self, pod: &str) -> Option<&Value> {
        let candidates = self.account["candidates"].as_array()?;
        candidates.iter().find(|candidate| candidate["pod"] == pod)
    }

    fn of_pod(&self, pod: &str, plugin: &str) -> Option<i64> {
        let own = self.candidate(pod)?;
        let scores = own["scores"].as_array().unwrap();
        let score = scores.iter().find(|score| score["plugin"] == plugin)?;
        score["score"].as_i64()
    }
}

/// Asks for the continuation of a prompt; `None` = it was not answered.
fn ask(router: &str, prompt: &str) -> Option<Told> {
    let body = json!({"model": "cached", "max_tokens": 2, "prompt": prompt});
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let response = reqwest::Client::new()
            .post(format!("{router}/v1/completions"))
            .header("x-kthena-explain", "json")
            .timeout(PATIENCE)
            .json(&body)
            .send()
            .await
            .ok()?;
        let account = response.headers().get("x-kthena-explain")?.to_str().ok()?;
        let account: Value = serde_json::from_str(account).unwrap();
        let pod = account["pod"].as_str()?.to_owned();
        response
            .status()
            .is_success()
            .then_some(Told { pod, account })
    })
}

/// Some hundred tokens that begin unlike others.
fn prompt(topic: &str) -> String {
    format!("Everything about {topic}. ").repeat(60)
}

fn configured(plugins: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kthena-router-config"},
        "data": {"routerConfiguration": format!("scheduler: {{plugins: {{Score: {{enabled: [{plugins}]}}}}}}")},
    })
    .to_string()
}

#[test]
fn a_prompt_goes_to_the_engine_that_says_it_holds_it() {
    let machine = Machine::new();
    let router = machine.up(&example("cache-aware"));
    until("an answer", || {
        (chat(&router, "cached", &[]).0 == 200).then_some(())
    });

    for topic in ["rivers", "mountains", "deserts"] {
        let prompt = prompt(topic);
        let first = until("an answer", || ask(&router, &prompt));
        // Until its engine has told, and on a busy machine until tokens come in time, the prompt counts as new anywhere.
        let known = until("the prompt is known to be cached", || {
            let told = ask(&router, &prompt)?;
            told.mark("kvcache-aware")
                .is_some_and(|mark| mark > 50)
                .then_some(told)
        });
        assert!(
            known.cached_tokens() > Some(100),
            "the tokens that it holds are told: {}",
            known.account
        );
        let others = ["cached-0-server-0-0", "cached-1-server-0-0"];
        assert!(others.contains(&first.pod.as_str()), "{}", first.account);
        assert!(others.contains(&known.pod.as_str()), "{}", known.account);
    }

    // The same prompt with another end: its beginning decides.
    let begun = until("an answer", || ask(&router, &prompt("islands")));
    for end in ["How many?", "Where?", "Since when?", "Whose?"] {
        let longer = format!("{}{end}", prompt("islands"));
        until("it goes to who holds its beginning", || {
            let told = ask(&router, &longer)?;
            let other = told.account["runnerUp"].as_str()?.to_owned();
            let (own, other) = (
                told.mark("kvcache-aware")?,
                told.of_pod(&other, "kvcache-aware")?,
            );
            (told.pod == begun.pod && own > 50 && other == 0).then_some(())
        });
    }
}

#[test]
fn the_routers_config_map_is_checked_and_followed() {
    let machine = Machine::new();
    let router = machine.up(&example("quickstart"));
    until("an answer", || {
        (chat(&router, "qwen", &[]).0 == 200).then_some(())
    });
    let apply = |plugins: &str| {
        let path = machine.write("router.json", &configured(plugins));
        machine.run(&[OsStr::new("apply"), "-f".as_ref(), path.as_ref()])
    };

    let refused = apply("{name: clairvoyant, weight: 1}");
    assert!(!refused.success, "{}", refused.stdout);
    assert!(
        refused
            .stderr
            .contains("router.json:1: scheduler.plugins.Score: "),
        "{}",
        refused.stderr
    );

    let taken = apply("{name: gpu-usage, weight: 1}");
    assert!(taken.success, "{}", taken.stderr);
    let explained = |plugin: &str| {
        until("the scheduler was changed", || {
            let mut command = std::process::Command::new(kthena_testkit::binary::kthena().unwrap());
            command
                .args(["explain", "--model", "qwen", "--prompt", "hi"])
                .env("KUBECONFIG", machine.state_dir().join("kubeconfig"))
                .env("KTHENA_STATE_DIR", machine.state_dir());
            let said = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
            said.contains(plugin).then_some(())
        });
    };
    explained("gpu-usage");

    assert!(machine.run(&["down"]).success);
    machine.run(&["up", "-d", "--port=0"]);
    explained("gpu-usage");
}
