//! Lines of watches that were written a moment ago, for others who watch in the same way.
//!
//! Whoever watches the same objects is sent the same bytes, and reads an event within moments of the others. So the
//! lines that were written last are kept, and copied. A line is found by the very object that it shows: nobody is sent
//! what they do not watch.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use arktos_core::Dialect;
use arktos_core::catalog::Kind;
use arktos_store::Stored;

use crate::negotiate::Accept;

/// How many lines are kept.
const KEPT: usize = 256;
/// How long they may be.
const LONGEST: usize = 16 << 10;

/// The lines that are kept, each where its revision belongs. Written by whoever writes a line that is not there.
pub(crate) struct Lines([ArcSwapOption<Line>; KEPT]);

struct Line {
    said: Said<Arc<Kind>, Stored>,
    bytes: Box<[u8]>,
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
        Self([const { ArcSwapOption::const_empty() }; KEPT])
    }
}

impl Lines {
    /// Writes a line: as it is kept, or else as `write` does.
    pub(crate) fn write(&self, out: &mut Vec<u8>, said: Said<&Arc<Kind>, &Stored>, write: impl FnOnce(&mut Vec<u8>)) {
        let place = usize::try_from(said.stored.revision.0 % KEPT as u64).ok().and_then(|place| self.0.get(place));
        let Some(place) = place else { return write(out) };
        if let Some(line) = place.load().as_ref().filter(|line| line.said.is(&said)) {
            return out.extend_from_slice(&line.bytes);
        }
        let begin = out.len();
        write(out);
        let written = out.get(begin..).unwrap_or_default();
        // What is kept of the object stays as well.
        if written.len() <= LONGEST && said.stored.object.tail_length() <= LONGEST {
            let Said { event, stored, kind, accept, dialect } = said;
            let said = Said { event, stored: stored.clone(), kind: kind.clone(), accept, dialect };
            place.store(Some(Arc::new(Line { said, bytes: written.into() })));
        }
    }
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
            let (mut out, mut written) = (b"before ".to_vec(), false);
            lines.write(&mut out, Said { event, stored, kind: &kind, accept: Accept::JSON, dialect }, |out| {
                written = true;
                out.extend_from_slice(event.as_bytes());
            });
            assert_eq!(out, format!("before {event}").as_bytes());
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
            lines.write(&mut Vec::new(), said, |out| {
                times += 1;
                out.resize(LONGEST + 1, b' ');
            });
        }
        assert_eq!(times, 2);
    }
}
