use std::time::Duration;

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::database::Room;

const DEADLINE: Duration = Duration::from_mins(1);

async fn ask(server: &ApiServer, request: http::request::Builder, body: String) -> (u16, String) {
    let request = request.body(Body::from(body.into_bytes())).unwrap();
    let answer = server.client().send(request).await.unwrap();
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(server: &ApiServer, path: &str) -> (u16, String) {
    ask(server, Request::get(path), String::new()).await
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn create(server: &ApiServer, name: &str, text: &str) -> (u16, String) {
    let map = json!({"metadata": {"name": name}, "data": {"text": text}});
    ask(server, Request::post(MAPS), map.to_string()).await
}

async fn names(server: &ApiServer) -> Vec<String> {
    let (code, list) = get(server, MAPS).await;
    assert_eq!(code, 200);
    let list: Value = serde_json::from_str(&list).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .filter(|name| name != "kube-root-ca.crt")
        .collect()
}

async fn becomes_ready(server: &ApiServer) {
    let ready = async {
        while get(server, "/readyz").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, ready).await.unwrap();
}

/// Room behind what the file has when the disk fills up: none at all, or enough to begin a write.
#[rstest]
#[case::nothing_fits(None)]
#[case::a_write_begins_and_fails(Some(8192))]
#[tokio::test]
async fn a_full_disk_refuses_writes_reads_go_on_and_room_ends_it(#[case] spare: Option<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let config = ApiServerConfig::new(folder.path(), "token");
    let room = Room::of(u64::MAX);
    let storage = Storage::Limited(room.clone());
    let server = ApiServer::open_on(config.clone(), storage).await.unwrap();
    assert_eq!(create(&server, "before", "kept").await.0, 201);

    let file = folder.path().join("objects.redb");
    let length = fs::metadata(&file).unwrap().len();
    room.set(spare.map_or(0, |spare| length + spare));
    let (code, refused) = create(&server, "refused", &"x".repeat(2 << 20)).await;
    let refused: Value = serde_json::from_str(&refused).unwrap();
    let (ready, told) = get(&server, "/readyz").await;

    assert_eq!(
        (code, &refused["reason"]),
        (507, &json!("InsufficientStorage")),
        "{refused}"
    );
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("disk is full")
    );
    assert_eq!(ready, 500);
    assert!(told.contains("[-]disk failed"), "{told}");
    assert_eq!(get(&server, "/livez").await.0, 200);
    assert_eq!(names(&server).await, ["before"]);

    room.set(u64::MAX);
    becomes_ready(&server).await;
    assert_eq!(create(&server, "after", "kept").await.0, 201);
    assert_eq!(names(&server).await, ["after", "before"]);

    server.shutdown().await;
    drop(server);
    let reopened = ApiServer::open(config).await.unwrap();
    assert_eq!(names(&reopened).await, ["after", "before"]);
    reopened.shutdown().await;
}

#[tokio::test]
async fn a_write_finds_the_room_itself() {
    let folder = tempfile::tempdir().unwrap();
    let room = Room::of(u64::MAX);
    let config = ApiServerConfig::new(folder.path(), "token");
    let server = ApiServer::open_on(config, Storage::Limited(room.clone()))
        .await
        .unwrap();
    room.set(0);
    assert_eq!(create(&server, "a", "first").await.0, 507);
    // The name was planned before and must be free again.
    assert_eq!(create(&server, "a", "second").await.0, 507);

    room.set(u64::MAX);

    assert_eq!(create(&server, "a", "third").await.0, 201);
    assert_eq!(get(&server, "/readyz").await.0, 200);
    assert!(get(&server, &format!("{MAPS}/a")).await.1.contains("third"));
    server.shutdown().await;
}
