//! Strings and numbers of a JSON text: how long they are, and whether they stand as the canonical form wants them.

use serde_json::{Number, Value};

use super::Dialect;

/// How a token is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) enum Form {
    /// As the canonical form writes it, and a string without any escape.
    Plain,
    /// As the canonical form writes it: a string with escapes of one letter or sign.
    Canonical,
    /// In a way the canonical form may write otherwise.
    Other,
}

/// Length and form of the string `bytes` begin with, quotes included; `None` if it does not end.
#[inline]
pub(in crate::store) fn string(bytes: &[u8]) -> Option<(usize, Form)> {
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
pub(super) fn number(bytes: &[u8], dialect: Dialect) -> Option<(usize, Form)> {
    let negative = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(&bytes[negative..])?;
    (whole.len() == 1 || whole[0] != b'0').then_some(())?;
    let mut at = negative + whole.len();
    let mut is_canonical = true;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(&bytes[at + 1..])?;
        at += 1 + fraction.len();
        is_canonical = is_shortest(whole, fraction, dialect);
    } else {
        // A double holds any integer of so many digits; -0 is a double.
        is_canonical &= whole.len() <= dialect.integer_digits() && !(negative == 1 && whole == b"0");
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
pub(super) fn print(number: &str, dialect: Dialect, out: &mut Vec<u8>) -> Option<()> {
    if dialect == Dialect::Rfc8785 {
        return print_double(number.parse().ok()?, out);
    }
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

/// A double as ECMAScript writes it (RFC 8785, 3.2.2.3): the shortest digits that read back to it, an exponent below
/// 10^-6 and from 10^21 on, no fraction where there is none.
fn print_double(x: f64, out: &mut Vec<u8>) -> Option<()> {
    Number::from_f64(x)?;
    let start = out.len();
    serde_json::to_writer(&mut *out, &x).ok()?;
    let printed = &out[start..];
    if x == 0.0 {
        out.truncate(start);
        out.push(b'0');
    } else if printed.contains(&b'e') {
        let scientific = String::from_utf8(out.split_off(start)).ok()?;
        place_point(&scientific, out)?;
    } else if printed.ends_with(b".0") {
        out.truncate(out.len() - 2);
    }
    Some(())
}

/// Appends a number given as `1.5e-7` as ECMAScript writes it.
fn place_point(scientific: &str, out: &mut Vec<u8>) -> Option<()> {
    let (digits, exponent) = scientific.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let digits = digits.replace('.', "");
    out.extend_from_slice(sign.as_bytes());
    match exponent {
        0..=20 => {
            let before = exponent as usize + 1;
            let (whole, fraction) = digits.split_at(before.min(digits.len()));
            out.extend_from_slice(whole.as_bytes());
            out.resize(out.len() + before - whole.len(), b'0');
            point(fraction, out);
        }
        -6..=-1 => {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-exponent - 1) as usize, b'0');
            out.extend_from_slice(digits.as_bytes());
        }
        _ => {
            let (first, rest) = digits.split_at(1);
            out.extend_from_slice(first.as_bytes());
            point(rest, out);
            out.extend_from_slice(format!("e{exponent:+}").as_bytes());
        }
    }
    Some(())
}

/// The digits behind the point, if there are any.
fn point(fraction: &str, out: &mut Vec<u8>) {
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
}

#[inline]
fn digits(bytes: &[u8]) -> Option<&[u8]> {
    let n = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    (n > 0).then(|| &bytes[..n])
}

/// Whether `whole.fraction` is how the dialect prints the double it stands for. Two decimals of up to 15 digits never
/// stand for one double, so such a one without a final zero is the shortest of its double; very small ones have an
/// exponent.
fn is_shortest(whole: &[u8], fraction: &[u8], dialect: Dialect) -> bool {
    let (zeros, whole_fraction) = match dialect {
        Dialect::First => (4, fraction == b"0"),
        Dialect::Rfc8785 => (6, false),
    };
    let is_small = whole == b"0" && fraction.iter().take(zeros).all(|&digit| digit == b'0');
    whole.len() + fraction.len() <= 15 && (whole_fraction || !(fraction.ends_with(b"0") || is_small))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_printed_as_the_standard_prints_them() {
        // RFC 8785, appendix B.
        for (bits, printed) in [
            (0x0000_0000_0000_0000_u64, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            let mut out = Vec::new();
            print_double(f64::from_bits(bits), &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), printed, "{bits:x}");
        }
        assert_eq!(print_double(f64::NAN, &mut Vec::new()), None);
        assert_eq!(print_double(f64::INFINITY, &mut Vec::new()), None);
    }
}
