use rstest::rstest;

use super::{Line, lines};

fn only(text: &str) -> Line<'_> {
    let all: Vec<_> = lines(text.as_bytes()).collect();
    assert_eq!(all.len(), 1, "{text:?} gives {all:?}");
    all[0]
}

fn value(text: &str) -> Option<f64> {
    match only(text) {
        Line::Sample(sample) => sample.read().map(|sample| sample.value),
        Line::Declaration { .. } => None,
    }
}

fn label<'a>(text: &'a str, name: &str) -> Option<&'a [u8]> {
    match only(text) {
        Line::Sample(sample) => sample.read()?.labels.get(name),
        Line::Declaration { .. } => None,
    }
}

#[rstest]
#[case::plain("up 1", Some(1.0))]
#[case::labels("up{a=\"b\"} 2.5", Some(2.5))]
#[case::space_before_labels("up {a=\"b\"} 2.5", Some(2.5))]
#[case::tab("up\t3", Some(3.0))]
#[case::time_stamp("up 4 1795363363", Some(4.0))]
#[case::exemplar("up 4 # {trace=\"x\"} 1", Some(4.0))]
#[case::exponent("up 1.79e+09", Some(1.79e9))]
#[case::infinite("up +Inf", Some(f64::INFINITY))]
#[case::carriage_return("up 5\r\n", Some(5.0))]
#[case::brace_in_quotes("up{a=\"}\"} 6", Some(6.0))]
#[case::escaped_quote("up{a=\"\\\"}\"} 7", Some(7.0))]
#[case::no_value("up", None)]
#[case::open_labels("up{a=\"b\" 8", None)]
#[case::words("up and down", None)]
fn reads_values(#[case] text: &str, #[case] expected: Option<f64>) {
    assert_eq!(value(text), expected);
}

#[test]
fn a_value_may_be_no_number_at_all() {
    assert!(value("up NaN").is_some_and(f64::is_nan));
}

#[rstest]
#[case::first("m{a=\"1\",b=\"2\"} 0", "a", Some(&b"1"[..]))]
#[case::last("m{a=\"1\",b=\"2\"} 0", "b", Some(&b"2"[..]))]
#[case::spaced("m{ a = \"1\" , b = \"2\" , } 0", "b", Some(&b"2"[..]))]
#[case::name_is_a_part_of_another("m{block_size_resolved=\"True\",block_size=\"32\"} 0", "block_size", Some(&b"32"[..]))]
#[case::name_inside_a_value("m{a=\"b=\\\"9\\\"\",b=\"2\"} 0", "b", Some(&b"2"[..]))]
#[case::absent("m{a=\"1\"} 0", "b", None)]
#[case::no_labels("m 0", "b", None)]
fn finds_labels(#[case] text: &str, #[case] name: &str, #[case] expected: Option<&[u8]>) {
    assert_eq!(label(text, name), expected);
}

#[test]
fn remarks_and_empty_lines_are_left_out() {
    let text = "# HELP up Whether it is up.\n\n# EOF\n#\n# TYPE up gauge\nup 1\n";
    let all: Vec<_> = lines(text.as_bytes()).collect();
    assert_eq!(all.len(), 2);
    assert_eq!(
        all[0],
        Line::Declaration {
            family: b"up",
            kind: b"gauge"
        }
    );
}

#[rstest]
#[case::itself("up{a=\"b\"} 1", true, true)]
#[case::without_labels("up 1", true, true)]
#[case::its_buckets("up_bucket{le=\"1\"} 1", false, true)]
#[case::its_sum("up_sum{a=\"b\"} 1", false, true)]
#[case::longer("up_time{a=\"b\"} 1", false, false)]
#[case::longer_like_a_sum("up_summary{a=\"b\"} 1", false, false)]
#[case::shorter("u 1", false, false)]
#[case::another("down 1", false, false)]
#[case::its_declaration("# TYPE up gauge", false, false)]
fn what_is_passed_over(#[case] text: &str, #[case] as_series: bool, #[case] as_family: bool) {
    let all = lines(text.as_bytes());
    let (mut series, mut family) = (all.clone(), all);
    series.pass_over(b"up");
    assert_eq!(series.next().is_none(), as_series, "series");
    family.pass_over_family(b"up");
    assert_eq!(family.next().is_none(), as_family, "family");
}

#[test]
fn no_remark_is_passed_over_whatever_a_family_is_called() {
    let mut all = lines(b"# TYPE up gauge");
    all.pass_over_family(b"#");
    assert!(all.next().is_some());
}

#[test]
fn nothing_is_passed_over_unless_it_is_said() {
    assert_eq!(lines(b"{a=\"b\"} 1\n 1\nup 1").count(), 2);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_survived(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        for line in lines(&text) {
            if let Line::Sample(sample) = line {
                let _ = sample.read().map(|sample| sample.labels.get("a").map(<[u8]>::len));
            }
        }
    }

    #[test]
    fn any_likely_text_is_survived(text in "[a#TYPE {}=\"\\\\,0-9.\n]{0,200}") {
        for line in lines(text.as_bytes()) {
            if let Line::Sample(sample) = line {
                let _ = sample.read().map(|sample| sample.labels.get("a").map(<[u8]>::len));
            }
        }
    }
}
