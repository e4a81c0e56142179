//! What stands for a question.

use crate::query::{Like, Method, Similar};
use xxhash_rust::xxh3::Xxh3;

/// A hash of 128 bits over all that an answer depends on: among a billion questions two share one with a chance below 1e-20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(u128);

impl Key {
    /// Of a question, spelt without ambiguity, to a model.
    #[cfg(test)]
    pub(crate) fn of(model: &str, question: &[u8]) -> Self {
        Self::hashed(model, |hash| hash.update(question))
    }

    /// Of the question for a vector's cluster.
    pub(crate) fn assign(model: &str, vector: &[f32]) -> Self {
        Self::hashed(model, |hash| {
            hash.update(b"assign");
            numbers(hash, vector);
        })
    }

    /// Of the question for so many clusters near a vector.
    pub(crate) fn nearest(model: &str, vector: &[f32], count: Option<u32>) -> Self {
        Self::hashed(model, |hash| {
            hash.update(b"nearest");
            optional(hash, count.map(u64::from));
            numbers(hash, vector);
        })
    }

    /// Of the question for similar items, by a method that is decided.
    pub(crate) fn similar(model: &str, question: &Similar, method: Method) -> Self {
        let Similar { like, count, cluster, method: _ } = question;
        Self::hashed(model, |hash| {
            hash.update(b"similar");
            hash.update(method.name().as_bytes());
            optional(hash, count.map(u64::from));
            optional(hash, cluster.map(|cluster| cluster as u64));
            match like {
                Like::Item(id) => {
                    hash.update(b"item");
                    hash.update(id.as_bytes());
                }
                Like::Vector(vector) => {
                    hash.update(b"vector");
                    numbers(hash, vector);
                }
            }
        })
    }

    /// As text, for a store of texts.
    pub(super) fn text(self) -> String {
        format!("coterie:1:{:032x}", self.0)
    }

    fn hashed(model: &str, question: impl FnOnce(&mut Xxh3)) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&(model.len() as u64).to_le_bytes());
        hash.update(model.as_bytes());
        question(&mut hash);
        Self(hash.digest128())
    }
}

fn numbers(hash: &mut Xxh3, values: &[f32]) {
    for chunk in values.chunks(64) {
        let mut bytes = [0; 256];
        for (place, value) in bytes.chunks_exact_mut(4).zip(chunk) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        hash.update(&bytes[..4 * chunk.len()]);
    }
}

fn optional(hash: &mut Xxh3, value: Option<u64>) {
    hash.update(&[u8::from(value.is_some())]);
    hash.update(&value.unwrap_or_default().to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn different_questions_have_different_keys() {
        let like = |like: Like, count, cluster| Similar { like, count, cluster, method: None };
        let item = |id: &str| Like::Item(id.to_owned());
        let keys = [
            Key::assign("m", &[1.0, 2.0]),
            Key::assign("m", &[2.0, 1.0]),
            Key::assign("m", &[1.0, f32::from_bits(2.0f32.to_bits() + 1)]),
            Key::assign("n", &[1.0, 2.0]),
            Key::nearest("m", &[1.0, 2.0], None),
            Key::nearest("m", &[1.0, 2.0], Some(0)),
            Key::nearest("m", &[1.0, 2.0], Some(1)),
            Key::similar("m", &like(item("1"), None, None), Method::Lists),
            Key::similar("m", &like(item("1"), None, None), Method::Exact),
            Key::similar("m", &like(item("1"), Some(1), None), Method::Lists),
            Key::similar("m", &like(item("1"), None, Some(1)), Method::Lists),
            Key::similar("m", &like(item("2"), None, None), Method::Lists),
            Key::similar("m", &like(Like::Vector(vec![1.0]), None, None), Method::Lists),
        ];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        assert_eq!(Key::assign("m", &[1.0, 2.0]), keys[0]);
        // The method that is asked for does not matter once one is decided.
        let asked = Similar { method: Some(Method::Lists), ..like(item("1"), None, None) };
        assert_eq!(Key::similar("m", &asked, Method::Lists), keys[7]);
    }
}
