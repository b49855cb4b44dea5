//! JSON of a schema, by llguidance.
//!
//! The answer is one space and the object, properties in the schema's order, without white space between tokens unless
//! the schema says otherwise (`x-guidance`): small models else write blanks until they may write no more.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

use super::{Constraint, Next};
use crate::quality::{Codec, QualityError};

/// A schema made ready for one tokenizer; every answer starts from a copy.
pub struct Schema {
    fresh: Matcher,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schema").finish_non_exhaustive()
    }
}

impl Schema {
    /// Compiles `schema` for the tokens of `codec`.
    ///
    /// # Errors
    /// [`QualityError::Constraint`] for a schema nothing can satisfy or that uses what llguidance does not have, and for a
    /// tokenizer without an end token.
    pub fn new(codec: &dyn Codec, schema: &Value) -> Result<Self, QualityError> {
        let pieces = codec.pieces();
        let end = codec.end().ok_or_else(|| QualityError::Constraint("the tokenizer has no end token".into()))?;
        let n = u32::try_from(pieces.len()).map_err(|_too_many| QualityError::Constraint("too many tokens".into()))?;
        let trie = TokTrie::from(&TokRxInfo::new(n, end), &pieces);
        Ok(Self { fresh: matcher(&(Arc::new(ApproximateTokEnv::new(trie)) as TokEnv), schema)? })
    }

    /// A constraint for one answer.
    #[must_use]
    pub fn constraint(&self) -> impl Constraint + 'static {
        Json { matcher: self.fresh.deep_clone() }
    }
}

/// Whether any answer satisfies `schema`: before a model is loaded, on bytes instead of tokens.
///
/// # Errors
/// Why not, in one line.
pub fn check_schema(schema: &Value) -> Result<(), String> {
    let mut matcher = matcher(&ApproximateTokEnv::single_byte_env(), schema).map_err(|error| error.to_string())?;
    let mask = matcher.compute_mask().map_err(|error| one_line(&error.to_string()))?;
    if mask.is_zero() { Err("no JSON satisfies it".into()) } else { Ok(()) }
}

fn matcher(env: &TokEnv, schema: &Value) -> Result<Matcher, QualityError> {
    let failed = |error: String| QualityError::Constraint(one_line(&error));
    let mut schema = schema.clone();
    let Some(object) = schema.as_object_mut() else {
        return Err(failed("a JSON schema must be an object with `type`".into()));
    };
    object.entry("x-guidance").or_insert_with(|| json!({ "whitespace_flexible": false }));
    let mut factory = ParserFactory::new_simple(env).map_err(|error| failed(error.to_string()))?;
    factory.quiet();
    factory.limits_mut().verbose_errors = false;
    let grammar = TopLevelGrammar::from_lark(format!("start: \" \" object\nobject: %json {schema}"));
    let matcher = Matcher::new(factory.create_parser(grammar));
    match matcher.get_error() {
        Some(error) => Err(failed(error)),
        None => Ok(matcher),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

struct Json {
    matcher: Matcher,
}

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Json").finish_non_exhaustive()
    }
}

impl Constraint for Json {
    fn next(&mut self) -> Result<Next, QualityError> {
        let mask = self.matcher.compute_mask_or_eos().map_err(failed)?;
        Ok(Next::Mask(mask.as_slice().to_vec()))
    }

    fn take(&mut self, token: u32) -> Result<bool, QualityError> {
        self.matcher.consume_token(token).map_err(failed)?;
        Ok(self.matcher.is_stopped())
    }
}

fn failed(error: impl std::fmt::Display) -> QualityError {
    QualityError::Constraint(one_line(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::likeliest;
    use super::*;
    use crate::quality::codec::ByteCodec;

    fn schema() -> Value {
        json!({
            "type": "object", "additionalProperties": false, "required": ["id", "due"],
            "properties": {
                "id": { "type": "string", "pattern": "^[A-Z][0-9]{1,3}$" },
                "due": { "anyOf": [{ "type": "string", "format": "date" }, { "type": "null" }] },
            },
        })
    }

    /// Writes greedily, liking the bytes of `wish` at their places and `x` everywhere.
    fn write(schema: &Value, wish: &str) -> String {
        let schema = Schema::new(&ByteCodec, schema).unwrap();
        let mut constraint = schema.constraint();
        let mut text = Vec::new();
        loop {
            let mut logits = vec![0.0; 257];
            logits[usize::from(b'x')] = 1.0;
            if let Some(&byte) = wish.as_bytes().get(text.len()) {
                logits[usize::from(byte)] = 2.0;
            }
            let favourite = crate::engine::argmax(&logits).unwrap();
            let token = likeliest(&constraint.next().unwrap(), &logits, favourite).unwrap();
            let complete = constraint.take(token).unwrap();
            text.extend(u8::try_from(token));
            if complete || token == 256 || text.len() > 200 {
                return String::from_utf8(text).unwrap();
            }
        }
    }

    #[test]
    fn what_the_model_wants_is_written_where_the_schema_allows_it() {
        let wanted = r#" {"id":"B72","due":"2026-03-04"}"#;
        assert_eq!(write(&schema(), wanted), wanted);
        assert_eq!(write(&schema(), r#" {"id":"A1","due":null}"#), r#" {"id":"A1","due":null}"#);
    }

    #[test]
    fn any_wish_gives_an_object_of_the_schema() {
        for wish in
            ["", "xxxxxxxxxxxxxxxxxxx", r#"{"due":1}"#, " {\"id\":\"bad\\\"}", " {\"id\":\"Z9\",\"due\":\"soon\"}"]
        {
            let text = write(&schema(), wish);
            let value: Value = serde_json::from_str(&text).unwrap();
            let object = value.as_object().unwrap();
            assert_eq!(object.keys().collect::<Vec<_>>(), ["id", "due"], "{text}");
            assert!(object["id"].as_str().unwrap().len() <= 4, "{text}");
        }
    }

    #[test]
    fn a_schema_nothing_satisfies_is_refused_in_one_line() {
        for (schema, wanted) in [
            (json!({ "type": "object", "required": ["a"], "properties": { "a": false } }), "nsatisfiable"),
            (json!({ "type": "string", "minLength": 5, "maxLength": 2 }), ""),
            (json!({ "type": "integer", "minimum": 5, "maximum": 2 }), ""),
            (json!({ "type": "colour" }), ""),
            (json!({ "type": "string", "pattern": "(open" }), ""),
            (json!(["type"]), "must be an object"),
        ] {
            let message = check_schema(&schema).unwrap_err();
            assert!(message.contains(wanted) && !message.contains('\n') && !message.is_empty(), "{schema}: {message}");
        }
        assert_eq!(check_schema(&schema()), Ok(()));
    }
}
