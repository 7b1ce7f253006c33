//! Takes the path of a recorded request apart.

use std::collections::BTreeMap;

/// Where a request goes and with which parameters.
#[derive(Debug, Default)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    pub(crate) query: BTreeMap<String, String>,
}

impl Target {
    pub(crate) fn parse(path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut parts = path.trim_start_matches('/').split('/').peekable();
        let mut target = Self::default();
        if parts.next() == Some("apis") {
            parts.next().unwrap().clone_into(&mut target.group);
        }
        parts.next();
        let rest: Vec<&str> = parts.collect();
        let rest = match rest.as_slice() {
            ["namespaces", namespace, resource, rest @ ..] if *resource != "finalize" => {
                (*namespace).clone_into(&mut target.namespace);
                (*resource).clone_into(&mut target.resource);
                rest
            }
            [resource, rest @ ..] => {
                (*resource).clone_into(&mut target.resource);
                rest
            }
            [] => panic!("no resource in {path}"),
        };
        let mut rest = rest.iter();
        target.name = rest
            .next()
            .map(|part| (*part).to_owned())
            .unwrap_or_default();
        target.subresource = rest
            .next()
            .map(|part| (*part).to_owned())
            .unwrap_or_default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            target.query.insert(key.to_owned(), decoded(value));
        }
        target
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits: String = bytes.by_ref().take(2).map(char::from).collect();
            out.push(u8::from_str_radix(&digits, 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).unwrap()
}
