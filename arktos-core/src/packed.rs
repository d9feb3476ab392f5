//! Numbers, texts and times in few bytes: how headers are kept, in memory and on disk.
//!
//! | | |
//! |---|---|
//! | number | seven bits a byte, the lowest first; the highest bit says that more follow |
//! | bytes | how many there are, a number; then they |
//! | text | bytes that are UTF-8 |
//! | time | `00` for none, else `01` and eight bytes of microseconds, little-endian |
//! | list | how many parts there are, a number; then they |

use crate::time::Timestamp;

/// Writes a number.
pub fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes how many parts follow.
pub fn write_length(out: &mut Vec<u8>, length: usize) {
    write_number(out, length as u64);
}

/// Writes bytes, and before them how many there are.
pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Writes a text.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    write_bytes(out, text.as_bytes());
}

/// Writes a time, or that there is none.
pub fn write_time(out: &mut Vec<u8>, time: Option<Timestamp>) {
    match time {
        None => out.push(0),
        Some(time) => {
            out.push(1);
            out.extend_from_slice(&time.as_micros().to_le_bytes());
        }
    }
}

/// What is left to read. Every reading gives `None` where the bytes are not what a writer writes, whatever they are.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// A number.
    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// Eight bytes, little-endian.
    pub fn long(&mut self) -> Option<i64> {
        let (long, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i64::from_le_bytes(*long))
    }

    /// A time, or that there is none.
    pub fn time(&mut self) -> Option<Option<Timestamp>> {
        match self.byte()? {
            0 => Some(None),
            1 => self.long().map(|micros| Some(Timestamp::from_micros(micros))),
            _ => None,
        }
    }

    /// Bytes.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// A text.
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_reads_back_and_what_was_cut_off_does_not() {
        let mut out = Vec::new();
        for number in [0, 127, 128, 1 << 40, u64::MAX] {
            write_number(&mut out, number);
        }
        write_text(&mut out, "gr\u{fc}n");
        write_time(&mut out, None);
        write_time(&mut out, Some(Timestamp::from_micros(-7)));
        let read = |bytes: &[u8]| -> Option<()> {
            let mut input = Input(bytes);
            for number in [0, 127, 128, 1 << 40, u64::MAX] {
                assert_eq!(input.number()?, number);
            }
            assert_eq!(input.text()?, "gr\u{fc}n");
            assert_eq!(input.time()?, None);
            assert_eq!(input.time()?, Some(Timestamp::from_micros(-7)));
            input.0.is_empty().then_some(())
        };
        assert!(read(&out).is_some());
        assert!((0..out.len()).all(|cut| read(&out[..cut]).is_none()));
        assert_eq!(Input(&[0xff; 10]).number(), None); // more than 64 bits
        assert_eq!(Input(&[2, 0xc3, 0x28]).text(), None); // not UTF-8
    }
}
