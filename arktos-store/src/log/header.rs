//! What every file begins with, and what files are called.

use crate::storage::OpenError;

/// The bytes at the start of every file.
pub(super) const HEADER: usize = 64;

/// The format this version writes, and the only one it reads.
const VERSION: u32 = 1;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A piece of the log.
    Segment,
    /// A state.
    Snapshot,
}

/// A file's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub role: Role,
    /// A segment's number; zero for a snapshot.
    pub file: u64,
    /// The number of a segment's first group; the number of the last group in a snapshot.
    pub group: u64,
    /// The revision of a snapshot; zero for a segment.
    pub revision: u64,
}

/// The file that is being made ready to be the next segment.
pub(super) const SPARE: &str = "spare";
/// A segment that is no longer needed, to be made the next spare.
pub(super) const OLD: &str = "old";
/// The snapshot that is being written.
pub(super) const UNFINISHED: &str = "unfinished";

/// Present while a backup is being restored into the directory.
pub(super) const RESTORING: &str = "restoring";

/// What a segment is called.
pub(super) fn segment_name(number: u64) -> String {
    format!("log-{number:016x}")
}

/// What a snapshot is called.
pub(super) fn snapshot_name(group: u64) -> String {
    format!("snapshot-{group:016x}")
}

/// What the copy of a segment is called in an archive, by its first group.
pub(super) fn archived_name(group: u64) -> String {
    format!("segment-{group:016x}")
}

/// Refuses a directory in which a restore was broken off.
pub(super) fn refuse_unfinished(place: &str, names: &[String]) -> Result<(), OpenError> {
    if names.iter().any(|name| name == RESTORING) {
        return Err(OpenError::Unfinished { place: place.to_owned() });
    }
    Ok(())
}

/// The number in a file's name, if it is of a role.
pub(super) fn number_of(role: Role, name: &str) -> Option<u64> {
    let digits = match role {
        Role::Segment => name.strip_prefix("log-")?,
        Role::Snapshot => name.strip_prefix("snapshot-")?,
    };
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

impl Header {
    /// The number in the file's name.
    pub(super) fn number(self) -> u64 {
        match self.role {
            Role::Segment => self.file,
            Role::Snapshot => self.group,
        }
    }

    pub(super) fn write(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[0..8].copy_from_slice(magic(self.role));
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.file.to_le_bytes());
        out[24..32].copy_from_slice(&self.group.to_le_bytes());
        out[32..40].copy_from_slice(&self.revision.to_le_bytes());
        let checksum = crc32fast::hash(&out[..60]);
        out[60..64].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(super) fn read(role: Role, place: &str, bytes: &[u8]) -> Result<Self, OpenError> {
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Err(damaged(place, format!("it ends at byte {}, within its header", bytes.len())));
        };
        let u32_at = |at: usize| header.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b));
        let u64_at = |at: usize| header.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b));
        if header.get(..8) != Some(magic(role).as_slice()) {
            return Err(damaged(place, "its bytes 0 to 7 are not those with which a file of this store begins"));
        }
        if u32_at(60) != crc32fast::hash(header.get(..60).unwrap_or_default()) {
            return Err(damaged(place, "its header, bytes 0 to 63, does not fit its checksum"));
        }
        if u32_at(8) != VERSION {
            let (found, known) = (format!("{}", u32_at(8)), format!("{VERSION}"));
            return Err(OpenError::Format { place: place.to_owned(), found, known });
        }
        Ok(Self { role, file: u64_at(16), group: u64_at(24), revision: u64_at(32) })
    }
}

/// What was read is not what was written.
pub(super) fn damaged(place: &str, what: impl Into<String>) -> OpenError {
    OpenError::Corrupt {
        place: place.to_owned(),
        what: what.into(),
        advice: "Nothing was changed. Check the disk; then restore the directory from a backup, or save what is whole \
                 (arktos store repair --accept-loss)"
            .to_owned(),
    }
}

fn magic(role: Role) -> &'static [u8; 8] {
    match role {
        Role::Segment => b"ARKTOS-L",
        Role::Snapshot => b"ARKTOS-S",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_and_every_flipped_bit_shows() {
        let header = Header { role: Role::Snapshot, file: 0, group: 77, revision: 1 << 50 };
        let bytes = header.write();
        assert_eq!(Header::read(Role::Snapshot, "x", &bytes).expect("reads"), header);
        for bit in 0..HEADER * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::read(Role::Snapshot, "x", &flipped).is_err(), "bit {bit}");
        }
        assert!(Header::read(Role::Segment, "x", &bytes).is_err());
        assert!(Header::read(Role::Snapshot, "x", &bytes[..63]).is_err());
    }

    #[test]
    fn a_later_format_is_named_and_not_called_damage() {
        let mut bytes = Header { role: Role::Segment, file: 1, group: 1, revision: 0 }.write();
        bytes[8] = 2;
        let checksum = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&checksum.to_le_bytes());
        assert!(matches!(Header::read(Role::Segment, "x", &bytes), Err(OpenError::Format { .. })));
    }

    #[test]
    fn names_give_back_their_numbers() {
        assert_eq!(number_of(Role::Segment, &segment_name(255)), Some(255));
        assert_eq!(number_of(Role::Snapshot, &snapshot_name(u64::MAX)), Some(u64::MAX));
        for other in ["lock", SPARE, OLD, UNFINISHED, "log-1", "snapshot-00000000000000zz"] {
            assert_eq!(number_of(Role::Segment, other).or(number_of(Role::Snapshot, other)), None);
        }
    }
}
