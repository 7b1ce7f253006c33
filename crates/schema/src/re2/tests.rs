use proptest::prelude::*;
use rstest::rstest;

use super::compile;

#[rstest]
#[case::search_is_unanchored("lla", "my-llama-8b", true)]
#[case::digits_are_ascii(r"^\d$", "٣", false)]
#[case::words_are_ascii(r"^\w+$", "modèle", false)]
#[case::negated_digit_takes_unicode(r"^\D$", "٣", true)]
#[case::no_vertical_tab_in_space(r"^\s$", "\u{b}", false)]
#[case::boundary_is_ascii(r"\be", "éea", true)]
#[case::non_boundary_is_ascii(r"é\Bé", "éé", true)]
#[case::quoted_text_is_literal(r"^\Qa.b(c\E$", "a.b(c", true)]
#[case::quote_may_stay_open(r"^x\Q[", "x[", true)]
#[case::quoted_last_char_repeats(r"^\Qab\E+$", "abbb", true)]
#[case::lone_brace_is_literal("^a{$", "a{", true)]
#[case::odd_counts_are_literal("^a{,2}$", "a{,2}", true)]
#[case::bracket_in_class_is_literal("^[[]$", "[", true)]
#[case::set_operators_are_literal("^[a&&b]+$", "a&b", true)]
#[case::closing_bracket_first_is_literal("^[]a]+$", "]a", true)]
#[case::perl_class_in_class(r"^[\d-]+$", "1-2", true)]
#[case::negated_perl_class_in_class(r"^[^\W]+$", "ab_1", true)]
#[case::posix_class("^[[:alpha:]_]+$", "ab_", true)]
#[case::escaped_punctuation_is_literal(r"^\<a\>$", "<a>", true)]
#[case::octal(r"^\101$", "A", true)]
#[case::hex(r"^\x{e9}$", "é", true)]
#[case::named_group(r"^(?P<n>a)(?<m>b)$", "ab", true)]
#[case::flags(r"(?i)^QWEN$", "qwen", true)]
#[case::scoped_flags(r"^(?i:Q)w$", "qw", true)]
#[case::unicode_category(r"^\p{Lu}\pL$", "Éa", true)]
#[case::dollar_is_the_end("a$", "a\n", false)]
#[case::thousand_is_allowed("^a{1000}$", "a", false)]
#[case::lazy("^a+?b??$", "aab", true)]
fn mr_n1_matches_like_re2(#[case] pattern: &str, #[case] text: &str, #[case] expected: bool) {
    let regex = compile(pattern).expect("compiles");

    assert_eq!(regex.is_match(text), expected);
}

#[rstest]
#[case::look_ahead(
    "(?=a)",
    "error parsing regexp: invalid or unsupported Perl syntax: `(?=`"
)]
#[case::extended_flag(
    "(?x)a",
    "error parsing regexp: invalid or unsupported Perl syntax: `(?x`"
)]
#[case::back_reference(r"(a)\1", r"error parsing regexp: invalid escape sequence: `\1`")]
#[case::unicode_escape(r"\u00e9", r"error parsing regexp: invalid escape sequence: `\u`")]
#[case::end_with_newline(r"a\Z", r"error parsing regexp: invalid escape sequence: `\Z`")]
#[case::beyond_a_thousand("a{1001}", "error parsing regexp: invalid repeat count: `{1001}`")]
#[case::reversed_counts("a{2,1}", "error parsing regexp: invalid repeat count: `{2,1}`")]
#[case::nested_counts("(a{100}){11}", "error parsing regexp: invalid repeat count: `{11}`")]
#[case::repeated_repetition(
    "a**",
    "error parsing regexp: invalid nested repetition operator: `**`"
)]
#[case::possessive(
    "a*+",
    "error parsing regexp: invalid nested repetition operator: `*+`"
)]
#[case::nothing_to_repeat(
    "*a",
    "error parsing regexp: missing argument to repetition operator: `*`"
)]
#[case::unclosed_group("(a", "error parsing regexp: missing closing ): `(a`")]
#[case::unopened_group("a)", "error parsing regexp: unexpected ): `a)`")]
#[case::unclosed_class("[a", "error parsing regexp: missing closing ]: `[a`")]
#[case::reversed_range("[z-a]", "error parsing regexp: invalid character class range: `z-a`")]
#[case::unknown_posix(
    "[[:foo:]]",
    "error parsing regexp: invalid character class range: `[:foo:]`"
)]
#[case::property_of_other_engines(
    r"\p{alphabetic}",
    r"error parsing regexp: invalid character class range: `\p{alphabetic}`"
)]
#[case::trailing_backslash(
    "a\\",
    "error parsing regexp: trailing backslash at end of expression: ``"
)]
fn mr_n1_refuses_like_re2(#[case] pattern: &str, #[case] expected: &str) {
    let error = compile(pattern).expect_err("is refused");

    assert_eq!(error.to_string(), expected);
}

proptest! {
    #[test]
    fn never_panics(pattern in any::<String>(), text in any::<String>()) {
        if let Ok(regex) = compile(&pattern) {
            regex.is_match(&text);
        }
    }

    #[test]
    fn never_panics_on_syntax(pattern in "[\\[\\](){}*+?|\\\\^$.a0-9:,PQEdwsbpx<>i&~-]{0,24}") {
        let _ = compile(&pattern);
    }

    #[test]
    fn quoted_text_matches_itself(text in "[^\\\\]{1,20}") {
        let regex = compile(&format!("^\\Q{text}\\E$")).expect("compiles");
        prop_assert!(regex.is_match(&text));
    }
}
