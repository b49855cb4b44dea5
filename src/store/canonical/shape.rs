//! Which names an object has, and in which order the canonical form writes its fields.

use std::borrow::Cow;

use super::Dialect;

/// A field's name as it stands in a text.
#[derive(Clone, Debug)]
pub(super) struct Name<'a> {
    /// With quotes and colon; `None` where it cannot be recognized by its bytes.
    pub(super) raw: Option<&'a str>,
    /// What it says.
    pub(super) says: Cow<'a, str>,
}

/// The names of an object and their order. Objects of one kind follow each other by the hundred in a record: what was
/// found for the last one holds for the next, if its names are the same bytes.
#[derive(Debug, Default)]
pub(super) struct Shape<'a> {
    names: Vec<Name<'a>>,
    order: Vec<usize>,
}

impl<'a> Shape<'a> {
    /// The shape of an object with these names.
    pub(super) fn learn(&mut self, names: impl IntoIterator<Item = Name<'a>>, dialect: Dialect) {
        self.names.clear();
        self.names.extend(names);
        let says = |field: &usize| &*self.names[*field].says;
        let mut sorted: Vec<usize> = (0..self.names.len()).collect();
        // A stable sort: of fields of one name the last is the last, and the one that counts.
        sorted.sort_by(|a, b| dialect.compare(says(a), says(b)));
        let is_last = |place: usize| sorted.get(place + 1).is_none_or(|next| says(next) != says(&sorted[place]));
        self.order.clear();
        self.order.extend((0..sorted.len()).filter(|&place| is_last(place)).map(|place| sorted[place]));
        if self.order.len() == self.names.len() && self.order.is_sorted() {
            self.order.clear();
        }
    }

    /// The fields' names as they come.
    pub(super) fn names(&self) -> &[Name<'a>] {
        &self.names
    }

    /// The fields in canonical order, by their places; empty if they come so. A name that comes twice is there once.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }
}
