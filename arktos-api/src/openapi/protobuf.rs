//! Writes protobuf messages: as much of the wire format as OpenAPI documents need.

pub(super) mod v2;
pub(super) mod v3;

use serde_json::Value;

/// A message that is being written. What is empty is left out, as protobuf has it.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A field of bytes or text.
    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.number(u64::from(field) << 3 | 2);
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A field of text, when the value is a text and not empty.
    pub(super) fn text(&mut self, field: u32, value: &Value) {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            self.bytes(field, text.as_bytes());
        }
    }

    /// A repeated field of texts.
    pub(super) fn texts(&mut self, field: u32, values: &Value) {
        for value in values.as_array().into_iter().flatten() {
            self.text(field, value);
        }
    }

    /// A field that is true or absent.
    pub(super) fn flag(&mut self, field: u32, value: &Value) {
        if *value == Value::Bool(true) {
            self.number(u64::from(field) << 3);
            self.number(1);
        }
    }

    /// A field that says true or false.
    pub(super) fn choice(&mut self, field: u32, value: bool) {
        self.number(u64::from(field) << 3);
        self.number(u64::from(value));
    }

    /// A field of a whole number that is not zero.
    pub(super) fn whole(&mut self, field: u32, value: &Value) {
        if let Some(number) = value.as_i64().filter(|number| *number != 0) {
            self.number(u64::from(field) << 3);
            self.number(number.cast_unsigned());
        }
    }

    /// A field of a number that is not zero.
    pub(super) fn double(&mut self, field: u32, value: &Value) {
        if let Some(number) = value.as_f64().filter(|number| *number != 0.0) {
            self.real(field, number);
        }
    }

    /// A field of a number, whichever it is.
    pub(super) fn real(&mut self, field: u32, number: f64) {
        self.number(u64::from(field) << 3 | 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// A field of a message that is written already.
    pub(super) fn written(&mut self, field: u32, message: &Message) {
        self.bytes(field, &message.0);
    }

    /// A field of another message.
    pub(super) fn message(&mut self, field: u32, message: Message) {
        self.bytes(field, &message.0);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// A repeated field of what a value has beyond what OpenAPI knows: what begins with the prefix.
    pub(super) fn extensions(&mut self, field: u32, of: &Value, prefix: &str) {
        for (name, value) in of.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with(prefix)) {
            self.entry(field, name, any(value));
        }
    }

    /// An entry of a map, as protobuf writes it here: a message of a name and a value.
    fn entry(&mut self, field: u32, name: &str, value: Self) {
        let mut entry = Self::default();
        entry.bytes(1, name.as_bytes());
        entry.message(2, value);
        self.message(field, entry);
    }
}

/// A map as protobuf writes it here: a list of messages of a name and a value.
pub(super) fn named(field: u32, map: &Value, encode: fn(&Value) -> Message) -> Message {
    let mut message = Message::default();
    for (name, value) in map.as_object().into_iter().flatten() {
        message.entry(field, name, encode(value));
    }
    message
}

/// A message of another one.
pub(super) fn wrapped(field: u32, inner: Message) -> Message {
    let mut message = Message::default();
    message.message(field, inner);
    message
}

/// Any value, as YAML: JSON is YAML.
pub(super) fn any(value: &Value) -> Message {
    let mut message = Message::default();
    message.bytes(2, value.to_string().as_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_tagged_and_lengths_are_varints() {
        let mut inner = Message::default();
        inner.text(1, &Value::from("a".repeat(200)));
        inner.flag(3, &Value::Bool(true));
        inner.flag(4, &Value::Bool(false));
        let mut message = Message::default();
        message.message(16, inner);
        let bytes = message.into_bytes();
        assert_eq!(bytes[..4], [0x82, 0x01, 0xcd, 0x01]);
        assert_eq!(bytes[4..7], [0x0a, 0xc8, 0x01]);
        assert_eq!(bytes[bytes.len() - 2..], [0x18, 0x01]);
    }
}
