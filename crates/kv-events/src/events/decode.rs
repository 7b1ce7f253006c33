//! From the wire to values: positional arrays and maps, each event by itself.

use std::sync::Arc;

use super::reader::{Reader, Value};
use super::{Adapter, Batch, EngineHash, KvEvent, Removed, Stored};

/// Why a payload is not a batch at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early or are no `MessagePack`.
    #[error("not whole MessagePack")]
    Malformed,
    /// It is `MessagePack` of another shape.
    #[error("not a batch of cache events")]
    NotABatch,
}

/// Reads one payload.
///
/// Fields that are missing, unknown or in another order are no fault; a field of the wrong type
/// makes its event faulty.
pub fn decode(payload: &[u8]) -> Result<Batch, DecodeError> {
    let mut reader = Reader::new(payload);
    let mut batch = Batch::default();
    let mut events = None;
    let fields = fields(&mut reader, &["ts", "events", "data_parallel_rank"])?;
    for (name, value) in fields {
        match name {
            b"ts" => batch.timestamp = timestamp(value).ok_or(DecodeError::NotABatch)?,
            b"events" => events = Some(value),
            b"data_parallel_rank" | b"attn_dp_rank" => batch.rank = small(value),
            _ => {}
        }
    }
    let mut events = events.ok_or(DecodeError::NotABatch)?;
    let Some(Value::Array(len)) = events.value() else {
        return Err(DecodeError::NotABatch);
    };
    for _ in 0..len {
        let event = events.whole().ok_or(DecodeError::Malformed)?;
        match self::event(event) {
            Read::Known(event) => batch.events.push(event),
            Read::Unknown => batch.unknown += 1,
            Read::Faulty => batch.faulty += 1,
            Read::MissedRemoval => {
                batch.faulty += 1;
                batch.missed_removals += 1;
            }
        }
    }
    Ok(batch)
}

/// What became of one event.
enum Read {
    Known(KvEvent),
    Unknown,
    Faulty,
    MissedRemoval,
}

type Field<'a> = (&'a [u8], Reader<'a>);

/// The members of an array, named by position, or of a map with text keys.
fn fields<'a>(
    reader: &mut Reader<'a>,
    positions: &[&'static str],
) -> Result<Vec<Field<'a>>, DecodeError> {
    let mut fields = Vec::with_capacity(positions.len());
    match reader.value().ok_or(DecodeError::Malformed)? {
        Value::Array(len) => {
            for at in 0..len as usize {
                let value = reader.whole().ok_or(DecodeError::Malformed)?;
                if let Some(name) = positions.get(at) {
                    fields.push((name.as_bytes(), value));
                }
            }
        }
        Value::Map(len) => {
            for _ in 0..len {
                let mut key = reader.whole().ok_or(DecodeError::Malformed)?;
                let value = reader.whole().ok_or(DecodeError::Malformed)?;
                if let Some(Value::Str(name)) = key.value() {
                    fields.push((name, value));
                }
            }
        }
        _ => return Err(DecodeError::NotABatch),
    }
    Ok(fields)
}

const STORED: &[&str] = &[
    "type",
    "block_hashes",
    "parent_block_hash",
    "token_ids",
    "block_size",
    "lora_id",
    "medium",
    "lora_name",
    "extra_keys",
    "group_idx",
];
const REMOVED: &[&str] = &["type", "block_hashes", "medium", "group_idx"];

fn event(reader: Reader<'_>) -> Read {
    let Some(tag) = tag(reader) else {
        return Read::Unknown;
    };
    match tag {
        b"BlockStored" | b"BlockRemoved" if is_remote(reader) => Read::Unknown,
        b"BlockStored" => {
            stored(reader).map_or(Read::Faulty, |event| Read::Known(KvEvent::Stored(event)))
        }
        b"BlockRemoved" => removed(reader).map_or(Read::MissedRemoval, |event| {
            Read::Known(KvEvent::Removed(event))
        }),
        b"AllBlocksCleared" => Read::Known(KvEvent::Cleared),
        _ => Read::Unknown,
    }
}

/// Whether an event is about a store away from the engine: whatever is there is as near to all others. Only maps say so.
fn is_remote(mut reader: Reader<'_>) -> bool {
    let fields = fields(&mut reader, &[]).unwrap_or_default();
    let locality = fields.into_iter().find(|(name, _)| *name == b"locality");
    let said = locality.and_then(|(_, value)| text(value));
    said.is_some_and(|said| said.eq_ignore_ascii_case("REMOTE"))
}

fn tag(mut reader: Reader<'_>) -> Option<&[u8]> {
    let fields = fields(&mut reader, &["type"]).ok()?;
    let (_, mut value) = fields.into_iter().find(|(name, _)| *name == b"type")?;
    match value.value()? {
        Value::Str(tag) => Some(tag),
        _ => None,
    }
}

fn stored(mut reader: Reader<'_>) -> Option<Stored> {
    let mut stored = Stored::default();
    let (mut id, mut name, mut keys) = (None, None, None);
    let mut complete = (false, false);
    for (field, mut value) in fields(&mut reader, STORED).ok()? {
        match field {
            b"block_hashes" => {
                stored.hashes = hashes(value)?;
                complete.0 = true;
            }
            b"parent_block_hash" => match value.value()? {
                Value::Nil => {}
                parent => stored.parent = Some(parent.hash()?),
            },
            b"token_ids" => {
                stored.tokens = list(value, token)?;
                complete.1 = true;
            }
            b"block_size" => stored.block_size = small(value)?,
            b"lora_id" => id = number(value),
            b"lora_name" => name = text(value),
            b"medium" => stored.medium = text(value),
            b"group_idx" => stored.group = small(value).unwrap_or_default(),
            b"extra_keys" => keys = value.value().map(|keys| (keys, value)),
            _ => {}
        }
    }
    if complete != (true, true) {
        return None;
    }
    stored.keyed = keys.is_some_and(|keys| is_keyed(keys, name.as_deref()));
    // Engines number adapters from 1; 0 says that there is none.
    let id = id.filter(|id| *id != 0);
    stored.adapter = (id.is_some() || name.is_some()).then_some(Adapter { id, name });
    Some(stored)
}

fn removed(mut reader: Reader<'_>) -> Option<Removed> {
    let mut removed = Removed::default();
    let mut complete = false;
    for (field, value) in fields(&mut reader, REMOVED).ok()? {
        match field {
            b"block_hashes" => {
                removed.hashes = hashes(value)?;
                complete = true;
            }
            b"medium" => removed.medium = text(value),
            b"group_idx" => removed.group = small(value).unwrap_or_default(),
            _ => {}
        }
    }
    complete.then_some(removed)
}

/// Whether any block's extra keys name more than the adapter, which engines repeat there.
fn is_keyed((keys, mut rest): (Value<'_>, Reader<'_>), adapter: Option<&str>) -> bool {
    let Value::Array(blocks) = keys else {
        return false;
    };
    (0..blocks).any(|_| match rest.value() {
        Some(Value::Array(len)) => (0..len).any(|_| {
            let inner = rest.whole().and_then(|mut key| key.value());
            !matches!((inner, adapter), (Some(Value::Str(key)), Some(name)) if key == name.as_bytes())
        }),
        Some(Value::Nil) | None => false,
        Some(_) => true,
    })
}

fn list<'a, T>(mut reader: Reader<'a>, read: fn(Value<'a>) -> Option<T>) -> Option<Vec<T>> {
    let Value::Array(len) = reader.value()? else {
        return None;
    };
    // A value takes a byte at least, so no more than that can come whatever the length says.
    let mut items = Vec::with_capacity((len as usize).min(reader.remaining()));
    for _ in 0..len {
        items.push(read(reader.value()?)?);
    }
    Some(items)
}

fn hashes(reader: Reader<'_>) -> Option<Vec<EngineHash>> {
    list(reader, Value::hash)
}

fn token(value: Value<'_>) -> Option<u32> {
    match value {
        Value::Unsigned(token) => u32::try_from(token).ok(),
        _ => None,
    }
}

fn timestamp(mut reader: Reader<'_>) -> Option<f64> {
    match reader.value()? {
        Value::Float(seconds) => Some(seconds),
        Value::Unsigned(seconds) => u32::try_from(seconds).ok().map(f64::from),
        _ => None,
    }
}

fn small(mut reader: Reader<'_>) -> Option<u32> {
    token(reader.value()?)
}

fn number(mut reader: Reader<'_>) -> Option<i64> {
    match reader.value()? {
        Value::Unsigned(number) => i64::try_from(number).ok(),
        Value::Negative(number) => Some(number),
        _ => None,
    }
}

fn text(mut reader: Reader<'_>) -> Option<Arc<str>> {
    match reader.value()? {
        Value::Str(bytes) => std::str::from_utf8(bytes).ok().map(Arc::from),
        _ => None,
    }
}
