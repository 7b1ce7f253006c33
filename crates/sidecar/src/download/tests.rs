use std::fs;

use rstest::rstest;

use super::*;

#[rstest]
#[case::path("/models/a", Source::Folder("/models/a".into()))]
#[case::volume("pvc://models/a", Source::Folder("/models/a".into()))]
#[case::volume_with_a_slash("pvc:///models/a", Source::Folder("/models/a".into()))]
#[case::file("file:///models/a", Source::Folder("/models/a".into()))]
#[case::server("http://host:80/x/a.bin?y", Source::File { url: "http://host:80/x/a.bin?y".into(), name: "a.bin".into() })]
fn reads_sources(#[case] text: &str, #[case] expected: Source) {
    assert_eq!(read_source(text).unwrap(), expected);
}

#[rstest]
#[case::empty_volume("pvc://")]
#[case::server_without_a_file("http://host/")]
#[case::hub("hf://org/model")]
#[case::hub_without_a_scheme("org/model")]
#[case::bucket("s3://bucket/path")]
#[case::encrypted("https://host/file")]
fn refuses_sources(#[case] text: &str) {
    assert!(read_source(text).unwrap_err().is_callers());
}

#[rstest]
#[case::inside("/cache/models/a", true)]
#[case::beside("/cachette/a", false)]
#[case::up_and_out("/cache/../etc", false)]
#[case::relative("cache/a", false)]
fn writes_only_where_it_may(#[case] folder: &str, #[case] allowed: bool) {
    let downloader = Downloader::new(vec!["/cache".into()]).unwrap();
    assert_eq!(downloader.check(Path::new(folder)).is_ok(), allowed);
}

#[tokio::test]
async fn copies_a_folder_and_leaves_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::create_dir_all(from.join("deep")).unwrap();
    fs::write(from.join("deep/weights"), "12345").unwrap();
    std::os::unix::fs::symlink("deep/weights", from.join("link")).unwrap();
    fs::create_dir_all(&to).unwrap();
    fs::write(to.join("mine"), "stays").unwrap();

    let downloader = Downloader::new(vec![folder.path().to_path_buf()]).unwrap();
    let source = from.display().to_string();
    for _ in 0..2 {
        downloader.fetch(&source, &to).await.unwrap();
    }

    assert_eq!(fs::read_to_string(to.join("link")).unwrap(), "12345");
    assert_eq!(fs::read_to_string(to.join("mine")).unwrap(), "stays");
    let names = fs::read_dir(to.join("deep")).unwrap().count();
    assert_eq!(names, 1, "nothing unfinished is left");
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let downloader = Downloader::new(Vec::new()).unwrap();
    let missing = folder.path().join("missing").display().to_string();
    let error = downloader.fetch(&missing, folder.path()).await.unwrap_err();
    assert!(matches!(error, DownloadError::NoFolder(_)), "{error}");
}
