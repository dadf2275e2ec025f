//! Text in other encodings, and escapes of characters: convert_from, convert_to, unistr.

use super::{Args, Function};
use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, StringArray, StringBuilder};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("convert_from", Volatility::Immutable, SqlType::Text, convert_from),
        Function::new("convert_to", Volatility::Immutable, SqlType::Bytea, convert_to),
        Function::new("unistr", Volatility::Immutable, SqlType::Text, |args| {
            let texts = args.text(0)?;
            let read = texts.iter().map(|text| text.map(unescaped).transpose());
            Ok(Arc::new(read.collect::<Result<StringArray>>()?))
        }),
    ]
}

/// The encodings that there is something to do for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Latin1,
}

fn encoding(name: &str, end: &str) -> Result<Encoding> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.to_ascii_lowercase().as_str() {
        "utf8" | "unicode" => Ok(Encoding::Utf8),
        "latin1" | "iso88591" => Ok(Encoding::Latin1),
        "sqlascii" => Ok(Encoding::Utf8),
        _ => {
            let message = format!("invalid {end} encoding name \"{name}\"");
            Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message))
        }
    }
}

fn convert_from(args: &Args<'_>) -> Result<ArrayRef> {
    let (values, names) = (args.cast(0, &SqlType::Bytea)?, args.text(1)?);
    let values = values.as_binary::<i32>();
    let mut out = StringBuilder::new();
    for row in 0..args.rows() {
        if values.is_null(row) || names.is_null(row) {
            out.append_null();
            continue;
        }
        let bytes = values.value(row);
        match encoding(names.value(row), "source")? {
            Encoding::Utf8 => out.append_value(crate::decode::utf8(bytes)?),
            Encoding::Latin1 => {
                out.append_value(bytes.iter().map(|byte| char::from(*byte)).collect::<String>())
            }
        }
    }
    Ok(Arc::new(out.finish()))
}

fn convert_to(args: &Args<'_>) -> Result<ArrayRef> {
    let (texts, names) = (args.text(0)?, args.text(1)?);
    let mut out = BinaryBuilder::new();
    for row in 0..args.rows() {
        if texts.is_null(row) || names.is_null(row) {
            out.append_null();
            continue;
        }
        let text = texts.value(row);
        match encoding(names.value(row), "destination")? {
            Encoding::Utf8 => out.append_value(text),
            Encoding::Latin1 => out.append_value(text.chars().map(latin1).collect::<Result<Vec<u8>>>()?),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn latin1(character: char) -> Result<u8> {
    u8::try_from(u32::from(character)).map_err(|_| {
        let bytes = character.to_string();
        let bytes: Vec<String> = bytes.bytes().map(|byte| format!("0x{byte:02x}")).collect();
        let message = format!(
            "character with byte sequence {} in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
            bytes.join(" ")
        );
        Error::new(SqlState::UNTRANSLATABLE_CHARACTER, message)
    })
}

/// `\0041`, `\u0041`, `\+000041`, `\U00000041` as the characters that they stand for; `\\` is a backslash.
fn unescaped(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut high) = (text, None);
    while let Some(at) = rest.find('\\') {
        if high.is_some() && at > 0 {
            return Err(invalid_pair());
        }
        out.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        if let Some(after) = escape.strip_prefix('\\') {
            out.push('\\');
            rest = after;
            continue;
        }
        let (digits, count) = match escape.chars().next() {
            Some('u') => (&escape[1..], 4),
            Some('+') => (&escape[1..], 6),
            Some('U') => (&escape[1..], 8),
            _ => (escape, 4),
        };
        let code = digits.get(..count).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or_else(|| {
            Error::new(SqlState::SYNTAX_ERROR, "invalid Unicode escape")
                .with_hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
        })?;
        rest = &digits[count..];
        match (high.take(), code) {
            (None, 0xd800..=0xdbff) => high = Some(code),
            (Some(first), 0xdc00..=0xdfff) => {
                let both = 0x10000 + ((first - 0xd800) << 10) + (code - 0xdc00);
                out.extend(char::from_u32(both));
            }
            (Some(_), _) | (None, 0xdc00..=0xdfff) => return Err(invalid_pair()),
            (None, code) => out.push(char::from_u32(code).ok_or_else(|| {
                Error::new(SqlState::SYNTAX_ERROR, format!("invalid Unicode code point: {code:04X}"))
            })?),
        }
    }
    if high.is_some() {
        return Err(invalid_pair());
    }
    out.push_str(rest);
    Ok(out)
}

fn invalid_pair() -> Error {
    Error::new(SqlState::SYNTAX_ERROR, "invalid Unicode surrogate pair")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_characters() {
        assert_eq!(unescaped(r"d\0061t\+000061 \\ \U0001F600").expect("escapes"), "data \\ \u{1F600}");
        assert_eq!(unescaped(r"\d83d\de00").expect("a pair"), "\u{1F600}");
        for wrong in [r"\00", r"\d83d", r"\de00", r"\d83dx\de00", r"\+110000"] {
            assert!(unescaped(wrong).is_err(), "{wrong}");
        }
    }
}
