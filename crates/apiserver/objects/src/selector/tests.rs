use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::object::Object;
use crate::resource::{Resource, Scope};
use crate::testing::{config_maps, pods, widgets};

// The texts below are what a kube-apiserver 1.36 answered.
#[rstest]
#[case::stray_word("a=b c", "found 'c', expected: ',' or 'end of string'")]
#[case::bad_value(
    "a=+",
    "unable to parse requirement: values[0][a]: Invalid value: \"+\": a valid label must be"
)]
#[case::bad_value_in_list(
    "a in (+)",
    "unable to parse requirement: values[0][a]: Invalid value: \"+\": a valid"
)]
#[case::bad_key(
    "+x",
    "unable to parse requirement: <nil>: Invalid value: \"+x\": name part must consist"
)]
#[case::not_a_number(
    "a>x",
    "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer"
)]
#[case::double_comma("a,,b", "found ',', expected: identifier after ','")]
#[case::only_comma(",", "found ',', expected: !, identifier, or 'end of string'")]
#[case::trailing_comma("a,", "found '', expected: identifier after ','")]
#[case::only_not("!", "unable to parse requirement: found '', expected: identifier")]
#[case::not_with_value("!a=b", "found '=', expected: ',' or 'end of string'")]
#[case::twice_not("!!a", "unable to parse requirement: found '!', expected: identifier")]
#[case::in_without_list("a in", "unable to parse requirement: found '' expected: '('")]
#[case::notin_without_list("a notin x", "unable to parse requirement: found 'x' expected: '('")]
#[case::sign_in_list(
    "a in (=)",
    "unable to parse requirement: found '=', expected: ',', ')' or identifier"
)]
#[case::open_list(
    "a in (b",
    "unable to parse requirement: found '', expected: ',' or ')'"
)]
#[case::open_list_after_comma(
    "a in (b,,",
    "unable to parse requirement: found '', expected: ',', or identifier"
)]
#[case::two_words_in_list(
    "a in (b c)",
    "unable to parse requirement: found 'c', expected: ',' or ')'"
)]
#[case::closed_twice("a in (b))", "found ')', expected: ',' or 'end of string'")]
#[case::three_signs(
    "a===b",
    "unable to parse requirement: found '=', expected: identifier"
)]
#[case::value_negated("a=!b", "unable to parse requirement: found '!', expected: identifier")]
#[case::not_an_operator(
    "a b c",
    "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"
)]
#[case::parenthesis("(a)", "found '(', expected: !, identifier, or 'end of string'")]
#[case::only_sign("=", "found '=', expected: !, identifier, or 'end of string'")]
#[case::parenthesis_as_value("a=(", "unable to parse requirement: found '(', expected: identifier")]
fn label_selectors_are_refused_in_the_servers_words(#[case] text: &str, #[case] message: &str) {
    let error = LabelSelector::parse(text).unwrap_err();
    assert_eq!(error.code(), 400);
    assert!(error.to_string().starts_with(message), "{error}");
}

#[rstest]
#[case::everything("", &[], true)]
#[case::equal("a=1", &[("a", "1")], true)]
#[case::equal_to_nothing("a=", &[("a", "")], true)]
#[case::equal_to_nothing_among_others("a= ,b", &[("a", ""), ("b", "")], true)]
#[case::double_equal_sign("a==1", &[("a", "2")], false)]
#[case::unequal_when_absent("a!=1", &[], true)]
#[case::in_list("a in (1, 2)", &[("a", "2")], true)]
#[case::in_empty_list("a in ()", &[("a", "")], true)]
#[case::in_when_absent("a in (1)", &[], false)]
#[case::notin_when_absent("a notin (1)", &[], true)]
#[case::notin("a notin (1,2)", &[("a", "2")], false)]
#[case::exists("a", &[("a", "x")], true)]
#[case::absent("!a", &[("a", "x")], false)]
#[case::above("a>1", &[("a", "2")], true)]
#[case::above_text("a>1", &[("a", "x")], false)]
#[case::below("a<1", &[("a", "1")], false)]
#[case::operators_as_names("in in (in),notin=in", &[("in", "in"), ("notin", "in")], true)]
#[case::all_must_hold("a=1,!b", &[("a", "1"), ("b", "")], false)]
fn label_selectors_match(
    #[case] text: &str,
    #[case] labels: &[(&str, &str)],
    #[case] expected: bool,
) {
    let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
    let selector = LabelSelector::parse(text).unwrap();
    assert_eq!(
        selector.matches_labels(|key| labels.get(key).copied()),
        expected
    );
}

#[test]
fn selector_objects_match_like_selector_texts() {
    let object = json!({
        "matchLabels": {"a": "1"},
        "matchExpressions": [
            {"key": "b", "operator": "In", "values": ["1", "2"]},
            {"key": "c", "operator": "NotIn", "values": ["1"]},
            {"key": "d", "operator": "Exists"},
            {"key": "e", "operator": "DoesNotExist"},
        ],
    });
    let text = LabelSelector::parse("a=1,b in (1,2),c notin (1),d,!e").unwrap();
    assert_eq!(LabelSelector::from_object(&object), Some(text));
    assert_eq!(
        LabelSelector::from_object(
            &json!({"matchExpressions": [{"key": "a", "operator": "Near"}]})
        ),
        None
    );
}

fn object(resource: &Resource, value: &serde_json::Value) -> Object {
    let bytes = Bytes::from(serde_json::to_vec(value).unwrap());
    Object::from_bytes(resource, bytes).unwrap()
}

#[rstest]
#[case::unknown("foo=bar", "field label not supported: foo")]
#[case::unknown_with_backslash("a\\b=c", "field label not supported: a\\b")]
#[case::no_label("=x", "field label not supported: ")]
#[case::no_sign(
    "metadata.name",
    "invalid selector: 'metadata.name'; can't understand 'metadata.name'"
)]
#[case::escape(
    "metadata.name=a\\x",
    "invalid field selector: invalid escape sequence: \\x"
)]
#[case::sign_in_value(
    "metadata.name=a=b",
    "invalid field selector: unescaped character in value: 61"
)]
fn field_selectors_are_refused_in_the_servers_words(#[case] text: &str, #[case] message: &str) {
    let error = FieldSelector::parse(text, &pods()).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (400, message));
}

#[rstest]
#[case::empty("", true)]
#[case::empty_terms(",metadata.name=p,", true)]
#[case::name("metadata.name=p", true)]
#[case::other_name("metadata.name!=p", false)]
#[case::namespace("metadata.namespace=a", true)]
#[case::node("spec.nodeName=n1", true)]
#[case::old_name_of_node("spec.host=n1", true)]
#[case::phase("status.phase!=Running,status.phase!=Failed", true)]
#[case::absent_is_empty("status.podIP=", true)]
#[case::absent_flag_is_false("spec.hostNetwork=false", true)]
#[case::escaped_comma("metadata.name!=p\\,q", true)]
#[case::contradiction("metadata.name=p,metadata.name=q", false)]
fn field_selectors_match(#[case] text: &str, #[case] expected: bool) {
    let pod = object(
        &pods(),
        &json!({
            "metadata": {"name": "p", "namespace": "a"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Pending"},
        }),
    );
    assert_eq!(
        FieldSelector::parse(text, &pods()).unwrap().matches(&pod),
        expected
    );
}

#[test]
fn kinds_declare_their_own_fields() {
    let widget = object(
        &widgets(),
        &json!({"metadata": {"name": "w"}, "spec": {"color": "red"}}),
    );
    assert!(
        FieldSelector::parse("spec.color=red", &widgets())
            .unwrap()
            .matches(&widget)
    );
    assert!(FieldSelector::parse("spec.size=1", &widgets()).is_err());

    let events = Resource::builtin("", "events", "Event", Scope::Namespaced);
    let core = object(
        &events,
        &json!({"metadata": {"name": "e"}, "involvedObject": {"name": "p"}, "source": {"component": "k"}}),
    );
    let newer = object(
        &events,
        &json!({"metadata": {"name": "e"}, "regarding": {"name": "p"}, "reportingController": "k"}),
    );
    for text in ["involvedObject.name=p", "regarding.name=p", "source=k"] {
        let selector = FieldSelector::parse(text, &events).unwrap();
        assert!(
            selector.matches(&core) && selector.matches(&newer),
            "{text}"
        );
    }
    let nodes = Resource::builtin("", "nodes", "Node", Scope::Cluster);
    assert!(FieldSelector::parse("metadata.namespace=a", &nodes).is_err());
    assert_eq!(
        FieldSelector::parse("metadata.name=x", &config_maps())
            .unwrap()
            .exact_name(),
        Some("x")
    );
}

/// A requirement as a test states it, and its meaning spelled out.
#[derive(Debug, Clone)]
struct Term {
    key: String,
    operator: usize,
    values: Vec<String>,
}

impl Term {
    fn text(&self) -> String {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            0 => format!("{key}={}", self.values[0]),
            1 => format!("{key}!={}", self.values[0]),
            2 => format!("{key} in ({values})"),
            3 => format!("{key} notin ({values})"),
            4 => key.clone(),
            _ => format!("!{key}"),
        }
    }

    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let first = &self.values[0];
        match self.operator {
            0 => value == Some(first),
            1 => value != Some(first),
            2 => value.is_some_and(|value| self.values.contains(value)),
            3 => !value.is_some_and(|value| self.values.contains(value)),
            4 => value.is_some(),
            _ => value.is_none(),
        }
    }
}

fn term() -> impl Strategy<Value = Term> {
    (
        "[abc]",
        0usize..6,
        proptest::collection::vec("[xyz]{0,1}", 1..4),
    )
        .prop_map(|(key, operator, values)| Term {
            key,
            operator,
            values,
        })
}

proptest! {
    #[test]
    fn agrees_with_a_naive_matcher(
        terms in proptest::collection::vec(term(), 0..4),
        labels in proptest::collection::btree_map("[abc]", "[xyz]{0,1}", 0..4),
    ) {
        let text = terms.iter().map(Term::text).collect::<Vec<_>>().join(",");
        let selector = LabelSelector::parse(&text).unwrap();
        let expected = terms.iter().all(|term| term.holds(&labels));
        prop_assert_eq!(selector.matches_labels(|key| labels.get(key).map(String::as_str)), expected);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[ab=!<>(), \\\\é]{0,12}") {
        let _ = LabelSelector::parse(&text);
        let _ = FieldSelector::parse(&text, &pods());
    }
}
