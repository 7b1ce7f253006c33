use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use proptest::prelude::*;
use rstest::rstest;

use super::command::{Choice, EngineMode, Kind, Offer, Refusal, Wanted, choose};
use super::engine::script_on_address;
use super::expand::expand;
use super::mounts::{Mount, rewrite};
use super::names;
use crate::plan::wish::Part;

#[rstest]
#[case::plain("plain", "plain")]
#[case::known("a $(A) b", "a 1 b")]
#[case::unknown_stays("$(NOPE)", "$(NOPE)")]
#[case::escaped("$$(A)", "$(A)")]
#[case::twice_escaped("$$$(A)", "$1")]
#[case::shell_variable_stays("$A ${A}", "$A ${A}")]
#[case::unclosed("$(A", "$(A")]
#[case::dollar_at_the_end("cost $", "cost $")]
#[case::empty_value("[$(EMPTY)]", "[]")]
#[case::value_is_not_expanded_again("$(REF)", "$(A)")]
fn references(#[case] text: &str, #[case] expected: &str) {
    let values = [("A", "1"), ("EMPTY", ""), ("REF", "$(A)")];
    let value = |name: &str| {
        values
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    };

    assert_eq!(expand(text, value), expected);
}

proptest! {
    #[test]
    fn texts_without_dollars_are_left_alone(text in "[^$]*") {
        prop_assert_eq!(expand(&text, |_| Some("x")), text);
    }

    #[test]
    fn nothing_is_replaced_when_nothing_is_known(text in "[a-z/.: -]{0,40}") {
        prop_assert_eq!(names::replace(&text, &BTreeMap::new()), text.clone());
        prop_assert_eq!(rewrite(&text, &[]), text);
    }

    #[test]
    fn an_escaped_text_comes_out_as_it_was(text in "[a-zA-Z()$ ]{0,40}") {
        prop_assert_eq!(expand(&text.replace('$', "$$"), |_| Some("x")), text);
    }
}

#[rstest]
#[case::whole("/data", "/vol/data")]
#[case::below("/data/x/y", "/vol/data/x/y")]
#[case::after_flag("--dir=/data/x", "--dir=/vol/data/x")]
#[case::in_a_list("/data:/data/in", "/vol/data:/vol/deep")]
#[case::in_a_script(
    "cd \"/data\" && ls '/data/in/z'",
    "cd \"/vol/data\" && ls '/vol/deep/z'"
)]
#[case::longer_name("/database", "/database")]
#[case::below_another_path("/mnt/data", "/mnt/data")]
#[case::relative("some/data", "some/data")]
#[case::url("http://host/data", "http://host/data")]
#[case::file_url("file:///data/x", "file:///data/x")]
fn mount_paths(#[case] text: &str, #[case] expected: &str) {
    let mounts: Vec<Mount> = [("/data", "/vol/data"), ("/data/in/", "/vol/deep")]
        .into_iter()
        .filter_map(|(inside, outside)| Mount::new(inside, Path::new(outside)))
        .collect();

    assert_eq!(rewrite(text, &mounts), expected);
}

#[test]
fn a_host_path_at_its_own_place_needs_no_mount() {
    assert_eq!(Mount::new("/srv/models/", Path::new("/srv/models")), None);
}

#[rstest]
#[case::own_namespace("entry-0.prod:6379", &["entry-0.prod"], false)]
#[case::service_suffix("http://api.other.svc:80/x", &["api.other.svc"], true)]
#[case::full_name("api.other.svc.cluster.local", &["api.other.svc.cluster.local"], true)]
#[case::pod_of_a_service("w-1.group.prod", &["w-1.group.prod"], false)]
#[case::bare_host_of_a_url("redis://cache:6379", &["cache"], false)]
#[case::other_namespace_without_suffix("file.json", &[], false)]
#[case::model_name("Qwen/Qwen2.5-7B-Instruct", &[], false)]
#[case::version("v1.2.prod", &["v1.2.prod"], false)]
#[case::address("127.0.0.1:8000", &[], false)]
#[case::public_host("https://huggingface.co/x", &[], false)]
fn names_in_texts(#[case] text: &str, #[case] expected: &[&str], #[case] certain: bool) {
    let found = names::find(text, "prod", None);

    if text.starts_with("v1.2") {
        // A label of digits only is not a Service.
        assert!(found.is_empty());
        return;
    }
    assert_eq!(
        found
            .iter()
            .map(|name| name.text.as_str())
            .collect::<Vec<_>>(),
        expected
    );
    assert!(found.iter().all(|name| name.certain == certain));
}

#[test]
fn the_entry_address_is_certain_wherever_it_points() {
    let found = names::find("tcp://g-0-0.far:1", "prod", Some("g-0-0.far"));

    let name = found.first().unwrap();
    assert_eq!(
        (name.namespace.as_str(), name.name.as_str(), name.certain),
        ("far", "g-0-0", true)
    );
}

#[test]
fn only_whole_names_are_replaced() {
    let addresses = BTreeMap::from([("a.prod".to_owned(), IpAddr::from([127, 64, 0, 9]))]);

    let text = names::replace(
        "a.prod:1,xa.prod,a.prod.org http://a.prod./ a.prod",
        &addresses,
    );

    assert_eq!(
        text,
        "127.64.0.9:1,xa.prod,a.prod.org http://127.64.0.9./ 127.64.0.9"
    );
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Chooses for a main container on a machine that has `programs`.
fn chosen(
    mode: EngineMode,
    programs: &[&str],
    (image, command, args): (&str, &[&str], &str),
) -> Result<Choice, Refusal> {
    let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    let args = words(args);
    let wanted = Wanted {
        image,
        command: &command,
        args: &args,
        part: Part::Main,
        address: Some(IpAddr::from([127, 64, 0, 7])),
        stand_in: false,
    };
    let on_path = |program: &str| programs.contains(&program);
    let offer = Offer {
        mode,
        simulated: &words("kthena engine"),
        shim: &words("kthena node-shim"),
        on_path: &on_path,
        variable: &|name| (name == "PORT").then_some("9000"),
    };
    choose(&wanted, &offer)
}

const VLLM: &str = "vllm/vllm-openai:v0.11.0";
const SGLANG: &str = "lmsysorg/sglang:v0.5";
const SIMULATED: Kind = Kind::Simulated;

#[rstest]
#[case::real_vllm_is_taken(
    &["vllm"], VLLM, &["vllm", "serve", "m"], "--port 8000", Kind::Native, "vllm serve m --port 8000 --host 127.64.0.7"
)]
#[case::all_addresses_becomes_the_pod(
    &["vllm"], VLLM, &["vllm", "serve", "m", "--host", "0.0.0.0"], "", Kind::Native, "vllm serve m --host 127.64.0.7"
)]
#[case::another_address_is_left(
    &["vllm"], VLLM, &["vllm", "serve", "m", "--host=127.0.0.1"], "", Kind::Native, "vllm serve m --host=127.0.0.1"
)]
#[case::missing_vllm_is_simulated(
    &[], VLLM, &["vllm", "serve", "m"], "", SIMULATED, "kthena engine --dialect vllm m --host 127.64.0.7"
)]
#[case::the_image_alone_names_the_engine(
    &[], VLLM, &[], "--model m --port 8000", SIMULATED, "kthena engine --dialect vllm --model m --port 8000 --host 127.64.0.7"
)]
#[case::a_python_without_the_engine_is_not_enough(
    &["python3"], SGLANG, &["python3", "-m", "sglang.launch_server"], "--model-path m", SIMULATED,
    "kthena engine --dialect sglang --model-path m --host 127.64.0.7"
)]
#[case::arguments_may_hold_the_command(
    &[], SGLANG, &[], "python3 -m sglang.launch_server --model-path m", SIMULATED,
    "kthena engine --dialect sglang --model-path m --host 127.64.0.7"
)]
#[case::a_script_is_searched(
    &["bash"],
    VLLM, &["bash", "-c", "export A=1; vllm serve 'my model' \\\n --port ${PORT} | tee log"], "", SIMULATED,
    "kthena engine --dialect vllm my model --port 9000 --host 127.64.0.7"
)]
#[case::another_program_runs_as_it_is(
    &["python3"], "acme/app", &["python3", "-m", "http.server"], "80", Kind::Native, "python3 -m http.server 80"
)]
#[case::a_ray_worker_has_nothing_to_help(
    &[], VLLM, &["ray", "start"], "--block", Kind::StandIn, "kthena node-shim pause"
)]
#[case::own_helper(
    &[], "ghcr.io/volcano-sh/kthena/runtime:v1", &[], "--port 8100", Kind::StandIn, "kthena node-shim pause"
)]
fn programs_for_containers(
    #[case] programs: &[&str],
    #[case] image: &str,
    #[case] command: &[&str],
    #[case] args: &str,
    #[case] kind: Kind,
    #[case] expected: &str,
) {
    let choice = chosen(EngineMode::Auto, programs, (image, command, args)).unwrap();

    assert_eq!(
        (choice.kind, choice.argv.join(" ")),
        (kind, expected.to_owned())
    );
}

#[rstest]
#[case::simulated_wins_over_real(EngineMode::Simulated, &["vllm"], Some(SIMULATED))]
#[case::native_takes_the_real_one(EngineMode::Native, &["vllm"], Some(Kind::Native))]
#[case::native_refuses_without_it(EngineMode::Native, &[], None)]
fn modes(#[case] mode: EngineMode, #[case] programs: &[&str], #[case] expected: Option<Kind>) {
    let choice = chosen(mode, programs, (VLLM, &["vllm", "serve", "m"], ""));

    assert_eq!(choice.ok().map(|choice| choice.kind), expected);
}

#[rstest]
#[case::missing_program(&["tool"], "\"tool\" is not on PATH")]
#[case::no_command(&[], "names no command")]
fn refusals_name_the_remedy(#[case] command: &[&str], #[case] part: &str) {
    let refusal = chosen(EngineMode::Auto, &[], ("acme/tool", command, ""))
        .unwrap_err()
        .to_string();

    assert!(
        refusal.contains(part) && refusal.contains("kthena.volcano.sh/stand-in"),
        "{refusal}"
    );
}

#[rstest]
#[case::added("cd /x; vllm serve m", "cd /x; vllm serve --host 127.0.0.9 m")]
#[case::moved(
    "vllm serve m --host 0.0.0.0 --port 1",
    "vllm serve m --host 127.0.0.9 --port 1"
)]
#[case::kept("vllm serve m --host $IP", "vllm serve m --host $IP")]
#[case::no_engine("sleep 1", "sleep 1")]
fn scripts_get_the_address(#[case] script: &str, #[case] expected: &str) {
    assert_eq!(
        script_on_address(script, IpAddr::from([127, 0, 0, 9])),
        expected
    );
}
