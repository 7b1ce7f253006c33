use rstest::rstest;

use super::*;

#[derive(Default)]
struct Parts {
    headers: &'static [(&'static str, &'static str)],
    query: &'static str,
    user: Option<&'static str>,
    subject: Option<&'static str>,
}

impl RequestParts for Parts {
    fn header<'s>(&'s self, name: &str) -> Box<dyn Iterator<Item = &'s [u8]> + 's> {
        let name = name.to_ascii_lowercase();
        let values = self.headers.iter();
        Box::new(values.filter_map(move |(header, value)| {
            header
                .eq_ignore_ascii_case(&name)
                .then_some(value.as_bytes())
        }))
    }

    fn query(&self) -> &[u8] {
        self.query.as_bytes()
    }

    fn body_user(&self) -> Option<&str> {
        self.user
    }

    fn claim(&self, name: &str) -> Option<&str> {
        self.subject.filter(|_| name == "sub")
    }
}

fn source(kind: SessionSourceType, name: &str) -> SessionSource {
    SessionSource {
        kind,
        name: name.to_owned(),
    }
}

const PARTS: Parts = Parts {
    headers: &[
        ("X-Chat", ""),
        ("x-chat", " h1 "),
        ("cookie", "theme=dark; SID=no; sid=c1"),
        ("Cookie", "sid=c2; empty="),
    ],
    query: "a=1&chat%20id=q%2B1+x&chat=&broken=%4&flag",
    user: Some("u1"),
    subject: Some("s1"),
};

#[rstest]
#[case::header_in_any_case(SessionSourceType::Header, "X-CHAT", Some("h1"))]
#[case::no_such_header(SessionSourceType::Header, "x-other", None)]
#[case::first_cookie_of_the_name(SessionSourceType::Cookie, "sid", Some("c1"))]
#[case::cookie_names_are_exact(SessionSourceType::Cookie, "SID", Some("no"))]
#[case::empty_cookie(SessionSourceType::Cookie, "empty", None)]
#[case::query_is_decoded(SessionSourceType::Query, "chat id", Some("q+1 x"))]
#[case::empty_parameter(SessionSourceType::Query, "chat", None)]
#[case::half_a_code(SessionSourceType::Query, "broken", Some("%4"))]
#[case::parameter_without_value(SessionSourceType::Query, "flag", None)]
#[case::user_of_the_body(SessionSourceType::Body, "user", Some("u1"))]
#[case::no_other_field(SessionSourceType::Body, "model", None)]
#[case::claim(SessionSourceType::JwtClaim, "sub", Some("s1"))]
#[case::no_such_claim(SessionSourceType::JwtClaim, "email", None)]
fn finds(#[case] kind: SessionSourceType, #[case] name: &str, #[case] expected: Option<&str>) {
    let found = value(&source(kind, name), &PARTS);
    assert_eq!(found.as_deref(), expected.map(str::as_bytes));
}

fn sticky(sources: Vec<SessionSource>) -> SessionSticky {
    SessionSticky {
        session_affinity_seconds: None,
        sources,
    }
}

#[test]
fn the_first_source_with_a_value_wins_and_routes_do_not_mix() {
    let two = sticky(vec![
        source(SessionSourceType::Header, "absent"),
        source(SessionSourceType::Cookie, "sid"),
        source(SessionSourceType::Body, "user"),
    ]);
    let one = sticky(vec![source(SessionSourceType::Cookie, "sid")]);
    let of = |route, sticky| SessionKey::of(route, sticky, &PARTS);
    assert!(of("default/chat", &two).is_some());
    assert_eq!(of("default/chat", &two), of("default/chat", &one));
    assert_ne!(of("default/chat", &one), of("default/chatty", &one));
    assert_eq!(of("default/chat", &sticky(vec![])), None);
}

#[test]
fn a_value_without_end_is_no_key() {
    let long: &'static str = Box::leak("x".repeat(LONGEST_KEY + 1).into_boxed_str());
    let parts = |user| Parts {
        user: Some(user),
        ..Parts::default()
    };
    let user = sticky(vec![source(SessionSourceType::Body, "user")]);
    assert_eq!(SessionKey::of("r", &user, &parts(long)), None);
    assert!(SessionKey::of("r", &user, &parts(&long[1..])).is_some());
}
