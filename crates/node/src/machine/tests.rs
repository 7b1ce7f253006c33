use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::address::{AddressPool, AddressRange};
use super::devices::{DevicePool, split};
use super::quantity::{milli, nano, units};
use super::request::{Amount, of_pod};

#[rstest]
#[case::whole("3", Some(3_000))]
#[case::milli("250m", Some(250))]
#[case::fraction("0.1", Some(100))]
#[case::rounded_up("100u", Some(1))]
#[case::kibi("1Ki", Some(1_024_000))]
#[case::fraction_of_gibi("1.5Gi", Some(1_610_612_736_000))]
#[case::exponent("12e2", Some(1_200_000))]
#[case::negative("-2", Some(-2_000))]
#[case::empty("", None)]
#[case::word("many", None)]
#[case::bad_suffix("3Q", None)]
fn quantities(#[case] text: &str, #[case] thousandths: Option<i64>) {
    assert_eq!(milli(&Quantity(text.to_owned())), thousandths);
}

fn pod(spec: &serde_json::Value) -> Pod {
    serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap()
}

fn asks(cpu: &str) -> serde_json::Value {
    json!({ "name": "c", "resources": { "requests": { "cpu": cpu } } })
}

#[test]
fn a_pod_asks_for_its_containers_or_its_greediest_init_container() {
    let mut sidecar = asks("1");
    sidecar["restartPolicy"] = json!("Always");
    let both = pod(
        &json!({ "initContainers": [asks("3"), sidecar, asks("5")], "containers": [asks("1"), asks("2")] }),
    );
    let plain = pod(&json!({ "containers": [asks("1"), asks("2")] }));

    assert_eq!(
        of_pod(&both).cpu_milli,
        6000,
        "the second init container beside the sidecar"
    );
    assert_eq!(
        of_pod(&plain),
        Amount {
            cpu_milli: 3000,
            pods: 1,
            ..Amount::default()
        }
    );
}

#[test]
fn a_limit_counts_where_there_is_no_request() {
    let resources =
        json!({ "limits": { "cpu": "2", "nvidia.com/gpu": "1" }, "requests": { "cpu": "1" } });
    let found = of_pod(&pod(
        &json!({ "containers": [{ "name": "c", "resources": resources }] }),
    ));

    assert_eq!((found.cpu_milli, found.gpus), (1000, 1));
}

#[test]
fn a_shortage_names_each_resource() {
    let total = Amount {
        cpu_milli: 1000,
        memory: 10,
        gpus: 0,
        pods: 5,
    };
    let asked = Amount {
        cpu_milli: 1500,
        memory: 10,
        gpus: 1,
        pods: 1,
    };

    let shortage = asked
        .fits(total, Amount::default())
        .unwrap_err()
        .to_string();

    assert_eq!(
        shortage,
        "0/1 nodes are available: insufficient cpu (asks 1500m, 1000m free), \
         insufficient nvidia.com/gpu (asks 1, 0 free)"
    );
}

#[rstest]
#[case::default_range("127.64.0.0/10", true)]
#[case::private("10.89.0.0/16", true)]
#[case::all_of_loopback("127.0.0.0/8", false)]
#[case::the_usual_localhost("127.0.0.0/24", false)]
#[case::too_small("127.64.0.0/30", false)]
#[case::no_prefix("127.64.0.0", false)]
fn ranges(#[case] text: &str, #[case] good: bool) {
    assert_eq!(AddressRange::parse(text).is_some(), good);
}

#[test]
fn a_pod_of_the_same_name_gets_the_same_address_when_it_is_free() {
    let mut pool = AddressPool::new(AddressRange::default());
    let first = pool.assign("u1", "ns/entry").unwrap();
    let overlap = pool.assign("u2", "ns/entry").unwrap();
    pool.release("u1");

    assert_ne!(first, overlap);
    assert_eq!(pool.assign("u3", "ns/entry"), Some(first));
    assert!(!pool.keep("u4", first));
    assert!(pool.keep("u3", first));
}

#[test]
fn devices_are_split_in_order_and_all_or_nothing() {
    let mut pool = DevicePool::new(4);
    let given = pool.take("a", 3).unwrap();
    assert_eq!(pool.take("b", 2), None);
    assert_eq!(pool.take("b", 1), Some(BTreeSet::from([3])));
    pool.release("a");
    assert_eq!(pool.take("c", 1), Some(BTreeSet::from([0])));

    let shares = split(&given, [("x", 1), ("y", 2), ("z", 0)]);
    assert_eq!(
        (&shares["x"], &shares["y"], &shares["z"]),
        (&vec![0], &vec![1, 2], &vec![])
    );
}

proptest! {
    #[test]
    fn no_address_is_given_twice(steps in prop::collection::vec((0..30_u8, any::<bool>()), 0..200)) {
        let range = AddressRange::parse("127.64.0.0/27").unwrap();
        let mut pool = AddressPool::new(range);
        let mut held: HashMap<String, Ipv4Addr> = HashMap::new();
        for (pod, leave) in steps {
            let uid = format!("u{pod}");
            if leave {
                pool.release(&uid);
                held.remove(&uid);
            } else if !held.contains_key(&uid) {
                let address = pool.assign(&uid, &format!("n{}", pod % 5));
                prop_assert_eq!(address.is_none(), held.len() == 30);
                if let Some(address) = address {
                    prop_assert!(range.contains(address));
                    prop_assert!(!held.values().any(|other| *other == address));
                    held.insert(uid, address);
                }
            }
        }
    }

    #[test]
    fn whole_numbers_are_read_as_they_are(value in 0..1_000_000_i64) {
        prop_assert_eq!(units(&Quantity(value.to_string())), Some(value));
        prop_assert_eq!(milli(&Quantity(format!("{value}m"))), Some(value));
        prop_assert_eq!(nano(&Quantity(format!("{value}Mi"))), Some(i128::from(value) * 1_048_576 * 1_000_000_000));
    }
}
