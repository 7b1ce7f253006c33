use jiff::civil::{DateTime, date};
use rstest::rstest;
use serde_json::{Value, json};

use super::{ChatTemplate, without_generation_tags};
use crate::conversation::Contents;
use crate::fault::EncodeFault;
use crate::prompt::{Chat, Prompt};

fn now() -> DateTime {
    date(2026, 3, 9).at(7, 5, 0, 0)
}

fn chat(body: &Value) -> Chat {
    match Prompt::read(body.to_string().as_bytes()) {
        Ok(Prompt::Chat(chat)) => *chat,
        other => panic!("{other:?}"),
    }
}

fn compile(source: &str) -> ChatTemplate {
    let tokens = [("bos_token".to_owned(), "<s>".to_owned())];
    ChatTemplate::compile(source, &tokens).unwrap()
}

fn render(source: &str, body: &Value) -> Result<String, EncodeFault> {
    compile(source).render(&chat(body), now())
}

fn hello() -> Value {
    json!({"messages": [{"role": "user", "content": "hello"}]})
}

// What Jinja 3.1 prints with the environment of transformers 5.
#[rstest]
#[case::blocks_take_their_line("{% if true %}\n  {{ bos_token }}\n  {% endif %}\nx\n", "  <s>\nx")]
#[case::values_of_python(
    "{{ [none, true, 1.0, 'it\\'s'] }}{{ false }}{{ none }}",
    "[None, True, 1.0, \"it's\"]FalseNone"
)]
#[case::what_is_absent("{{ messages[0].nothing }}|{{ absent }}", "|")]
#[case::methods_of_python(
    "{{ messages[0].get('content').strip('ho').upper() }}{{ messages[0].items()|list|length }}",
    "ELL2"
)]
#[case::slices("{{ messages[-1:]|length }}{{ 'abc'[::-1] }}", "1cba")]
#[case::loops_that_break(
    "{% for x in [1, 2, 3] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "1"
)]
#[case::the_time("{{ strftime_now('%d %b %Y %H:%M') }}", "09 Mar 2026 07:05")]
#[case::what_models_generate("{% generation %}\na{%- endgeneration -%} b", "ab")]
#[case::texts_are_sequences(
    "{{ 'a' is sequence }}{{ 'a' is iterable }}{{ {} is mapping }}",
    "TrueTrueTrue"
)]
#[case::names_kept(
    "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 2 %}{% endfor %}{{ ns.n }}",
    "2"
)]
fn as_jinja(#[case] source: &str, #[case] wanted: &str) {
    assert_eq!(render(source, &hello()).as_deref(), Ok(wanted));
}

#[rstest]
#[case::raised("{{ raise_exception('no such thing') }}", "no such thing")]
#[case::absent_inside_absent("{{ a.b.c }}", "undefined")]
#[case::endless(
    "{% for x in range(9999) %}{% for y in range(9999) %}{{ y }}{% endfor %}{% endfor %}",
    "fuel"
)]
fn what_fails_is_told(#[case] source: &str, #[case] wanted: &str) {
    match render(source, &hello()) {
        Err(EncodeFault::Template(told)) => assert!(told.contains(wanted), "{told}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_long_chat_is_within_the_bounds() {
    let source = "{% for m in messages %}{{ '<' + m.role + '>' + m.content | trim }}{% endfor %}";
    let turn = json!({"role": "user", "content": "word ".repeat(100)});
    let body = json!({"messages": vec![turn; 2000]});
    assert_eq!(render(source, &body).map(|text| text.len()), Ok(2000 * 505));
}

#[rstest]
#[case::text("{% for m in messages %}{{ m.content }}{% endfor %}", Contents::Text)]
#[case::parts(
    "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}",
    Contents::Parts
)]
#[case::either(
    "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p['text'] }}{% endfor %}{% endif %}{% endfor %}",
    Contents::Parts
)]
#[case::added(
    "{% for m in messages %}{{ 'x' + m.content }}{% endfor %}",
    Contents::Text
)]
fn contents_are_handed_over_as_the_template_takes_them(
    #[case] source: &str,
    #[case] wanted: Contents,
) {
    assert_eq!(compile(source).contents, wanted);
}

#[rstest]
#[case::as_it_is("{{ messages[0].content }}|", "1, 2,  ", "1, 2,  ")]
#[case::trimmed("{{ messages[0].content | trim }}|", "1, 2,  ", "1, 2,")]
#[case::empty("{{ messages[0].content }}|", "", "")]
fn a_message_to_be_continued_stays_open(
    #[case] source: &str,
    #[case] content: &str,
    #[case] wanted: &str,
) {
    let body = json!({
        "messages": [{"role": "assistant", "content": content}],
        "continue_final_message": true, "add_generation_prompt": false,
    });
    assert_eq!(render(source, &body).as_deref(), Ok(wanted));
}

#[test]
fn a_template_may_leave_nothing_to_continue() {
    let body = json!({
        "messages": [{"role": "assistant", "content": "x"}],
        "continue_final_message": true, "add_generation_prompt": false,
    });
    assert!(matches!(
        render("nothing", &body),
        Err(EncodeFault::Template(_))
    ));
}

#[test]
fn tags_without_effect_keep_the_rest() {
    let source =
        "{{ '{%' }}{% if generation %}{%- generation +%}x{% endgeneration %}{% endif %}{% y";
    assert_eq!(
        without_generation_tags(source),
        "{{ '{%' }}{% if generation %}{%- if true +%}x{% endif %}{% endif %}{% y"
    );
}

#[test]
fn a_faulty_template_is_told_with_its_line() {
    let told = ChatTemplate::compile("a\n{% if %}", &[]).unwrap_err();
    assert!(told.contains(":2") || told.contains("line 2"), "{told}");
}
