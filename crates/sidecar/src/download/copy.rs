//! The bytes themselves.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt;

use super::DownloadError;

/// A name nobody asks for, until the file is whole.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    path.with_file_name(name)
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, DownloadError> {
    result.map_err(|source| DownloadError::File {
        path: path.to_path_buf(),
        source,
    })
}

/// Copies what is in `from` into `to`; files that are there with the same length and age stay.
pub(super) async fn folder(from: PathBuf, to: PathBuf) -> Result<(), DownloadError> {
    let copied = tokio::task::spawn_blocking(move || {
        if !from.is_dir() {
            return Err(DownloadError::NoFolder(from));
        }
        copy_tree(&from, &to)
    });
    copied.await.unwrap_or(Err(DownloadError::Stopped))
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), DownloadError> {
    at(to, fs::create_dir_all(to))?;
    for entry in at(from, fs::read_dir(from))? {
        let entry = at(from, entry)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = at(&source, entry.file_type())?;
        if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else if kind.is_symlink() {
            copy_link(&source, &target)?;
        } else if kind.is_file() && !is_there(&source, &target) {
            let part = unfinished(&target);
            at(&source, fs::copy(&source, &part))?;
            let modified = at(
                &source,
                fs::metadata(&source).and_then(|data| data.modified()),
            )?;
            let file = at(&part, fs::File::options().write(true).open(&part))?;
            at(&part, file.set_modified(modified))?;
            at(&target, fs::rename(&part, &target))?;
        }
    }
    Ok(())
}

fn copy_link(source: &Path, target: &Path) -> Result<(), DownloadError> {
    let leads_to = at(source, fs::read_link(source))?;
    if fs::read_link(target).is_ok_and(|there| there == leads_to) {
        return Ok(());
    }
    let part = unfinished(target);
    // Left over from a copy that was killed, if it is there.
    let _ = fs::remove_file(&part);
    at(&part, std::os::unix::fs::symlink(leads_to, &part))?;
    at(target, fs::rename(&part, target))
}

fn is_there(source: &Path, target: &Path) -> bool {
    let (Ok(wanted), Ok(found)) = (fs::metadata(source), fs::metadata(target)) else {
        return false;
    };
    let same_age = matches!((wanted.modified(), found.modified()), (Ok(a), Ok(b)) if a == b);
    wanted.len() == found.len() && same_age
}

/// Fetches one file.
pub(super) async fn file(
    client: &reqwest::Client,
    url: &str,
    to: &Path,
) -> Result<(), DownloadError> {
    let failed = |error: reqwest::Error| DownloadError::Http(error.without_url());
    if let Some(folder) = to.parent() {
        at(folder, tokio::fs::create_dir_all(folder).await)?;
    }
    let mut response = client.get(url).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(DownloadError::Status(response.status().as_u16()));
    }
    let part = unfinished(to);
    let mut out = at(&part, tokio::fs::File::create(&part).await)?;
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        at(&part, out.write_all(&chunk).await)?;
    }
    at(&part, out.sync_all().await)?;
    at(to, tokio::fs::rename(&part, to).await)
}
