//! A container's log: a file that is renamed away when it is full.
//!
//! Each line is `<RFC 3339 time> F <text>`, or `P` in place of `F` when the text goes on in the next line of the
//! file because it is longer than [`LONGEST_LINE`]. `x.log` is the current file, `x.log.1` the one before it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// Bytes after which a line is written in parts.
pub const LONGEST_LINE: usize = 16 * 1024;

/// The writing end of a log.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
    files: u32,
    partial: Vec<u8>,
}

impl LogFile {
    /// Opens the log at `path` for appending; at most `files` files of about `limit` bytes are kept.
    pub fn open(path: &Path, limit: u64, files: u32) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            limit,
            files: files.max(1),
            partial: Vec::new(),
        })
    }

    /// Takes output as it comes; what is not a whole line yet is held back.
    pub fn write(&mut self, mut bytes: &[u8], now: Timestamp) -> io::Result<()> {
        let mut out = Vec::with_capacity(bytes.len() + 64);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(&bytes[..end]);
            self.cut(&mut out, now);
            line(&mut out, now, 'F', &self.partial);
            self.partial.clear();
            bytes = &bytes[end + 1..];
        }
        self.partial.extend_from_slice(bytes);
        self.cut(&mut out, now);
        self.append(&out)
    }

    /// Writes what was held back.
    pub fn finish(&mut self, now: Timestamp) -> io::Result<()> {
        let rest = std::mem::take(&mut self.partial);
        if rest.is_empty() {
            return Ok(());
        }
        let mut out = Vec::with_capacity(rest.len() + 64);
        line(&mut out, now, 'F', &rest);
        self.append(&out)
    }

    fn cut(&mut self, out: &mut Vec<u8>, now: Timestamp) {
        while self.partial.len() > LONGEST_LINE {
            let rest = self.partial.split_off(LONGEST_LINE);
            line(out, now, 'P', &self.partial);
            self.partial = rest;
        }
    }

    fn append(&mut self, mut out: &[u8]) -> io::Result<()> {
        while !out.is_empty() {
            let (now, later) = out.split_at(self.room(out));
            if now.is_empty() {
                self.rotate()?;
            }
            self.file.write_all(now)?;
            self.size += now.len() as u64;
            out = later;
        }
        Ok(())
    }

    /// How much of `out`, whole lines, still belongs into the current file; an empty file takes at least one line.
    fn room(&self, out: &[u8]) -> usize {
        let free = usize::try_from(self.limit.saturating_sub(self.size)).unwrap_or(usize::MAX);
        if out.len() <= free {
            return out.len();
        }
        let ends = |bytes: &[u8]| memchr::memrchr(b'\n', bytes).map(|end| end + 1);
        let first = || memchr::memchr(b'\n', out).map_or(out.len(), |end| end + 1);
        match ends(&out[..free]) {
            Some(end) => end,
            None if self.size == 0 => first(),
            None => 0,
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.files == 1 {
            self.file.set_len(0)?;
        } else {
            for older in (1..self.files - 1).rev() {
                rename_if_there(&rotated(&self.path, older), &rotated(&self.path, older + 1))?;
            }
            rename_if_there(&self.path, &rotated(&self.path, 1))?;
            self.file = append(&self.path)?;
        }
        self.size = 0;
        Ok(())
    }
}

/// The name of the `age`-th file before the current one.
pub fn rotated(path: &Path, age: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn line(out: &mut Vec<u8>, now: Timestamp, tag: char, text: &[u8]) {
    out.extend_from_slice(format!("{now:.9} {tag} ").as_bytes());
    out.extend_from_slice(text);
    out.push(b'\n');
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
