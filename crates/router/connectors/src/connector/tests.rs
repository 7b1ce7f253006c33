use rstest::rstest;

use super::*;

fn meeting() -> Meeting {
    Meeting::new(2 * 41, IpAddr::from([10, 0, 0, 7]))
}

/// A half's changes as text, for comparison: `+` sets, `-` removes, `?` only touches what is there.
fn told(changes: &Changes) -> Vec<String> {
    let tell = |change: &Change| {
        let name = change.member.name();
        match &change.rule {
            Rule::Remove => format!("-{name}"),
            Rule::Set(value) => format!("+{name}={value}"),
            Rule::Replace(value) => format!("?{name}={value}"),
            Rule::ReplaceValue(value) => format!("?{name}!=null={value}"),
            Rule::AtMostOne => format!("?{name}<=1"),
        }
    };
    changes.iter().map(tell).collect()
}

const ONE_TOKEN: [&str; 7] = [
    "-stream",
    "-stream_options",
    "+max_tokens=1",
    "?max_completion_tokens!=null=1",
    "?min_tokens<=1",
    "?n=1",
    "?best_of=1",
];

#[rstest]
#[case::http(Some(KvConnectorType::Http), InferenceEngine::Vllm, Connector::Http)]
#[case::lmcache(
    Some(KvConnectorType::Lmcache),
    InferenceEngine::Vllm,
    Connector::Lmcache
)]
#[case::nixl(Some(KvConnectorType::Nixl), InferenceEngine::Vllm, Connector::Nixl)]
#[case::mooncake(
    Some(KvConnectorType::Mooncake),
    InferenceEngine::Vllm,
    Connector::Mooncake
)]
#[case::vllm(None, InferenceEngine::Vllm, Connector::Http)]
#[case::sglang(None, InferenceEngine::Sglang, Connector::Sglang)]
#[case::configured_before_engine(
    Some(KvConnectorType::Http),
    InferenceEngine::Sglang,
    Connector::Http
)]
fn the_connector_of_a_server(
    #[case] configured: Option<KvConnectorType>,
    #[case] engine: InferenceEngine,
    #[case] expected: Connector,
) {
    assert_eq!(Connector::of(configured, engine), expected);
}

#[rstest]
#[case::http(Connector::Http, Order::PrefillFirst, &[], &[])]
#[case::lmcache(Connector::Lmcache, Order::PrefillFirst, &[], &[])]
#[case::nixl(
    Connector::Nixl,
    Order::PrefillFirst,
    &[r#"+kv_transfer_params={"do_remote_decode":true,"do_remote_prefill":false}"#],
    &[r#"+kv_transfer_params={"remote_port":5600}"#],
)]
#[case::mooncake(
    Connector::Mooncake,
    Order::PrefillFirst,
    &[r#"+kv_transfer_params={"do_remote_decode":true,"do_remote_prefill":false}"#],
    &[r#"+kv_transfer_params={"remote_port":5600}"#],
)]
#[case::sglang(
    Connector::Sglang,
    Order::Together,
    &["+bootstrap_room=41"],
    &["+bootstrap_room=41", r#"+bootstrap_host="10.0.0.7""#],
)]
fn what_each_half_is_sent(
    #[case] connector: Connector,
    #[case] order: Order,
    #[case] prefill: &[&str],
    #[case] decode: &[&str],
) {
    let params = TransferParams::read(br#"{"kv_transfer_params":{"remote_port":5600}}"#).unwrap();
    let params = connector.hands_over_params().then_some(params);

    assert_eq!(connector.order(), order);
    assert_eq!(
        told(&connector.prefill(&meeting(), false)),
        [&ONE_TOKEN[..], prefill].concat()
    );
    assert_eq!(told(&connector.decode(&meeting(), params)), decode);
}

#[test]
fn a_responses_request_is_bounded_under_its_own_name() {
    let changes = told(&Connector::Http.prefill(&meeting(), true));

    assert_eq!(
        changes,
        [&ONE_TOKEN[..], &["+max_output_tokens=1"]].concat()
    );
}

#[rstest]
#[case(Connector::Nixl)]
#[case(Connector::Mooncake)]
fn an_answer_without_parameters_becomes_null(#[case] connector: Connector) {
    let nothing = TransferParams::read(b"{}").unwrap();

    assert!(nothing.is_missing());
    assert_eq!(
        told(&connector.decode(&meeting(), Some(nothing))),
        ["+kv_transfer_params=null"]
    );
}

#[test]
fn a_room_fits_a_signed_number_and_follows_the_draw() {
    let host = IpAddr::from([10, 0, 0, 7]);

    assert_eq!(
        Meeting::new(u64::MAX, host).room(),
        u64::try_from(i64::MAX).unwrap()
    );
    assert_ne!(Meeting::new(2, host).room(), Meeting::new(4, host).room());
}

#[test]
fn an_ipv6_host_stands_in_brackets() {
    let meeting = Meeting::new(0, "2001:db8::7".parse().unwrap());

    let told = told(&Connector::Sglang.decode(&meeting, None));

    assert_eq!(told[1], r#"+bootstrap_host="[2001:db8::7]""#);
}
