use proptest::prelude::*;
use rstest::rstest;

use super::answer::{Answer, AnswerRequest, plan};
use super::tokenizer::{END_OF_TEXT, VOCABULARY, decode, encode};
use crate::batch::FinishReason;

#[rstest]
#[case::word("hello", 1)]
#[case::two_words("hello world", 2)]
#[case::long_word("assistant", 2)]
#[case::capital("Hello World", 2)]
#[case::all_capitals("NASA", 4)]
#[case::digits("1234567", 3)]
#[case::spaced_digits("in 1995", 3)]
#[case::punctuation("a, b", 3)]
#[case::double_space("a  b", 3)]
#[case::beyond_ascii("naïve 東京", 6)]
#[case::nothing("", 0)]
fn token_counts(#[case] text: &str, #[case] expected: usize) {
    let tokens = encode(text);
    assert_eq!(tokens.len(), expected, "{tokens:?}");
    assert_eq!(decode(&tokens), text);
}

#[test]
fn english_comes_to_about_four_bytes_a_token() {
    let text = "Serving a language model means deciding, for every request that arrives, which \
                machine should compute the answer and which part of the work is already done.";
    let share = text.len() as f64 / encode(text).len() as f64;
    assert!((3.5..4.8).contains(&share), "{share}");
}

proptest! {
    #[test]
    fn decoding_gives_back_what_was_encoded(text in "\\PC{0,60}|[a-zA-Z0-9 .\\n]{0,60}") {
        let tokens = encode(&text);
        prop_assert!(tokens.iter().all(|&token| token < VOCABULARY));
        prop_assert_eq!(decode(&tokens), text);
    }

    #[test]
    fn any_id_decodes_to_something(token in any::<u32>()) {
        let _ = decode(&[token]);
    }

    #[test]
    fn tokens_agree_on_common_prefixes_of_words(head in "([a-z]{1,9} ){1,6}", a in "[a-z]{1,4}", b in "[a-z]{1,4}") {
        let first = encode(&format!("{head}{a}"));
        let second = encode(&format!("{head}{b}"));
        let common = encode(head.trim_end()).len();
        prop_assert_eq!(&first[..common], &second[..common]);
    }
}

fn request(prompt: &[u32]) -> AnswerRequest<'_> {
    AnswerRequest {
        prompt,
        seed: 0,
        max_tokens: 10_000,
        min_tokens: 0,
        ignore_end: false,
        stop: &[],
        echo: None,
    }
}

fn text(answer: &Answer) -> String {
    let mut text = decode(&answer.tokens);
    text.truncate(answer.text_len);
    text
}

#[test]
fn same_prompt_and_seed_same_answer() {
    let (hello, goodbye) = (encode("hello"), encode("goodbye"));
    let answer = plan(&request(&hello));
    assert_eq!(plan(&request(&hello)), answer);
    assert_ne!(plan(&request(&goodbye)), answer);
    let seeded = AnswerRequest {
        seed: 1,
        ..request(&hello)
    };
    assert_ne!(plan(&seeded), answer);
}

#[test]
fn an_answer_ends_by_itself_with_the_end_of_text() {
    let answer = plan(&request(&[1]));
    assert_eq!(answer.finish, FinishReason::Stop);
    assert_eq!(answer.tokens.last(), Some(&END_OF_TEXT));
    assert!(text(&answer).ends_with('.') && answer.tokens.len() > 15);
}

#[rstest]
#[case::cut_short(5, 0, false)]
#[case::one_token(1, 0, false)]
#[case::beyond_its_end(2000, 0, true)]
#[case::forced_to_the_limit(300, 300, false)]
fn the_limit_is_met_exactly(#[case] most: u64, #[case] least: u64, #[case] ignore_end: bool) {
    let answer = plan(&AnswerRequest {
        max_tokens: most,
        min_tokens: least,
        ignore_end,
        ..request(&[1, 2])
    });
    assert_eq!(answer.tokens.len() as u64, most);
    assert_eq!(answer.finish, FinishReason::Length);
}

#[test]
fn a_minimum_delays_the_end() {
    let answer = plan(&AnswerRequest {
        min_tokens: 400,
        ..request(&[1])
    });
    assert!(answer.tokens.len() >= 400);
    assert_eq!(answer.finish, FinishReason::Stop);
}

#[test]
fn echo_answers_with_the_text() {
    let answer = plan(&AnswerRequest {
        echo: Some("say this"),
        ..request(&[1])
    });
    assert_eq!(text(&answer), "say this");
    assert_eq!(answer.finish, FinishReason::Stop);
}

#[rstest]
#[case::inside_a_token("ver", "one ri")]
#[case::across_tokens("er the", "one riv")]
#[case::at_the_start("one", "")]
#[case::absent("zzz", "one river the end")]
fn stop_texts_cut(#[case] stop: &str, #[case] expected: &str) {
    let stops = [stop.to_owned()];
    let answer = plan(&AnswerRequest {
        stop: &stops,
        echo: Some("one river the end"),
        ..request(&[1])
    });
    assert_eq!(text(&answer), expected);
    assert_eq!(answer.stop.is_some(), stop != "zzz");
}

#[test]
fn a_stop_text_before_the_minimum_does_not_count() {
    let stops = ["a".to_owned()];
    let answer = plan(&AnswerRequest {
        stop: &stops,
        min_tokens: 3,
        echo: Some("a b c a d"),
        ..request(&[1])
    });
    assert_eq!(text(&answer), "a b c ");
}
