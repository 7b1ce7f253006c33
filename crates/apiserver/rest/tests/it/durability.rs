//! What was acknowledged is there after `kill -9`.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kthena_apiserver_rest::{ApiServer, ApiServerConfig, DatabaseError, ServerError};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

/// Names the state folder to the child process.
const FOLDER: &str = "KTHENA_TEST_STATE";

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
}

async fn open(folder: &Path) -> ApiServer {
    ApiServer::open(ApiServerConfig::new(folder, "token"))
        .await
        .unwrap()
}

/// The child: writes for ever, several writers at once, and prints each name once it is acknowledged.
///
/// Run as a test of its own it has no folder and nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let server = open(Path::new(&folder)).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    let round = maps.list(&ListParams::default()).await.unwrap().items.len();
    let writers = (0..8).map(|writer| {
        let maps = maps.clone();
        async move {
            for number in 0.. {
                let name = format!("w{writer}-r{round}-n{number}");
                maps.create(&PostParams::default(), &map(&name))
                    .await
                    .unwrap();
                println!("\nmade {name}");
                if number % 3 == 0 {
                    maps.delete(&name, &DeleteParams::default()).await.unwrap();
                    println!("\ngone {name}");
                }
            }
        }
    });
    join_all(writers).await;
}

/// A child process that is killed when it is dropped.
struct Writing(Child);

impl Writing {
    fn start(folder: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "durability::child_that_writes_until_it_is_killed",
                "--exact",
                "--nocapture",
            ])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_by_kill_nine() {
    let folder = tempfile::tempdir().unwrap();
    let mut version = 0;
    // Other moments at each round: soon after the start, in the middle of traffic, later.
    for lines in [1, 40, 200, 500] {
        let mut made = Vec::new();
        let mut gone = Vec::new();
        let mut writing = Writing::start(folder.path());
        let output = BufReader::new(writing.0.stdout.take().unwrap());
        for line in output.lines().take(lines * 2 + 4) {
            let line = line.unwrap();
            match line.split_once(' ') {
                Some(("made", name)) => made.push(name.to_owned()),
                Some(("gone", name)) => gone.push(name.to_owned()),
                _ => {}
            }
        }
        drop(writing);

        let server = open(folder.path()).await;
        let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
        let listed = maps.list(&ListParams::default()).await.unwrap();
        let names: Vec<String> = listed
            .items
            .iter()
            .map(kube::ResourceExt::name_any)
            .collect();
        for name in &made {
            // The deletion of the newest one may have reached the disk without being acknowledged.
            let last_of_writer = made.iter().rfind(|other| other[..2] == name[..2]) == Some(name);
            let expected = !gone.contains(name);
            assert!(
                names.contains(name) == expected || (expected && last_of_writer),
                "{name} should be {}",
                if expected { "there" } else { "gone" }
            );
        }
        let reached: u64 = listed.metadata.resource_version.unwrap().parse().unwrap();
        assert!(
            reached > version,
            "versions went from {version} to {reached}"
        );
        version = reached;
        server.shutdown().await;
    }
}

#[tokio::test]
async fn versions_go_on_after_a_restart_even_if_the_last_change_was_a_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let server = open(folder.path()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    maps.create(&PostParams::default(), &map("a"))
        .await
        .unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let before: u64 = maps
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap()
        .parse()
        .unwrap();
    server.shutdown().await;
    drop((maps, server));

    let server = open(folder.path()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    let made = maps
        .create(&PostParams::default(), &map("b"))
        .await
        .unwrap();

    assert!(made.resource_version().unwrap().parse::<u64>().unwrap() > before);
    server.shutdown().await;
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).await;

    let refused = ApiServer::open(ApiServerConfig::new(folder.path(), "token"))
        .await
        .unwrap_err();

    assert!(
        matches!(refused, ServerError::Database(DatabaseError::InUse { .. })),
        "{refused}"
    );
    first.shutdown().await;
}

/// A small file system in memory, which only root can mount.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_shows_none_of_them() {
    let Some(disk) = SmallDisk::mount("8m") else {
        println!("skipped: mounting a small file system needs root");
        return;
    };
    let server = open(disk.0.path()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    let mut kept = Vec::new();
    let mut refused = None;
    for number in 0..200 {
        let mut large = map(&format!("m{number}"));
        large
            .data
            .get_or_insert_default()
            .insert("text".into(), "x".repeat(200 << 10));
        match maps.create(&PostParams::default(), &large).await {
            Ok(made) => kept.push(made.name_any()),
            Err(error) => {
                refused = Some((large.name_any(), error));
                break;
            }
        }
    }

    let (name, error) = refused.unwrap();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 507),
        "{error}"
    );
    assert!(maps.get_opt(&name).await.unwrap().is_none());
    assert!(!kept.is_empty());
    server.shutdown().await;
    drop((maps, server));
    let server = open(disk.0.path()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    for name in kept {
        assert!(
            maps.get_opt(&name).await.unwrap().is_some(),
            "{name} is lost"
        );
    }
    server.shutdown().await;
}
