use clap::Parser;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    args: Args,
}

fn parse(flags: &[&str]) -> Result<Args, clap::Error> {
    let program = Program::try_parse_from(std::iter::once("explain").chain(flags.iter().copied()))?;
    Ok(program.args)
}

#[rstest]
#[case::nothing(&[])]
#[case::model_alone(&["--model=m"])]
#[case::prompt_alone(&["--prompt=p"])]
#[case::both_ways(&["-f", "body.json", "--model=m", "--prompt=p"])]
#[case::no_header(&["--model=m", "--prompt=p", "--header=gold"])]
#[case::nameless_header(&["--model=m", "--prompt=p", "--header", "=gold"])]
#[case::other_form(&["--model=m", "--prompt=p", "-o", "xml"])]
fn what_cannot_be_asked(#[case] flags: &[&str]) {
    assert!(parse(flags).is_err());
}

#[test]
fn a_chat_is_made_of_model_and_prompt() {
    let args = parse(&[
        "--model=m",
        "--prompt=say \"hi\"",
        "--header",
        "X-Tier: gold",
        "--header=a=b",
    ]);

    let asked: Value = serde_json::from_str(&question(&args.unwrap()).unwrap()).unwrap();

    assert_eq!(
        asked,
        json!({
            "path": "/v1/chat/completions",
            "headers": {"X-Tier": "gold", "a": "b"},
            "body": {"model": "m", "messages": [{"role": "user", "content": "say \"hi\""}]},
        })
    );
}

#[test]
fn a_file_is_sent_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("body.json");
    let body = r#"{"model":"m",  "prompt":"p","top_p":1.0000000000000000001}"#;
    std::fs::write(&path, body).unwrap();
    let args = parse(&["-f", path.to_str().unwrap(), "--path=/v1/completions"]).unwrap();

    let asked = question(&args).unwrap();

    assert!(asked.contains(body), "{asked}");
    std::fs::write(&path, "{").unwrap();
    assert!(question(&args).is_err());
}

#[test]
fn the_table() {
    let decision = json!({
        "model": "chat", "promptTokens": 3, "stream": false,
        "route": "ns/r", "rule": {"position": 1, "name": "gold"}, "server": "ns/s",
        "upstreamModel": "llama", "connector": null, "considered": 3,
        "pod": "s-0", "reason": "best score", "runnerUp": "s-1",
        "candidates": [
            {"pod": "s-0", "address": "10.0.0.1:8000", "score": 180, "inFlight": 2,
             "sampleAgeSeconds": 1.234, "prefill": null,
             "scores": [{"plugin": "prefix-cache", "score": 80, "weight": 1},
                        {"plugin": "least-request", "score": 50, "weight": 2}]},
            {"pod": "s-1", "address": "10.0.0.2:8000", "score": 100, "inFlight": 0, "scores": [],
             "prefill": {"pod": "p-0", "address": "10.0.0.3:8000", "score": 7, "inFlight": 1, "scores": []}},
        ],
        "leftOut": [{"pod": "s-2", "why": "ejected for 900 ms more"}],
    });

    let expected = "\
Model     chat
Route     ns/r
Rule      gold (rules[1])
Server    ns/s
Asks for  llama
Pod       s-0: best score; next would be s-1

   POD  ADDRESS        SCORE  IN FLIGHT  MEASURED   SCORES
*  s-0  10.0.0.1:8000  180    2          1.2 s ago  prefix-cache 80, least-request 50 x2
   s-1  10.0.0.2:8000  100    0          -
+  p-0  10.0.0.3:8000  7      1          -

Left out:
  s-2: ejected for 900 ms more
";
    assert_eq!(table::render(&decision), expected);
}

#[rstest]
#[case::of_few_models(json!({"models": ["a", "b"]}), "Models    a, b")]
#[case::of_no_models(json!({"models": []}), "Models    none has a route")]
#[case::of_many_models(
    json!({"models": vec!["m"; 12]}),
    "Models    m, m, m, m, m, m, m, m, m, m, and 2 more"
)]
#[case::by_rules(json!({"unmatched": ["ns/gold", "ns/free"]}), "Unmatched ns/gold, ns/free")]
fn a_refusal(#[case] mut decision: Value, #[case] last: &str) {
    decision["model"] = json!("x");
    decision["error"] =
        json!({"status": 404, "code": "model_not_found", "message": "route not found"});

    assert_eq!(
        table::render(&decision),
        format!("Model     x\nRefused   404 route not found\n{last}\n")
    );
}

#[test]
fn a_router_that_is_not_here_is_told_how_to_be_brought_here() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();

    let asked = runtime.block_on(ask(&format!("http://{nobody}"), "{}".to_owned()));

    let told = asked.unwrap_err().to_string();
    assert!(told.contains("kubectl port-forward"), "{told}");
}
