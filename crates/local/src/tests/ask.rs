use std::io::{Read, Write};
use std::net::TcpListener;

use crate::ask::{Answer, AskError, Question, ask};

const STREAM: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"Good \"}}]}\n\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"day.\"}}]}\n\n\
    data: {\"choices\":[],\"usage\":{\"completion_tokens\":2}}\n\n\
    data: [DONE]\n\n";

/// A router that gives one answer.
fn router(status: &str, headers: &str, body: &str) -> Question {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let router = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 1024];
        while !request.ends_with(b"}") {
            let read = client.read(&mut buffer).unwrap();
            request.extend_from_slice(&buffer[..read]);
        }
        client.write_all(answer.as_bytes()).unwrap();
    });
    Question {
        router,
        model: "m".into(),
        text: "Hello".into(),
    }
}

#[tokio::test]
async fn the_answer_is_written_as_it_streams_and_explained() {
    let question = router(
        "200 OK",
        "x-kthena-explain: pod=a; fewest in flight\r\n",
        STREAM,
    );
    let mut out = Vec::new();

    let answer = ask(&question, &mut out).await.unwrap();

    assert_eq!(String::from_utf8(out).unwrap(), "Good day.\n");
    assert_eq!(
        answer,
        Answer {
            completion_tokens: 2,
            explanation: Some("pod=a; fewest in flight".into())
        }
    );
}

#[tokio::test]
async fn a_refusal_is_told_in_the_routers_words() {
    let question = router(
        "404 Not Found",
        "",
        "{\"error\":{\"message\":\"route not found\"}}",
    );

    let error = ask(&question, &mut Vec::new()).await.unwrap_err();

    assert_eq!(
        error.to_string(),
        "the router answered 404: route not found"
    );
}

#[tokio::test]
async fn a_router_that_is_not_there_is_an_error() {
    let question = Question {
        router: "http://127.0.0.1:1".into(),
        model: "m".into(),
        text: "x".into(),
    };

    assert!(matches!(
        ask(&question, &mut Vec::new()).await,
        Err(AskError::Http(_))
    ));
}
