//! Steps through `MessagePack` without trusting it: every length is checked against what is there.

use rmp::Marker;

use super::EngineHash;

/// A place in `MessagePack` bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// A value; what is inside arrays and maps comes from the reader next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Nil,
    Bool,
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Str(&'a [u8]),
    Bytes(&'a [u8]),
    Extension,
    Array(u32),
    Map(u32),
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes that are left: an upper bound for how many values can still come.
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next value, or nothing where the bytes end within it.
    pub(super) fn value(&mut self) -> Option<Value<'a>> {
        let [marker] = *self.number::<1>()?;
        Some(match Marker::from_u8(marker) {
            Marker::Null => Value::Nil,
            Marker::True | Marker::False => Value::Bool,
            Marker::FixPos(value) => Value::Unsigned(value.into()),
            Marker::U8 => Value::Unsigned(self.u8()?.into()),
            Marker::U16 => Value::Unsigned(self.u16()?.into()),
            Marker::U32 => Value::Unsigned(self.u32()?.into()),
            Marker::U64 => Value::Unsigned(u64::from_be_bytes(*self.number()?)),
            Marker::FixNeg(value) => signed(value.into()),
            Marker::I8 => signed(i8::from_be_bytes(*self.number()?).into()),
            Marker::I16 => signed(i16::from_be_bytes(*self.number()?).into()),
            Marker::I32 => signed(i32::from_be_bytes(*self.number()?).into()),
            Marker::I64 => signed(i64::from_be_bytes(*self.number()?)),
            Marker::F32 => Value::Float(f32::from_be_bytes(*self.number()?).into()),
            Marker::F64 => Value::Float(f64::from_be_bytes(*self.number()?)),
            Marker::FixStr(len) => Value::Str(self.bytes(len.into())?),
            Marker::Str8 => Value::Str(self.sized(Self::u8)?),
            Marker::Str16 => Value::Str(self.sized(Self::u16)?),
            Marker::Str32 => Value::Str(self.sized(Self::u32)?),
            Marker::Bin8 => Value::Bytes(self.sized(Self::u8)?),
            Marker::Bin16 => Value::Bytes(self.sized(Self::u16)?),
            Marker::Bin32 => Value::Bytes(self.sized(Self::u32)?),
            Marker::FixArray(len) => Value::Array(len.into()),
            Marker::Array16 => Value::Array(self.u16()?.into()),
            Marker::Array32 => Value::Array(self.u32()?),
            Marker::FixMap(len) => Value::Map(len.into()),
            Marker::Map16 => Value::Map(self.u16()?.into()),
            Marker::Map32 => Value::Map(self.u32()?),
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => {
                let len = self.u8()?;
                self.extension(len.into())?
            }
            Marker::Ext16 => {
                let len = self.u16()?;
                self.extension(len.into())?
            }
            Marker::Ext32 => {
                let len = self.u32()?;
                self.extension(len)?
            }
            Marker::Reserved => return None,
        })
    }

    /// A reader of the next value alone, with all that is inside it; this one goes behind it.
    pub(super) fn whole(&mut self) -> Option<Self> {
        let before = self.rest;
        // Counts instead of descending, so that deep nesting costs no stack.
        let mut missing = 1_u64;
        while missing > 0 {
            missing -= 1;
            missing += match self.value()? {
                Value::Array(len) => u64::from(len),
                Value::Map(len) => 2 * u64::from(len),
                _ => 0,
            };
            if missing > self.remaining() as u64 {
                return None;
            }
        }
        let len = before.len() - self.rest.len();
        Some(Self::new(&before[..len]))
    }

    fn bytes(&mut self, len: u32) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len as usize)?;
        self.rest = rest;
        Some(taken)
    }

    fn sized<L: Into<u32>>(&mut self, len: fn(&mut Self) -> Option<L>) -> Option<&'a [u8]> {
        let len = len(self)?.into();
        self.bytes(len)
    }

    fn extension(&mut self, len: u32) -> Option<Value<'a>> {
        self.u8()?;
        self.bytes(len)?;
        Some(Value::Extension)
    }

    fn number<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (number, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(number)
    }

    fn u8(&mut self) -> Option<u8> {
        self.number().copied().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.number().copied().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.number().copied().map(u32::from_be_bytes)
    }
}

fn signed<'a>(value: i64) -> Value<'a> {
    u64::try_from(value).map_or(Value::Negative(value), Value::Unsigned)
}

impl Value<'_> {
    /// The value as a block's name.
    pub(super) fn hash(self) -> Option<EngineHash> {
        Some(match self {
            Self::Unsigned(hash) => EngineHash::Unsigned(hash),
            Self::Negative(hash) => EngineHash::Negative(hash),
            Self::Bytes(bytes) => EngineHash::Bytes(bytes.into()),
            _ => return None,
        })
    }
}
