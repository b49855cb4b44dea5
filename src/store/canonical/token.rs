//! Strings and numbers of a JSON text: how long they are, and whether they stand as the canonical form wants them.

use serde_json::Value;

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

/// What a number says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// An integer of 64 bits without a sign.
    Unsigned(u64),
    /// An integer of 64 bits below zero.
    Negative(i64),
    /// Any other number, -0 included: the nearest double.
    Double(f64),
}

/// Digits that a double holds, whichever they are.
const DOUBLE_DIGITS: usize = 15;

/// The powers of ten that a double holds.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Length and form of the number `bytes` begin with; `None` if they begin with none. What it says, where that is known
/// from its digits at once.
#[inline]
pub(super) fn number(bytes: &[u8], dialect: Dialect) -> Option<(usize, Form, Option<Number>)> {
    let negative = bytes.first() == Some(&b'-');
    let start = usize::from(negative);
    let (whole, integer) = digits(&bytes[start..], 0)?;
    let leads_with_zero = bytes.get(start) == Some(&b'0');
    (whole == 1 || !leads_with_zero).then_some(())?;
    let mut at = start + whole;
    let (mut is_canonical, mut says);
    if bytes.get(at) == Some(&b'.') {
        let (fraction, all) = digits(&bytes[at + 1..], integer)?;
        let fraction_digits = &bytes[at + 1..at + 1 + fraction];
        at += 1 + fraction;
        is_canonical = is_shortest(whole, leads_with_zero, fraction_digits, dialect);
        // Both are doubles, so their quotient is the one nearest to the number.
        let tens = TENS.get(fraction).filter(|_| whole + fraction <= DOUBLE_DIGITS);
        says = tens.map(|tens| Number::Double(all as f64 / tens * if negative { -1.0 } else { 1.0 }));
    } else {
        let is_zero = negative && leads_with_zero;
        // A double holds any integer of so many digits; -0 is a double.
        is_canonical = whole <= dialect.integer_digits() && !is_zero;
        says = (whole <= 18 && !is_zero).then(|| match negative {
            true => Number::Negative(-(integer as i64)),
            false => Number::Unsigned(integer),
        });
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        at += digits(&bytes[at..], 0)?.0;
        (is_canonical, says) = (false, None);
    }
    Some((at, if is_canonical { Form::Plain } else { Form::Other }, says))
}

/// What a number says; `None` if it is beyond every double.
pub(super) fn read_number(number: &str) -> Option<Number> {
    if let Ok(integer) = number.parse() {
        return Some(Number::Unsigned(integer));
    }
    let negative = number.parse().ok().filter(|&integer: &i64| integer != 0);
    let double = || number.parse().ok().filter(|double: &f64| double.is_finite());
    negative.map(Number::Negative).or_else(|| double().map(Number::Double))
}

/// Appends the canonical form of a number; `None` if it is no number.
pub(super) fn print(number: Number, dialect: Dialect, out: &mut Vec<u8>) -> Option<()> {
    match (number, dialect) {
        (Number::Unsigned(integer), Dialect::First) => serde_json::to_writer(out, &integer).ok(),
        (Number::Negative(integer), Dialect::First) => serde_json::to_writer(out, &integer).ok(),
        (Number::Double(double), Dialect::First) => serde_json::to_writer(out, &double).ok(),
        (Number::Unsigned(integer), Dialect::Rfc8785) => print_double(integer as f64, out),
        (Number::Negative(integer), Dialect::Rfc8785) => print_double(integer as f64, out),
        (Number::Double(double), Dialect::Rfc8785) => print_double(double, out),
    }
}

/// A double as ECMAScript writes it (RFC 8785, 3.2.2.3): the shortest digits that read back to it, an exponent below
/// 10^-6 and from 10^21 on, no fraction where there is none.
fn print_double(x: f64, out: &mut Vec<u8>) -> Option<()> {
    x.is_finite().then_some(())?;
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

/// How many digits `bytes` begin with, at least one, and the integer they make behind the digits of `before`, if it is of
/// 64 bits.
#[inline(always)]
fn digits(bytes: &[u8], before: u64) -> Option<(usize, u64)> {
    let (mut n, mut integer) = (0, before);
    while let Some(digit) = bytes.get(n).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10) {
        integer = integer.wrapping_mul(10).wrapping_add(u64::from(digit));
        n += 1;
    }
    (n > 0).then_some((n, integer))
}

/// Whether a decimal with `whole` digits before its point is how the dialect prints the double it stands for. Two decimals
/// of up to 15 digits never stand for one double, so such a one without a final zero is the shortest of its double; very
/// small ones have an exponent.
fn is_shortest(whole: usize, leads_with_zero: bool, fraction: &[u8], dialect: Dialect) -> bool {
    let (zeros, whole_fraction) = match dialect {
        Dialect::First => (4, fraction == b"0"),
        Dialect::Rfc8785 => (6, false),
    };
    let is_small = leads_with_zero && fraction.iter().take(zeros).all(|&digit| digit == b'0');
    whole + fraction.len() <= DOUBLE_DIGITS && (whole_fraction || !(fraction.ends_with(b"0") || is_small))
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
