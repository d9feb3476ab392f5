//! Where the fields of a type are, by their names: asked for each field of each object, several times a write.

use super::model::Field;

/// Places of fields in a list, by a hash of their names. At most half of the table is taken.
#[derive(Debug)]
pub(super) struct Places(Box<[u16]>); // one more than the place; 0 where there is none

impl Places {
    /// Of the fields of a type; a name that stands twice is found where it stands first.
    pub(super) fn of(fields: &[Field]) -> Self {
        let mut table = vec![0; (2 * fields.len()).next_power_of_two()];
        for (place, field) in fields.iter().enumerate() {
            let mut at = first(&field.name, table.len());
            while table[at] != 0 {
                at = (at + 1) % table.len();
            }
            table[at] = u16::try_from(place + 1).unwrap_or(0); // a type of so many fields is looked through
        }
        Self(table.into())
    }

    /// The field of a name, of the same list.
    pub(super) fn find<'a>(&self, fields: &'a [Field], name: &str) -> Option<&'a Field> {
        if fields.len() >= usize::from(u16::MAX) {
            return fields.iter().find(|field| *field.name == *name);
        }
        let mut at = first(name, self.0.len());
        loop {
            let field = fields.get(usize::from(self.0[at]).checked_sub(1)?)?;
            if *field.name == *name {
                return Some(field);
            }
            at = (at + 1) % self.0.len();
        }
    }
}

/// Where in a table a name is looked for first. Who makes the names of a type collide slows down that type, and no
/// other.
fn first(name: &str, size: usize) -> usize {
    let bytes = name.as_bytes();
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let ends = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(front), Some(back)) => u64::from_le_bytes(*front) ^ u64::from_le_bytes(*back).rotate_left(29),
        _ => word(bytes),
    };
    let mixed = (ends ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as usize & (size - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Schema, Shape};

    #[test]
    fn every_field_is_found_and_nothing_else() {
        for count in [0, 1, 2, 3, 40, 1000] {
            let name = |number: usize| format!("{}field{number}", "x".repeat(number % 11));
            let fields: Vec<Field> =
                (0..count).map(|number| Field::optional(&name(number), Schema::of(Shape::Any))).collect();
            let places = Places::of(&fields);
            for number in 0..2 * count + 2 {
                let found = places.find(&fields, &name(number)).map(|field| field.name.to_string());
                assert_eq!(found, (number < count).then(|| name(number)), "{number} of {count}");
            }
            assert!(places.find(&fields, "").is_none());
        }
    }
}
