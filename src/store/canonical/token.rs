//! Strings and numbers of a JSON text: how long they are, and whether they stand as the canonical form wants them.

use serde_json::{Number, Value};

/// How a token is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// As the canonical form writes it, and a string without any escape.
    Plain,
    /// As the canonical form writes it: a string with escapes of one letter or sign.
    Canonical,
    /// In a way the canonical form may write otherwise.
    Other,
}

/// Length and form of the string `bytes` begin with, quotes included; `None` if it does not end.
#[inline]
pub(super) fn string(bytes: &[u8]) -> Option<(usize, Form)> {
    let mut form = Form::Plain;
    let mut at = 1;
    loop {
        at += unescaped(bytes.get(at..)?);
        match bytes.get(at)? {
            b'"' => return Some((at + 1, form)),
            b'\\' => {
                at += 1;
                let short = matches!(bytes.get(at)?, b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't');
                form = form.max(if short { Form::Canonical } else { Form::Other });
            }
            _ => return None,
        }
        at += 1;
    }
}

/// What a string with its quotes and escapes says; `None` for an escape that means nothing.
pub(super) fn unescape(string: &str) -> Option<String> {
    serde_json::from_str(string).ok()
}

/// Canonical form of a string that says `text`.
pub(super) fn quote(text: String) -> String {
    Value::from(text).to_string()
}

/// How many bytes come before the first quote, backslash or control byte: eight at a time.
#[inline]
fn unescaped(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let mut n = 0;
    while let Some(eight) = bytes[n..].first_chunk() {
        let word = u64::from_le_bytes(*eight);
        // The top bit of the first byte that is `byte` is set, and of no byte before it.
        let is = |byte: u8| {
            let zero = word ^ (ONES * u64::from(byte));
            zero.wrapping_sub(ONES) & !zero
        };
        let is_control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (is(b'"') | is(b'\\') | is_control) & TOPS;
        if found != 0 {
            return n + found.trailing_zeros() as usize / 8;
        }
        n += 8;
    }
    let special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    bytes[n..].iter().position(special).map_or(bytes.len(), |place| n + place)
}

/// Length and form of the number `bytes` begin with; `None` if they begin with none.
#[inline]
pub(super) fn number(bytes: &[u8]) -> Option<(usize, Form)> {
    let negative = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(&bytes[negative..])?;
    (whole.len() == 1 || whole[0] != b'0').then_some(())?;
    let mut at = negative + whole.len();
    let mut is_canonical = true;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(&bytes[at + 1..])?;
        at += 1 + fraction.len();
        is_canonical = is_shortest(whole, fraction);
    } else {
        // Eighteen digits fit any integer; -0 is a double.
        is_canonical &= whole.len() <= 18 && !(negative == 1 && whole == b"0");
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        at += digits(&bytes[at..])?.len();
        is_canonical = false;
    }
    Some((at, if is_canonical { Form::Plain } else { Form::Other }))
}

/// Canonical form of a number, appended to `out`; `None` if it is beyond every double.
pub(super) fn print(number: &str, out: &mut Vec<u8>) -> Option<()> {
    let is_whole = number.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit());
    let known = if is_whole { whole(number) } else { None };
    let known = known.or_else(|| Number::from_f64(number.parse().ok()?))?;
    serde_json::to_writer(out, &known).ok()
}

/// An integer of 64 bits; -0 is none.
fn whole(number: &str) -> Option<Number> {
    match (number.parse::<u64>(), number.parse::<i64>()) {
        (Ok(integer), _) => Some(integer.into()),
        (_, Ok(integer)) => (integer != 0).then(|| integer.into()),
        _ => None,
    }
}

#[inline]
fn digits(bytes: &[u8]) -> Option<&[u8]> {
    let n = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    (n > 0).then(|| &bytes[..n])
}

/// Whether `whole.fraction` is how `serde_json` prints the double it stands for. Two decimals of up to 15 digits never
/// stand for one double, so such a one without a final zero is the shortest of its double; below 10^-5 it would be
/// printed with an exponent.
fn is_shortest(whole: &[u8], fraction: &[u8]) -> bool {
    let is_small = whole == b"0" && fraction.iter().take(4).all(|&digit| digit == b'0');
    whole.len() + fraction.len() <= 15 && (fraction == b"0" || !(fraction.ends_with(b"0") || is_small))
}
