//! Lines of watches that were written a moment ago, for others who watch in the same way.
//!
//! Whoever watches the same objects is sent the same bytes, and reads an event within moments of the others. So the
//! lines that were written last are kept, and so are pieces of several lines: one copy goes to all. A line is found by
//! the very object that it shows: nobody is sent what they do not watch.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use arktos_core::Dialect;
use arktos_core::catalog::Kind;
use arktos_store::Stored;
use bytes::Bytes;
use smallvec::SmallVec;

use crate::negotiate::Accept;

/// How many lines are kept.
const KEPT: usize = 256;
/// How long they may be.
const LONGEST: usize = 16 << 10;
/// How many pieces of several lines are kept.
const PIECES: usize = 16;
/// How long these may be: as long as they are made, by and large.
const PIECE_LONGEST: usize = 80 << 10;
/// A piece ends where so many revisions do: those who are behind make the same pieces, wherever they begin.
const GROUP: u64 = 16;

/// The lines and pieces that are kept, each where its revision, or group of revisions, belongs. Written by whoever
/// writes one that is not there.
pub(crate) struct Lines {
    lines: [ArcSwapOption<Line>; KEPT],
    pieces: [ArcSwapOption<Piece>; PIECES],
}

struct Line {
    said: Said<Arc<Kind>, Stored>,
    bytes: Bytes,
}

/// Lines, one after the other.
struct Piece {
    lines: SmallVec<[Arc<Line>; 4]>,
    bytes: Bytes,
}

/// What one watch is sent at once, while it grows: lines that are kept, or from the first on that is not, bytes.
#[derive(Default)]
pub(crate) struct Gathered {
    lines: SmallVec<[Arc<Line>; 4]>,
    lines_length: usize,
    own: Vec<u8>,
}

impl Gathered {
    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.lines_length + self.own.len()
    }

    /// Where bytes that are not kept are written to.
    pub(crate) fn own(&mut self) -> &mut Vec<u8> {
        self.own.reserve(self.lines_length);
        for line in self.lines.drain(..) {
            self.own.extend_from_slice(&line.bytes);
        }
        self.lines_length = 0;
        &mut self.own
    }

    /// Whether a piece ends here, whatever comes next.
    pub(crate) fn ends_group(&self) -> bool {
        self.lines.last().is_some_and(|line| line.said.stored.revision.0 % GROUP == GROUP - 1)
    }

    fn push(&mut self, line: Arc<Line>) {
        if self.own.is_empty() {
            self.lines_length += line.bytes.len();
            self.lines.push(line);
        } else {
            self.own.extend_from_slice(&line.bytes);
        }
    }
}

/// What a line says, and how.
#[derive(Clone, Copy)]
pub(crate) struct Said<K, S> {
    pub(crate) event: &'static str,
    pub(crate) stored: S,
    pub(crate) kind: K,
    pub(crate) accept: Accept,
    pub(crate) dialect: Dialect,
}

impl Said<Arc<Kind>, Stored> {
    fn is(&self, other: &Said<&Arc<Kind>, &Stored>) -> bool {
        let (one, two) = (&self.stored, other.stored);
        one.revision == two.revision
            && one.object.same(&two.object)
            && one.path == two.path
            && Arc::ptr_eq(&self.kind, other.kind)
            && (self.event, self.accept, self.dialect) == (other.event, other.accept, other.dialect)
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            lines: [const { ArcSwapOption::const_empty() }; KEPT],
            pieces: [const { ArcSwapOption::const_empty() }; PIECES],
        }
    }
}

impl Lines {
    /// Adds a line: as it is kept, or else as `write` writes it.
    pub(crate) fn write(&self, out: &mut Gathered, said: Said<&Arc<Kind>, &Stored>, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(place) = place(&self.lines, said.stored.revision.0) else { return write(out.own()) };
        if let Some(line) = place.load().as_ref().filter(|line| line.said.is(&said)) {
            return out.push(line.clone());
        }
        let mut bytes = Vec::new();
        write(&mut bytes);
        // What is kept of the object stays as well.
        if bytes.len() > LONGEST || said.stored.object.tail_length() > LONGEST {
            return out.own().append(&mut bytes);
        }
        let Said { event, stored, kind, accept, dialect } = said;
        let said = Said { event, stored: stored.clone(), kind: kind.clone(), accept, dialect };
        let line = Arc::new(Line { said, bytes: bytes.into_boxed_slice().into() });
        place.store(Some(line.clone()));
        out.push(line);
    }

    /// All that was gathered, as one piece: the one of others who gathered the same, or one that is made now.
    pub(crate) fn piece(&self, gathered: Gathered) -> Bytes {
        let Gathered { lines, lines_length, own } = gathered;
        let last = match &*lines {
            [] => return own.into(),
            [line] => return line.bytes.clone(),
            [.., last] => last,
        };
        let place = place(&self.pieces, last.said.stored.revision.0 / GROUP).filter(|_| lines_length <= PIECE_LONGEST);
        let is_it = |piece: &&Arc<Piece>| {
            piece.lines.len() == lines.len() && piece.lines.iter().zip(&lines).all(|(one, two)| Arc::ptr_eq(one, two))
        };
        if let Some(piece) =
            place.and_then(|place| place.load().as_ref().filter(is_it).map(|piece| piece.bytes.clone()))
        {
            return piece;
        }
        let mut bytes = Vec::with_capacity(lines_length);
        for line in &lines {
            bytes.extend_from_slice(&line.bytes);
        }
        let bytes = Bytes::from(bytes);
        if let Some(place) = place {
            place.store(Some(Arc::new(Piece { lines, bytes: bytes.clone() })));
        }
        bytes
    }
}

fn place<T>(places: &[ArcSwapOption<T>], number: u64) -> Option<&ArcSwapOption<T>> {
    places.get(usize::try_from(number % places.len() as u64).ok()?)
}

#[cfg(test)]
mod tests {
    use arktos_core::catalog::Catalog;
    use arktos_core::{Encoded, Object, ObjectPath, Revision};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_copied_for_those_alone_who_are_sent_the_same() {
        let kind = Catalog::builtin().by_path("", "v1", "configmaps").expect("built in");
        let stored = |revision| {
            let object = Object::from_value(json!({"metadata": {"name": "a"}})).expect("an object");
            let object = Encoded::encode(&kind.type_meta, &object, &[]).expect("encodes");
            Stored { path: ObjectPath::new("acme", "default", "a"), revision: Revision(revision), object }
        };
        let lines = Lines::default();
        let is_written = |event, stored: &Stored, dialect| {
            let (mut out, mut written) = (Gathered::default(), false);
            lines.write(&mut out, Said { event, stored, kind: &kind, accept: Accept::JSON, dialect }, |out| {
                written = true;
                out.extend_from_slice(event.as_bytes());
            });
            assert_eq!((out.len(), lines.piece(out)), (event.len(), Bytes::from(event)));
            written
        };
        let (one, equal) = (stored(7), stored(7));
        let again = one.clone();
        assert!(is_written("ADDED", &one, Dialect::Plain));
        assert!(!is_written("ADDED", &one, Dialect::Plain));
        assert!(!is_written("ADDED", &again, Dialect::Plain));
        assert!(is_written("MODIFIED", &one, Dialect::Plain));
        assert!(is_written("MODIFIED", &one, Dialect::Region));
        assert!(is_written("MODIFIED", &equal, Dialect::Region), "another object, by its looks alone the same");
        assert!(is_written("ADDED", &stored(7 + KEPT as u64), Dialect::Plain));
        let elsewhere = Stored { path: ObjectPath::new("other", "default", "a"), ..equal.clone() };
        assert!(is_written("MODIFIED", &equal, Dialect::Region));
        assert!(is_written("MODIFIED", &elsewhere, Dialect::Region));
    }

    #[test]
    fn what_is_long_is_not_kept() {
        let kind = Catalog::builtin().by_path("", "v1", "configmaps").expect("built in");
        let object = Object::from_value(json!({"metadata": {"name": "a"}})).expect("an object");
        let object = Encoded::encode(&kind.type_meta, &object, &[]).expect("encodes");
        let stored = &Stored { path: ObjectPath::new("acme", "default", "a"), revision: Revision(1), object };
        let said = Said { event: "ADDED", stored, kind: &kind, accept: Accept::JSON, dialect: Dialect::Plain };
        let lines = Lines::default();
        let mut times = 0;
        for _ in 0..2 {
            lines.write(&mut Gathered::default(), said, |out| {
                times += 1;
                out.resize(LONGEST + 1, b' ');
            });
        }
        assert_eq!(times, 2);
    }

    #[test]
    fn a_piece_has_all_lines_in_order_and_is_one_for_all_who_gathered_the_same() {
        let kind = Catalog::builtin().by_path("", "v1", "configmaps").expect("built in");
        let stored: Vec<Stored> = (1..=3)
            .map(|revision| {
                let object = Object::from_value(json!({"metadata": {"name": "a"}})).expect("an object");
                let object = Encoded::encode(&kind.type_meta, &object, &[]).expect("encodes");
                Stored { path: ObjectPath::new("acme", "default", "a"), revision: Revision(revision), object }
            })
            .collect();
        let lines = Lines::default();
        let gather = |which: &[usize], between: &str| {
            let mut out = Gathered::default();
            for at in which {
                let stored = &stored[*at];
                let said = Said { event: "ADDED", stored, kind: &kind, accept: Accept::JSON, dialect: Dialect::Plain };
                lines.write(&mut out, said, |out| out.extend_from_slice(at.to_string().as_bytes()));
                if !between.is_empty() {
                    out.own().extend_from_slice(between.as_bytes());
                }
            }
            lines.piece(out)
        };
        let (one, two) = (gather(&[0, 1, 2], ""), gather(&[0, 1, 2], ""));
        assert_eq!((&one[..], one.as_ptr()), (&b"012"[..], two.as_ptr()));
        assert_eq!(gather(&[1, 2], ""), "12", "ends as the other does");
        assert_eq!(gather(&[0, 2], ""), "02");
        assert_eq!(gather(&[0, 1], "."), "0.1.", "what is not kept stays between");
        assert_eq!(gather(&[], ""), "");
        let ends = |revision| {
            let stored = Stored { revision: Revision(revision), ..stored[0].clone() };
            let said =
                Said { event: "ADDED", stored: &stored, kind: &kind, accept: Accept::JSON, dialect: Dialect::Plain };
            let mut out = Gathered::default();
            lines.write(&mut out, said, |out| out.push(b'.'));
            out.ends_group()
        };
        assert_eq!((0..2 * GROUP).filter(|revision| ends(*revision)).collect::<Vec<_>>(), [GROUP - 1, 2 * GROUP - 1]);
    }
}
