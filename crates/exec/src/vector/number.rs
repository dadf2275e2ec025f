//! Numbers inside vectors, read as C's `strtof` reads them.

/// A number at the front of some text.
pub(super) struct Number {
    /// Where the text goes on.
    pub end: usize,
    /// Its value: infinite or zero if it does not fit.
    pub value: f32,
    /// Too large to be finite.
    pub overflow: bool,
    /// Too small to be anything but zero.
    pub underflow: bool,
}

/// Whitespace as C's isspace has it.
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)) {
        at += 1;
    }
    at
}

/// The longest number that begins here; `None` if none does.
pub(super) fn read_number(text: &str, start: usize) -> Option<Number> {
    let bytes = text.as_bytes();
    let negative = bytes.get(start) == Some(&b'-');
    let at = start + usize::from(matches!(bytes.get(start), Some(b'+' | b'-')));
    if let Some((end, value)) = named(bytes, at) {
        let value = if negative { -value } else { value };
        return Some(Number { end, value, overflow: false, underflow: false });
    }
    if matches!(bytes.get(at..at + 2), Some(b"0x" | b"0X"))
        && let Some((end, value, nonzero)) = hexadecimal(bytes, at + 2)
    {
        let value = if negative { -value } else { value } as f32;
        return Some(finished(end, value, nonzero));
    }
    let end = decimal_end(bytes, at)?;
    let value: f32 = text.get(start..end)?.parse().ok()?;
    let mantissa = bytes[at..end].iter().take_while(|byte| !matches!(byte, b'e' | b'E'));
    let nonzero = mantissa.into_iter().any(|byte| matches!(byte, b'1'..=b'9'));
    Some(finished(end, value, nonzero))
}

fn finished(end: usize, value: f32, nonzero: bool) -> Number {
    Number { end, value, overflow: value.is_infinite(), underflow: value == 0.0 && nonzero }
}

fn named(bytes: &[u8], at: usize) -> Option<(usize, f32)> {
    for (word, value) in [
        (b"infinity".as_slice(), f32::INFINITY),
        (b"inf".as_slice(), f32::INFINITY),
        (b"nan".as_slice(), f32::NAN),
    ] {
        if bytes.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)) {
            return Some((at + word.len(), value));
        }
    }
    None
}

fn digits(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// The end of an exponent that begins with one of `letters`; where it would begin if there is none.
fn exponent_end(bytes: &[u8], at: usize, letters: [u8; 2]) -> usize {
    if !bytes.get(at).is_some_and(|byte| letters.contains(byte)) {
        return at;
    }
    let first = at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
    let end = digits(bytes, first);
    if end > first { end } else { at }
}

fn decimal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let whole = digits(bytes, at);
    let (end, count) = match bytes.get(whole) {
        Some(b'.') => {
            let end = digits(bytes, whole + 1);
            (end, end - at - 1)
        }
        _ => (whole, whole - at),
    };
    (count > 0).then(|| exponent_end(bytes, end, *b"eE"))
}

/// `1f.8p3` after its `0x`: where it ends, its size, whether a digit is not zero.
fn hexadecimal(bytes: &[u8], start: usize) -> Option<(usize, f64, bool)> {
    let (mut at, mut mantissa, mut scale, mut count, mut point) = (start, 0.0_f64, 0_i32, 0_u32, false);
    while let Some(byte) = bytes.get(at) {
        match (byte, char::from(*byte).to_digit(16)) {
            (b'.', _) if !point => point = true,
            (_, Some(digit)) => {
                // Past what the mantissa holds only the size matters.
                if mantissa < 1e18 {
                    mantissa = mantissa * 16.0 + f64::from(digit);
                    scale -= if point { 4 } else { 0 };
                } else {
                    scale = scale.saturating_add(if point { 0 } else { 4 });
                }
                count += 1;
            }
            _ => break,
        }
        at += 1;
    }
    if count == 0 {
        return None;
    }
    let end = exponent_end(bytes, at, *b"pP");
    let written = std::str::from_utf8(bytes.get(at..end)?).ok()?;
    let exponent = match written.get(1..) {
        Some(text) => text.parse().unwrap_or(if text.starts_with('-') { i32::MIN } else { i32::MAX }),
        None => 0,
    };
    let value = mantissa * 2.0_f64.powi(exponent.saturating_add(scale).clamp(-5_000, 5_000));
    Some((end, if mantissa == 0.0 { 0.0 } else { value }, mantissa != 0.0))
}

/// An integer as C's `strtol` reads one, whitespace before it included, held inside i32; where it ends.
pub(super) fn read_integer(bytes: &[u8], start: usize) -> Option<(i32, usize)> {
    let at = skip_space(bytes, start);
    let negative = bytes.get(at) == Some(&b'-');
    let first = at + usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
    let end = digits(bytes, first);
    if end == first {
        return None;
    }
    let add = |value: i64, digit: &u8| value.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    let size = bytes[first..end].iter().fold(0_i64, add);
    let value = if negative { -size } else { size };
    let inside = value.clamp(i32::MIN.into(), i32::MAX.into());
    i32::try_from(inside).ok().map(|value| (value, end))
}
