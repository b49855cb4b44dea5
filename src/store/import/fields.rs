//! The fields of one JSON object, read one by one so that an error can name its field.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// An object and what messages call it, e.g. `row 3`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a Value,
}

impl Fields<'_> {
    /// The field, `None` if it is absent or null.
    pub(super) fn get<T: DeserializeOwned>(self, field: &str) -> Result<Option<T>, String> {
        match self.value.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value).map(Some).map_err(|error| format!("{}: {field}: {error}", self.name)),
        }
    }

    /// A field that must be there.
    pub(super) fn need<T: DeserializeOwned>(self, field: &str) -> Result<T, String> {
        self.get(field)?.ok_or_else(|| format!("{} has no {field}", self.name))
    }

    /// The field as text: a string as it is, a bool as 1 or 0, anything else as JSON.
    pub(super) fn text(self, field: &str) -> Option<String> {
        match self.value.get(field)? {
            Value::Null => None,
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Value::Bool(on) => Some(u8::from(*on).to_string()),
            other => Some(other.to_string()),
        }
    }
}
