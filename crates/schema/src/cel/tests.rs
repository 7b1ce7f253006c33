use rstest::rstest;
use serde_json::{Value, json};

use super::DEFAULT_COST_BUDGET;
use crate::Schema;
use crate::tests::schema;

/// An object schema with one rule, whose members are anything.
fn ruled(rule: &Value) -> Schema {
    schema(&json!({"type": "object", "properties": {
        "name": {"type": "string"}, "count": {"type": "integer"}, "ratio": {"type": "number"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}, "x": {"type": "integer"}}}},
        "words": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "in": {"type": "string"}, "with-dash": {"type": "string"}, "with.dot/slash": {"type": "string"},
        "amount": {"x-kubernetes-int-or-string": true},
    }, "x-kubernetes-validations": [rule]}))
}

fn texts(schema: &Schema, value: &Value, old: Option<&Value>) -> Vec<String> {
    schema
        .validate_rules(value, old, DEFAULT_COST_BUDGET)
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn holds(rule: &str, value: &Value) -> bool {
    let found = texts(&ruled(&json!({"rule": rule, "message": "no"})), value, None);
    assert!(
        found.is_empty() || found == ["<nil>: Invalid value: no"],
        "{rule}: {found:?}"
    );
    found.is_empty()
}

#[rstest]
#[case("has(self.name) && !has(self.count)")]
#[case("self.name == 'abc' && size(self.name) == 3")]
#[case("self.list.all(x, x.x > 0)")]
#[case("self.list.exists(x, x.name == 'b')")]
#[case("self.list.exists_one(x, x.name == 'b')")]
#[case("self.list.filter(x, x.x > 1).map(x, x.name) == ['b']")]
#[case("self.list.map(x, x.x) == [1, 2] && size(self.list) == 2")]
#[case("self.list.all(x, self.list.exists_one(y, y.name == x.name))")]
#[case("self.list[1].name == 'b' && self.list[0].x == 1")]
#[case("self.map.all(k, self.map[k].startsWith('v'))")]
#[case("'a' in self.map && self.map['b'] == 'v2' && size(self.map) == 2")]
#[case("self.name.matches('^[a-z]+$') && !self.name.matches('\\\\d')")]
#[case("self.name.find('[b-z]+') == 'bc'")]
#[case("self.name.startsWith('a') && self.name.endsWith('c') && self.name.contains('b')")]
#[case(
    "self.name.upperAscii() == 'ABC' && self.name.substring(1) == 'bc' && self.name.indexOf('c') == 2"
)]
#[case(
    "'a,b'.split(',').join('-') == 'a-b' && self.name.replace('a', 'x') == 'xbc' && ' a '.trim() == 'a'"
)]
#[case("'x' in self.words && self.words == ['x', 'y']")]
#[case(
    "self.__in__ == 'i' && self.with__dash__dash == 'd' && self.with__dot__dot__slash__slash == 's'"
)]
#[case("self.ratio > 1.0 && self.ratio < 3.0")]
#[case("self.amount == 3 || self.amount == '3'")]
#[case("int('3') == 3 && string(3) == '3' && double(3) == 3.0")]
#[case("duration('1m') > duration('59s') && duration('100ms') < duration('1s')")]
#[case("isURL('https://a/b') && !isURL('b') && isIP('::1') && isCIDR('10.0.0.0/8')")]
#[case("self.?missing.orValue('x') == 'x' && self.?name.orValue('x') == 'abc'")]
#[case("[3, 1, 2].sort() == [1, 2, 3] && lists.range(2) == [0, 1] && optional.of(1).hasValue()")]
#[case("ip('::1') == ip('0:0::1') && ip('10.0.0.1').family() == 4 && ip('::1').isLoopback()")]
#[case(
    "ip.isCanonical('::1') && !ip.isCanonical('0:0::1') && !isIP('::ffff:1.2.3.4') && !isIP('1.2.3')"
)]
#[case(
    "ip('8.8.8.8').isGlobalUnicast() && ip('169.254.1.1').isLinkLocalUnicast() && ip('224.0.0.5').isLinkLocalMulticast() && ip('::').isUnspecified()"
)]
#[case(
    "cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.0'))"
)]
#[case(
    "cidr('10.0.0.0/8').containsCIDR('10.3.0.0/16') && !cidr('10.3.0.0/16').containsCIDR(cidr('10.0.0.0/8'))"
)]
#[case(
    "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.1.2.3/8').ip() == ip('10.1.2.3') && cidr('::/0').prefixLength() == 0"
)]
#[case(
    "url('https://a.b:81/c/d?e=f').getScheme() == 'https' && url('https://a.b:81/c').getHost() == 'a.b:81'"
)]
#[case(
    "url('https://u@[::1]:81/c%20d?e').getHostname() == '::1' && url('https://[::1]:81').getPort() == '81' && url('http://a/c%20d?e').getEscapedPath() == '/c%20d'"
)]
#[case(
    "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1000m') == quantity('1') && quantity('1.5k').asInteger() == 1500"
)]
#[case(
    "quantity('100m').isLessThan(quantity('1')) && quantity('-1').isLessThan(quantity('0')) && quantity('2').compareTo(quantity('3')) == -1"
)]
#[case(
    "quantity('1').add(quantity('500m')).asApproximateFloat() == 1.5 && quantity('3').sub(1) == quantity('2e0') && !quantity('1m').isInteger()"
)]
#[case("isQuantity('1e3') && !isQuantity('1x') && !isQuantity('') && isQuantity('.5Ki')")]
#[case(
    "'%s is %d of %.1f %x'.format(['a', 1, 2.55, 255]) == 'a is 1 of 2.5 ff' || '%d'.format([1]) == '1'"
)]
#[case("self.count > 0 ? false : true || true")]
#[case("self.missing == 1 || self.name == 'abc'")]
#[case("type(self.name) == string")]
fn rules_that_hold(#[case] rule: &str) {
    let value = json!({
        "name": "abc", "ratio": 2, "list": [{"name": "a", "x": 1}, {"name": "b", "x": 2}], "words": ["x", "y"],
        "map": {"a": "v1", "b": "v2"}, "in": "i", "with-dash": "d", "with.dot/slash": "s", "amount": "3",
    });
    let value = if rule.contains("self.count >") {
        json!({"count": 0})
    } else {
        value
    };

    assert!(holds(rule, &value), "{rule}");
}

#[rstest]
#[case::no_such_key("self.name == 'a'", json!({}), "<nil>: Invalid value: \"object\": no such key: name evaluating rule: why")]
#[case::left_side_is_named("self.name == 'a' || self.count > 1", json!({}), "<nil>: Invalid value: \"object\": no such key: name evaluating rule: why")]
#[case::division("1 / self.count == 1", json!({"count": 0}), "<nil>: Invalid value: \"object\": division by zero evaluating rule: why")]
#[case::index("self.list[5].x == 1", json!({"list": []}), "<nil>: Invalid value: \"object\": index out of bounds: 5 evaluating rule: why")]
#[case::overload("self.amount > 1", json!({"amount": "x"}), "<nil>: Invalid value: \"object\": 'no such overload': call arguments did not match a supported operator, function or macro signature for rule: why")]
#[case::map_key("self.map['z'] == 'a'", json!({"map": {}}), "<nil>: Invalid value: \"object\": no such key: z evaluating rule: why")]
#[case::pattern("self.name.matches(self.name)", json!({"name": "("}), "<nil>: Invalid value: \"object\": error parsing regexp: missing closing ): `(` evaluating rule: why")]
#[case::conversion("int(self.name) == 1", json!({"name": "x"}), "<nil>: Invalid value: \"object\": type conversion error from 'string' to 'int' evaluating rule: why")]
#[case::modulus("self.list[0].x % 0 == 1", json!({"list": [{"x": 1}]}), "<nil>: Invalid value: \"object\": modulus by zero evaluating rule: why")]
#[case::overflow("self.count + 9223372036854775807 > 0", json!({"count": 5}), "<nil>: Invalid value: \"object\": integer overflow evaluating rule: why")]
#[case::range("'a'.substring(5) == 'a'", json!({}), "<nil>: Invalid value: \"object\": index out of range: 5 evaluating rule: why")]
#[case::no_truth("self.name", json!({"name": "a"}), "<nil>: Invalid value: why")]
fn rules_that_cannot_be_evaluated(
    #[case] rule: &str,
    #[case] value: Value,
    #[case] expected: &str,
) {
    assert_eq!(
        texts(
            &ruled(&json!({"rule": rule, "message": "why"})),
            &value,
            None
        ),
        [expected]
    );
}

#[rstest]
#[case::plain(json!({"rule": "false", "message": " why "}), "<nil>: Invalid value: why")]
#[case::without_message(json!({"rule": " false "}), "<nil>: Invalid value: failed rule: false")]
#[case::expression(json!({"rule": "false", "messageExpression": "'not ' + self.name"}), "<nil>: Invalid value: not abc")]
#[case::broken_expression(json!({"rule": "false", "message": "why", "messageExpression": "self.missing"}), "<nil>: Invalid value: why")]
#[case::empty_expression(json!({"rule": "false", "message": "why", "messageExpression": "' '"}), "<nil>: Invalid value: why")]
#[case::required(json!({"rule": "false", "message": "why", "reason": "FieldValueRequired", "fieldPath": ".name"}), "name: Required value: why")]
#[case::forbidden(json!({"rule": "false", "message": "why", "reason": "FieldValueForbidden"}), "<nil>: Forbidden: why")]
fn messages_reasons_and_paths(#[case] rule: Value, #[case] expected: &str) {
    assert_eq!(
        texts(&ruled(&rule), &json!({"name": "abc"}), None),
        [expected]
    );
}

#[test]
fn a_scalar_is_shown() {
    let of = schema(
        &json!({"type": "object", "properties": {"a": {"type": "array", "items": {
        "type": "integer", "x-kubernetes-validations": [{"rule": "self < 3", "message": "too large"}]}}}}),
    );

    assert_eq!(
        texts(&of, &json!({"a": [1, 5]}), None),
        ["a[1]: Invalid value: 5: too large"]
    );
}

fn immutable() -> Schema {
    let rule = json!([{"rule": "self == oldSelf", "message": "fixed"}]);
    schema(&json!({"type": "object", "properties": {
        "a": {"type": "string", "x-kubernetes-validations": rule},
        "words": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}, "x-kubernetes-validations": rule},
        "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer", "x-kubernetes-validations": rule}}}},
        "plain": {"type": "array", "items": {"type": "object", "properties": {"v": {"type": "integer", "x-kubernetes-validations": rule}}}},
    }}))
}

#[rstest]
#[case::a6_not_on_create(None, json!({"a": "x"}), &[])]
#[case::a6_changed(Some(json!({"a": "x"})), json!({"a": "y"}), &["a: Invalid value: \"y\": fixed"])]
#[case::a6_same(Some(json!({"a": "x"})), json!({"a": "x", "plain": []}), &[])]
#[case::a6_removed(Some(json!({"a": "x"})), json!({}), &[])]
#[case::a6_added(Some(json!({})), json!({"a": "y"}), &[])]
#[case::a6_item_found_by_key(Some(json!({"keyed": [{"k": "p", "v": 1}, {"k": "q", "v": 2}]})), json!({"keyed": [{"k": "q", "v": 3}, {"k": "p", "v": 1}]}), &["keyed[0].v: Invalid value: 3: fixed"])]
#[case::a6_items_of_plain_lists_have_no_past(Some(json!({"plain": [{"v": 1}]})), json!({"plain": [{"v": 2}]}), &[])]
#[case::sets_have_no_order(Some(json!({"words": ["x", "y"]})), json!({"words": ["y", "x"]}), &[])]
#[case::sets_differ(Some(json!({"words": ["x", "y"]})), json!({"words": ["y", "z"]}), &["words: Invalid value: fixed"])]
fn transitions(#[case] old: Option<Value>, #[case] new: Value, #[case] expected: &[&str]) {
    assert_eq!(texts(&immutable(), &new, old.as_ref()), expected);
}

#[test]
fn optional_old_self_runs_on_create() {
    let rule = json!({"rule": "oldSelf.hasValue() || self.name == 'first'", "message": "must start as first", "optionalOldSelf": true});
    let of = ruled(&rule);

    assert_eq!(
        texts(&of, &json!({"name": "x"}), None),
        ["<nil>: Invalid value: must start as first"]
    );
    assert_eq!(
        texts(&of, &json!({"name": "first"}), None),
        Vec::<String>::new()
    );
    assert_eq!(
        texts(&of, &json!({"name": "x"}), Some(&json!({"name": "first"}))),
        Vec::<String>::new()
    );
}

#[test]
fn a7_rules_are_not_held_against_what_did_not_change() {
    let of = ruled(&json!({"rule": "self.name != 'bad'", "message": "no"}));
    let bad = json!({"name": "bad"});

    assert_eq!(texts(&of, &bad, Some(&bad)), Vec::<String>::new());
    assert_eq!(
        texts(&of, &json!({"name": "bad", "count": 1}), Some(&bad)),
        ["<nil>: Invalid value: no"]
    );
}

#[rstest]
#[case::syntax("self.", "compilation failed: ")]
#[case::unknown_name("nobody == 1", "compilation failed: undeclared reference to 'nobody'")]
#[case::unknown_function(
    "self.name.frobnicate()",
    "compilation failed: undeclared reference to function 'frobnicate'"
)]
#[case::bad_pattern(
    "self.name.matches('(')",
    "compilation failed: error parsing regexp: missing closing ): `(`"
)]
#[case::too_deep(&format!("{}true{}", "[".repeat(500), "]".repeat(500)), "compilation failed: ")]
fn a_rule_that_does_not_compile_is_a_fault_of_the_schema(
    #[case] rule: &str,
    #[case] expected: &str,
) {
    let of = json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}]});

    let error = Schema::parse(&of).expect_err("is refused").to_string();
    let start = format!("<nil>.x-kubernetes-validations[0]: {expected}");
    assert!(error.starts_with(&start), "{error}");
}

#[rstest]
#[case::brackets(format!("{}1{} != []", "[".repeat(24), "]".repeat(24)))]
#[case::conditions(format!("{}true", "false ? false : ".repeat(24)))]
#[case::unary(format!("{}true", "!".repeat(1000)))]
#[case::alternatives(format!("false{} || true", " || false".repeat(1000)))]
#[case::sums(format!("0{} == 1000", " + 1".repeat(1000)))]
#[case::selections(format!("!has(self.map{})", ".a".repeat(1000)))]
#[case::macros(format!("{}true{}", "[1].all(x, ".repeat(12), ")".repeat(12)))]
fn long_expressions_do_not_exhaust_the_stack(#[case] rule: String) {
    let of =
        Schema::parse(&json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}]}));

    // Refused or not, it must come back.
    if let Ok(of) = of {
        let _ = texts(&of, &json!({}), None);
    }
}

#[test]
fn cost_is_bounded() {
    let of = ruled(
        &json!({"rule": "self.list.all(x, self.list.all(y, self.list.all(z, x.x + y.x + z.x > 0)))"}),
    );
    let value = json!({"list": vec![json!({"x": 1}); 2000]});

    let expected = "<nil>: Invalid value: \"object\": validation failed due to running out of cost budget, no further validation rules will be run";
    assert_eq!(texts(&of, &value, None), [expected]);
}

#[test]
fn parts_that_a_rule_does_not_name_are_not_looked_at() {
    let rule =
        super::Rule::parse(&json!({"rule": "has(self.map) && self.list.all(x, x.name != '')"}));
    let rule = rule.unwrap_or_else(|error| panic!("{error}"));
    let need = &rule.needs().itself;

    assert!(!need.whole);
    assert_eq!(need.members.keys().collect::<Vec<_>>(), ["list", "map"]);
    assert!(!need.members["map"].whole && !need.members["list"].whole);
    let item = need.members["list"]
        .any
        .as_deref()
        .expect("items are needed");
    assert!(!item.whole && item.members["name"].whole);
}
