//! Writes JSON with members in the order they are put, as the engines do.
//!
//! The usual value type sorts its members, and an engine's order is part of what a byte-level
//! reader sees.

use std::io::Write;

use serde::Serialize;

/// An object being written; it is closed by [`Object::end`].
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    fn key(&mut self, name: &str) {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        value(self.out, name);
        self.out.push(b':');
    }

    /// Puts any value that encodes itself.
    pub(crate) fn put(mut self, name: &str, member: impl Serialize) -> Self {
        self.key(name);
        value(self.out, &member);
        self
    }

    /// Puts `null` under each name.
    pub(crate) fn nulls(mut self, names: &[&str]) -> Self {
        for name in names {
            self.key(name);
            self.out.extend_from_slice(b"null");
        }
        self
    }

    /// Puts what `write` writes.
    pub(crate) fn with(mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        self.key(name);
        write(self.out);
        self
    }

    /// Puts an array whose elements `write` writes.
    pub(crate) fn list<T>(
        self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T),
    ) -> Self {
        self.with(name, |out| {
            out.push(b'[');
            for (at, item) in items.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(out, item);
            }
            out.push(b']');
        })
    }

    /// Applies `more` if there is something to put.
    pub(crate) fn maybe<T>(self, item: Option<T>, more: impl FnOnce(Self, T) -> Self) -> Self {
        match item {
            Some(item) => more(self, item),
            None => self,
        }
    }

    /// Closes the object.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// Appends any value that encodes itself.
pub(crate) fn value(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    if serde_json::to_writer(&mut *out, value).is_err() {
        // Only a map with keys that are no strings gets here; none is ever put.
        let _ = out.write_all(b"null");
    }
}
