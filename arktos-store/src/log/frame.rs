//! Frames: what is appended with one write, and believed only when it is whole. `docs/design/0001-log-format.md` has
//! the tables.

use std::ops::Range;

use arktos_core::Timestamp;

/// The bytes before a frame's payload.
pub(super) const HEAD: usize = 44;

/// What follows the payload. No byte of it is zero, so that a frame that was cut off shows.
const END: [u8; 4] = [0xe7, 0x3b, 0x91, 0xd5];

/// What a frame costs beside its payload.
pub(super) const OVERHEAD: usize = HEAD + END.len();

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What stands in front of a frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The file it belongs to: what a recycled file held before is never taken for its own.
    pub file: u64,
    /// Its number; one more than that of the frame before, across files.
    pub number: u64,
    /// The newest frame that was known to be durable when this one was written.
    pub durable: u64,
    /// When it was written.
    pub time: Timestamp,
    /// Nothing comes after it, and all is well.
    pub last: bool,
}

/// A frame that is whole.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub head: Head,
    pub payload: &'a [u8],
    /// Where it is.
    pub range: Range<usize>,
}

/// What is found at a place.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Frame(Frame<'a>),
    /// Nothing was written here.
    Nothing,
    /// Something was, but not a whole frame.
    Broken,
}

/// Starts a frame: leaves room for the head, after which the caller writes the payload.
pub(super) fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.resize(HEAD, 0);
}

/// Ends a frame whose payload was written after [`begin`].
pub(super) fn end(out: &mut Vec<u8>, head: Head) {
    let payload = out.get(HEAD..).unwrap_or_default();
    let (length, checksum) = (payload.len(), crc32fast::hash(payload));
    let mut bytes = [0; HEAD];
    bytes[0..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    bytes[4..8].copy_from_slice(&low(head.file).to_le_bytes());
    bytes[8..16].copy_from_slice(&head.number.to_le_bytes());
    bytes[16..24].copy_from_slice(&head.durable.to_le_bytes());
    bytes[24..32].copy_from_slice(&head.time.as_micros().to_le_bytes());
    bytes[32] = u8::from(head.last);
    bytes[36..40].copy_from_slice(&checksum.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..40]);
    bytes[40..44].copy_from_slice(&checksum.to_le_bytes());
    if let Some(room) = out.get_mut(..HEAD) {
        room.copy_from_slice(&bytes);
    }
    out.extend_from_slice(&END);
}

/// Looks for a frame of a file at a place.
pub(super) fn find(bytes: &[u8], at: usize, file: u64) -> Found<'_> {
    let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk::<HEAD>()) else {
        let rest = bytes.get(at..).unwrap_or_default();
        return if rest.iter().all(|byte| *byte == 0) { Found::Nothing } else { Found::Broken };
    };
    if head.iter().all(|byte| *byte == 0) {
        return Found::Nothing;
    }
    let Some((length, checksum, head)) = read_head(head, file) else { return Found::Broken };
    let payload = at + HEAD..at + HEAD + length;
    let range = at..payload.end + END.len();
    match (bytes.get(payload.clone()), bytes.get(payload.end..range.end)) {
        (Some(payload), Some(end)) if end == END && crc32fast::hash(payload) == checksum => {
            Found::Frame(Frame { head, payload, range })
        }
        _ => Found::Broken,
    }
}

/// How many bytes of a frame come after its head, by what the head says.
pub(super) fn rest_of(head: &[u8], file: u64) -> Option<u64> {
    let (length, ..) = read_head(head.first_chunk()?, file)?;
    Some((length + END.len()) as u64)
}

/// The number of a frame whose head is right, whatever its payload, and where it ends.
pub(super) fn head_at(bytes: &[u8], at: usize, file: u64) -> Option<(u64, usize)> {
    let (length, _, head) = read_head(bytes.get(at..)?.first_chunk()?, file)?;
    Some((head.number, at + OVERHEAD + length))
}

/// Whether what is broken at a place is what a crash leaves of a frame that was never durable; else it is damage.
///
/// A crash leaves whole sectors out, or cuts the frame off; what is not there reads as zeros, as files are zeroed
/// before they are used. Damage changes what is there.
pub(super) fn is_torn(bytes: &[u8], at: usize, file: u64) -> bool {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(head) = rest.first_chunk::<HEAD>() else { return true };
    let Some((length, ..)) = read_head(head, file) else {
        return rest.iter().skip(HEAD).all(|byte| *byte == 0) || head_lacks_sector(bytes, at, head, file);
    };
    let end = at + OVERHEAD + length;
    let unsure = (at + HEAD).next_multiple_of(SECTOR).min(end); // the sectors that the head lies in are there
    end <= bytes.len() && (bytes.get(end - 1) == Some(&0) || lacks_sector(bytes, unsure..end))
}

/// Whether one of the two sectors that a head lies in is missing.
///
/// Zeros alone do not say so: up to three bytes of a length may rightly be zeros. Then those are missing only if the
/// head is right with others in their place. The byte after a head is never zero, so the second part always shows.
fn head_lacks_sector(bytes: &[u8], at: usize, head: &[u8; HEAD], file: u64) -> bool {
    let next = (at / SECTOR + 1) * SECTOR;
    let zeros = |range: Range<usize>| bytes.get(range).is_none_or(|part| part.iter().all(|byte| *byte == 0));
    if next >= at + HEAD {
        return false;
    }
    if zeros(next..at + HEAD + 1) {
        return true;
    }
    let missing = next - at;
    zeros(at..next) && (missing > 3 || (1..1_u32 << (8 * missing)).any(|length| fits_with(head, missing, length, file)))
}

/// Whether a head is right with another length in its first bytes.
fn fits_with(head: &[u8; HEAD], missing: usize, length: u32, file: u64) -> bool {
    let mut head = *head;
    if let (Some(into), Some(from)) = (head.get_mut(..missing), length.to_le_bytes().get(..missing)) {
        into.copy_from_slice(from);
    }
    read_head(&head, file).is_some()
}

/// The first whole frame after a place, if it was written when a frame was known to be durable: then that one was
/// damaged later.
pub(super) fn later_witness(bytes: &[u8], at: usize, file: u64, number: u64) -> Option<u64> {
    let mut place = next_mark(bytes, at + 1, file);
    while place < bytes.len() {
        match find(bytes, place, file) {
            Found::Frame(frame) if frame.head.number > number && frame.head.durable >= number => {
                return Some(frame.head.number);
            }
            _ => place = next_mark(bytes, place + 1, file),
        }
    }
    None
}

/// The next place, from one on, at which a frame of a file may begin; the end where there is none.
pub(super) fn next_mark(bytes: &[u8], from: usize, file: u64) -> usize {
    let mark = low(file).to_le_bytes();
    let rest = bytes.get(from + 4..).unwrap_or_default();
    rest.windows(mark.len()).position(|window| window == mark).map_or(bytes.len(), |place| from + place)
}

fn read_head(head: &[u8; HEAD], file: u64) -> Option<(usize, u32, Head)> {
    let u32_at = |at: usize| head.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let u64_at = |at: usize| head.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    if u32_at(40)? != crc32fast::hash(head.get(..40)?) || u32_at(4)? != low(file) {
        return None;
    }
    let time = Timestamp::from_micros(u64_at(24)?.cast_signed());
    let parsed = Head { file, number: u64_at(8)?, durable: u64_at(16)?, time, last: head.get(32)? & 1 == 1 };
    Some((usize::try_from(u32_at(0)?).ok()?, u32_at(36)?, parsed))
}

/// Whether some sector's part of a range is all zeros.
fn lacks_sector(bytes: &[u8], range: Range<usize>) -> bool {
    let mut start = range.start;
    while start < range.end {
        let end = range.end.min((start / SECTOR + 1) * SECTOR);
        if bytes.get(start..end).is_none_or(|part| part.iter().all(|byte| *byte == 0)) {
            return true;
        }
        start = end;
    }
    false
}

#[allow(clippy::cast_possible_truncation)] // the low half is what is asked for
fn low(file: u64) -> u32 {
    file as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u64, durable: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        begin(&mut out);
        out.extend_from_slice(payload);
        end(&mut out, Head { file: 7, number, durable, time: Timestamp::from_micros(-1), last: false });
        out
    }

    #[test]
    fn a_frame_cut_off_anywhere_is_torn_and_never_read() {
        let whole = frame(1, 0, &[0x55; 1500]);
        for start in [0, 64, 500, 511] {
            for cut in 0..whole.len() {
                let mut bytes = vec![0; 4096];
                bytes[..start].fill(1);
                bytes[start..start + cut].copy_from_slice(&whole[..cut]);
                match find(&bytes, start, 7) {
                    Found::Frame(_) => panic!("half a frame was read"),
                    Found::Nothing => assert!(cut < 1),
                    Found::Broken => assert!(is_torn(&bytes, start, 7), "cut at {cut} after {start}"),
                }
            }
        }
    }

    #[test]
    fn a_frame_of_which_a_sector_is_missing_is_torn() {
        let whole = frame(1, 0, &[0x55; 1500]);
        for sector in 0..4 {
            let mut bytes = vec![0; 4096];
            bytes[..64].fill(1);
            bytes[64..64 + whole.len()].copy_from_slice(&whole);
            let range = (sector * 512).max(64)..((sector + 1) * 512).min(64 + whole.len());
            bytes[range].fill(0);
            assert!(!matches!(find(&bytes, 64, 7), Found::Frame(_)));
            assert!(matches!(find(&bytes, 64, 7), Found::Nothing) || is_torn(&bytes, 64, 7), "sector {sector}");
        }
    }

    #[test]
    fn a_flipped_bit_is_damage_and_not_a_crash() {
        let whole = frame(1, 0, &[0x55; 700]);
        for bit in 0..whole.len() * 8 {
            let mut bytes = vec![0; 2048];
            bytes[64..64 + whole.len()].copy_from_slice(&whole);
            bytes[64 + bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(find(&bytes, 64, 7), Found::Broken), "bit {bit}");
            assert!(!is_torn(&bytes, 64, 7), "bit {bit}");
        }
    }

    #[test]
    fn a_flipped_bit_in_any_head_anywhere_is_damage_and_not_a_crash() {
        // checksums that end in zero, lengths whose low bytes are zero, heads in two sectors
        for number in 1..600_u64 {
            let payload = if number % 3 == 0 { 256 } else { 40 };
            let whole = frame(number, 0, &vec![0x55; payload]);
            for start in [64, 468, 469, 470, 509, 510, 511] {
                let mut bytes = vec![0; 2048];
                bytes[start..start + whole.len()].copy_from_slice(&whole);
                // what lies before it
                bytes[..start].fill(1);
                for byte in 0..HEAD {
                    let mut flipped = bytes.clone();
                    flipped[start + byte] ^= 0x10;
                    assert!(!matches!(find(&flipped, start, 7), Found::Frame(_)));
                    assert!(!is_torn(&flipped, start, 7), "{number} {start} {byte}");
                }
            }
        }
    }

    #[test]
    fn a_later_frame_bears_witness_that_a_broken_one_was_durable() {
        let (first, unsynced, synced) = (frame(1, 0, &[9; 90]), frame(2, 0, &[9; 90]), frame(2, 1, &[9; 90]));
        let mut bytes = vec![0; 2048];
        bytes[64..64 + first.len()].copy_from_slice(&first);
        let second = 64 + first.len();
        bytes[second..second + synced.len()].copy_from_slice(&synced);
        assert_eq!(later_witness(&bytes, 64, 7, 1), Some(2));
        bytes[second..second + synced.len()].copy_from_slice(&unsynced);
        assert_eq!(later_witness(&bytes, 64, 7, 1), None);
    }
}
