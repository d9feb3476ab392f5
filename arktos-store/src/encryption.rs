//! Encryption at rest: what a backend is given of chosen resources, only a key reads.
//!
//! The engine encrypts an object on its way to a journal, a snapshot, a backup or a shared store, and decrypts it on
//! its way back. So memory holds it plain, and no backend has anything to do with it: to a backend an encrypted object
//! is an [`Encoded`] like any other, whose bytes happen not to be JSON.
//!
//! ```text
//!  header   nothing but the time of a deletion (a shared store must know of it)
//!  bytes    1u8 │ key text │ what the cipher made of (header │ bytes) of the object
//! ```
//!
//! The object's resource and path, which stay readable, are bound to the bytes: nobody can put one object's in another
//! one's place. Which key is whose business: a [`Cipher`] of the program's.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arktos_core::packed::{Input, write_length, write_text, write_time};
use arktos_core::{Encoded, GroupResource, Header, ObjectPath};

/// What the bytes of an encrypted object begin with; JSON never does.
const VERSION: u8 = 1;

/// Encrypts and decrypts with keys of the program's. It may change its keys at any time; see
/// [`Engine::keys_changed`](crate::Engine::keys_changed).
pub trait Cipher: fmt::Debug + Send + Sync + 'static {
    /// The name of the key that objects of a resource are encrypted with from now on; none where they are kept plain.
    fn key_for(&self, resource: &GroupResource) -> Option<Arc<str>>;

    /// Encrypts with that key, and binds the result to `bound`. None where objects of the resource are kept plain.
    ///
    /// # Errors
    /// A sentence that says why it cannot be. The store then takes no more writes, so it is not to happen.
    fn encrypt(&self, resource: &GroupResource, bound: &[u8], plain: &[u8]) -> Result<Option<Encrypted>, String>;

    /// Decrypts what was encrypted with the key of this name, and bound to this.
    ///
    /// # Errors
    /// What is wrong, to follow the words "the object": that there is no such key, or that it does not fit. It says
    /// what to do.
    fn decrypt(&self, resource: &GroupResource, key: &str, bound: &[u8], bytes: &[u8]) -> Result<Vec<u8>, String>;

    /// Whether an object of the resource that was found plain is taken.
    ///
    /// # Errors
    /// What is wrong with it, as for [`decrypt`](Self::decrypt).
    fn takes_plain(&self, resource: &GroupResource) -> Result<(), String>;
}

/// What a cipher has made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encrypted {
    /// The name of the key.
    pub key: Arc<str>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Encrypted {
    /// Bytes that were encrypted with the key of a name.
    #[must_use]
    pub fn new(key: Arc<str>, bytes: Vec<u8>) -> Self {
        Self { key, bytes }
    }
}

/// How objects are kept.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Encryption {
    /// Plain. A store with encrypted objects does not open.
    #[default]
    Plain,
    /// As a cipher says.
    By(Arc<dyn Cipher>),
    /// As they were found, encrypted or not: for tools that put a store in order and look at no object.
    AsFound,
}

/// The name of the key with which an object was encrypted; none for one that is plain.
#[must_use]
pub fn key_of(object: &Encoded) -> Option<&str> {
    parts(object).map(|(key, _)| key)
}

/// The key's name and what the cipher made, of an encrypted object.
pub(crate) fn parts(object: &Encoded) -> Option<(&str, &[u8])> {
    let Cow::Borrowed(tail) = object.tail() else { return None }; // no two of them are alike
    let (_, rest) = tail.split_first().filter(|(version, _)| **version == VERSION)?;
    let mut input = Input(rest);
    let key = input.text()?;
    Some((key, input.0))
}

/// What an object's bytes are bound to.
pub(crate) fn bound(resource: &GroupResource, path: &ObjectPath) -> Vec<u8> {
    [resource.as_str().as_bytes(), b"\0", path.as_str().as_bytes()].concat()
}

/// All of an object, to be encrypted.
pub(crate) fn plain(object: &Encoded) -> Vec<u8> {
    [object.header().packed(), &*object.tail()].concat()
}

/// An object, encrypted.
pub(crate) fn wrapped(object: &Encoded, encrypted: &Encrypted) -> Option<Encoded> {
    let mut header = Vec::with_capacity(16);
    write_text(&mut header, ""); // the uid
    write_time(&mut header, object.header().deletion());
    (0..LISTS).for_each(|_| write_length(&mut header, 0));
    let mut tail = vec![VERSION];
    write_text(&mut tail, &encrypted.key);
    tail.extend_from_slice(&encrypted.bytes);
    Encoded::from_parts(object.header().type_meta().clone(), &header, &tail)
}

/// How many lists a header has: labels, fields, finalizers, owners, notes.
const LISTS: usize = 5;

/// An object, from what was decrypted.
pub(crate) fn unwrapped(object: &Encoded, plain: &[u8]) -> Option<Encoded> {
    let (header, tail) = plain.split_at_checked(Header::measure(plain)?)?;
    Encoded::from_parts(object.header().type_meta().clone(), header, tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_core::{Object, TypeMeta};

    #[test]
    fn an_encrypted_object_shows_its_key_and_its_deletion_and_no_more() {
        let type_meta = Arc::new(TypeMeta::new("", "v1", "Secret"));
        let object = Object::from_value(serde_json::json!({
            "metadata": {"name": "s", "uid": "u1", "labels": {"a": "b"}, "deletionTimestamp": "2026-01-02T03:04:05Z"},
            "data": {"password": "aHVudGVyMg=="},
        }));
        let object = Encoded::encode(&type_meta, &object.expect("an object"), &[]).expect("encodes");
        assert_eq!(key_of(&object), None);
        let encrypted = Encrypted { key: "k1".into(), bytes: plain(&object) };
        let hidden = wrapped(&object, &encrypted).expect("is not too large");
        assert_eq!(key_of(&hidden), Some("k1"));
        assert_eq!((hidden.header().uid(), hidden.header().labels().count()), ("", 0));
        assert_eq!(hidden.header().deletion(), object.header().deletion());
        let (_, bytes) = parts(&hidden).expect("is encrypted");
        assert_eq!(unwrapped(&hidden, bytes), Some(object));
        assert_eq!(unwrapped(&hidden, &bytes[1..]), None);
    }
}
