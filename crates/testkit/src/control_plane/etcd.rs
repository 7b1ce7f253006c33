//! What is asked of etcd itself, through its JSON interface.

use std::io;
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Drops everything but the newest version of each key.
pub(super) async fn forget_history(port: u16) -> io::Result<()> {
    // A key that does not exist: only the head of the answer is of interest.
    let answer = ask(port, "/v3/kv/range", &json!({ "key": "AA==" })).await?;
    let newest = answer["header"]["revision"].as_str();
    let newest = newest.ok_or_else(|| io::Error::other(format!("no revision in {answer}")))?;
    let wanted = json!({ "revision": newest, "physical": true });
    ask(port, "/v3/kv/compaction", &wanted).await?;
    Ok(())
}

async fn ask(port: u16, path: &str, question: &Value) -> io::Result<Value> {
    let body = question.to_string();
    let length = body.len();
    // HTTP/1.0, so that the answer ends with the connection and comes in one piece.
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: etcd\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(serde_json::from_str(body)?),
        _ => Err(io::Error::other(answer)),
    }
}
