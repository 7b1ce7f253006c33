//! Manifests as users write them: files, folders, standard input; one or many documents each.
//!
//! All files are read and all their faults are found before anything is applied.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::positions::Positions;

/// One object of a manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file it came from; `-` is standard input.
    pub file: PathBuf,
    /// As written.
    pub object: Value,
    /// Lines of the file before the document.
    offset: usize,
    /// Where the object stands in its document: empty, or `items[0]`.
    root: String,
    positions: Positions,
}

/// Something wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFault {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; absent if the file as a whole is at fault.
    pub line: Option<usize>,
    /// What is wrong; names the field.
    pub message: String,
}

impl fmt::Display for ManifestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Manifest {
    /// `apiVersion`, empty if absent.
    pub fn api_version(&self) -> &str {
        self.text("apiVersion")
    }

    /// `kind`, empty if absent.
    pub fn kind(&self) -> &str {
        self.text("kind")
    }

    /// `metadata.name`, empty if absent.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// `metadata.namespace`, `default` if absent.
    pub fn namespace(&self) -> &str {
        self.object["metadata"]["namespace"]
            .as_str()
            .unwrap_or("default")
    }

    /// A fault of the field at `path`, such as `spec.template.roles[0].name`.
    pub fn fault(&self, path: &str, message: impl Into<String>) -> ManifestFault {
        ManifestFault {
            file: self.file.clone(),
            line: Some(self.offset + self.positions.line(&self.path_in_document(path))),
            message: message.into(),
        }
    }

    fn path_in_document(&self, path: &str) -> String {
        match (self.root.as_str(), path) {
            ("", path) => path.to_owned(),
            (root, "") => root.to_owned(),
            (root, path) => format!("{root}.{path}"),
        }
    }

    fn text(&self, key: &str) -> &str {
        self.object[key].as_str().unwrap_or_default()
    }
}

/// Reads all objects of `paths`: files, folders (their `.yaml`, `.yml` and `.json` files, by name), or `-`.
///
/// # Errors
///
/// Every file that cannot be read and every document that is no object.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Manifest>, Vec<ManifestFault>> {
    let mut manifests = Vec::new();
    let mut faults = Vec::new();
    for path in paths {
        match files_of(path) {
            Ok(files) => {
                for file in files {
                    match read(&file) {
                        Ok(text) => parse(&file, &text, &mut manifests, &mut faults),
                        Err(error) => faults.push(unreadable(&file, &error)),
                    }
                }
            }
            Err(error) => faults.push(unreadable(path, &error)),
        }
    }
    if faults.is_empty() {
        Ok(manifests)
    } else {
        Err(faults)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> ManifestFault {
    ManifestFault {
        file: path.to_owned(),
        line: None,
        message: error.to_string(),
    }
}

fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if path == Path::new("-") || !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let known = file
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        if known {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(io::Error::other(
            "the folder holds no .yaml, .yml or .json file",
        ));
    }
    Ok(files)
}

fn read(file: &Path) -> io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(file)
}

/// Adds the objects of one file, or what is wrong with them.
pub(crate) fn parse(
    file: &Path,
    text: &str,
    manifests: &mut Vec<Manifest>,
    faults: &mut Vec<ManifestFault>,
) {
    for (offset, document) in documents(text) {
        let fault = |line: Option<usize>, message: String| ManifestFault {
            file: file.to_owned(),
            line: Some(line.unwrap_or(offset + 1)),
            message,
        };
        match object_of(document) {
            Ok(Value::Null) => {}
            Ok(Value::Object(object)) => {
                let positions = Positions::of(document);
                manifests.extend(members(object).into_iter().map(|(root, object)| Manifest {
                    file: file.to_owned(),
                    object,
                    offset,
                    root,
                    positions: positions.clone(),
                }));
            }
            Ok(_) => faults.push(fault(
                None,
                "not a Kubernetes object: a mapping is expected".into(),
            )),
            Err(error) => {
                let line = error.location().map(|place| offset + place.line());
                faults.push(fault(line, error.to_string()));
            }
        }
    }
}

/// The object itself, or the items of a `List`, each with its path in the document.
fn members(mut object: Map<String, Value>) -> Vec<(String, Value)> {
    if object.get("kind").and_then(Value::as_str) != Some("List") {
        return vec![(String::new(), Value::Object(object))];
    }
    match object.remove("items") {
        Some(Value::Array(items)) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| (format!("items[{index}]"), item))
            .collect(),
        _ => Vec::new(),
    }
}

fn object_of(document: &str) -> Result<Value, serde_yaml_ng::Error> {
    let mut value =
        serde_yaml_ng::Value::deserialize(serde_yaml_ng::Deserializer::from_str(document))?;
    value.apply_merge()?;
    serde_yaml_ng::from_value(value)
}

/// The documents of a stream, each with the number of lines before it.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let after = at + line.len();
        if line.trim_end() == "---" || line.starts_with("--- ") {
            documents.push((start_line, &text[start..at]));
            (start, start_line) = (after, number + 1);
        }
        at = after;
    }
    documents.push((start_line, &text[start..]));
    documents.retain(|(_, document)| !is_blank(document));
    documents
}

fn is_blank(document: &str) -> bool {
    document
        .lines()
        .map(str::trim)
        .all(|line| line.is_empty() || line.starts_with('#'))
}
