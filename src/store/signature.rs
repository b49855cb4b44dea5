//! Who published a record: a minisign signature over the bytes of its file.
//!
//! The content hash says that a record is whole; a signature says whose it is. `minisign -Sm record.json` makes
//! `record.json.minisig`. Only checking is done here: secret keys stay with minisign.

use std::path::Path;

use minisign_verify::{PublicKey, Signature};

use super::StoreError;

/// Checks the signature of `bytes` and returns the comment that it covers.
///
/// `public_key` is the key itself (`RW…`) or the text of a `.pub` file; `signature` the text of a `.minisig` file.
///
/// # Errors
/// [`StoreError::Signature`] if the key or the signature cannot be read, or the signature is not of these bytes by this
/// key.
pub fn check(bytes: &[u8], signature: &str, public_key: &str, path: &Path) -> Result<String, StoreError> {
    let bad = |why: String| StoreError::Signature { path: path.to_owned(), why };
    let key = public_key.trim();
    let key = if key.contains('\n') { PublicKey::decode(key) } else { PublicKey::from_base64(key) };
    let key = key.map_err(|error| bad(format!("the public key cannot be read: {error}")))?;
    let signature = Signature::decode(signature).map_err(|error| bad(format!("it cannot be read: {error}")))?;
    key.verify(bytes, &signature, false).map_err(|error| bad(format!("not of this file by this key: {error}")))?;
    Ok(signature.trusted_comment().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by minisign 0.11; the example of its documentation.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";

    #[test]
    fn a_signature_is_of_these_bytes_by_this_key_and_covers_its_comment() {
        let path = Path::new("record.json.minisig");
        let comment = check(b"test", SIGNATURE, KEY, path).unwrap();
        assert!(comment.contains("file:test"), "{comment}");
        let file = format!("untrusted comment: minisign public key\n{KEY}\n");
        assert!(check(b"test", SIGNATURE, &file, path).is_ok());
        let message = |result: Result<String, StoreError>| result.unwrap_err().to_string();
        assert!(message(check(b"Test", SIGNATURE, KEY, path)).contains("not of this file by this key"));
        let commented = SIGNATURE.replace("file:test", "file:other");
        assert!(message(check(b"test", &commented, KEY, path)).contains("not of this file"));
        assert!(message(check(b"test", "nonsense", KEY, path)).contains("cannot be read"));
        assert!(message(check(b"test", SIGNATURE, "RWQ", path)).contains("public key"));
    }
}
