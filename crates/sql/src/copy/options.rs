//! COPY's options, checked as PostgreSQL checks them.

use crate::parser::CopyOption;
use quiver_base::{Error, Result, SqlState};

/// The data format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Csv,
    Binary,
}

/// A header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    None,
    Skip,
    /// Must have the columns' names.
    Match,
}

/// Columns of a FORCE_… option.
#[derive(Clone, Debug, Default)]
pub(super) enum Columns {
    #[default]
    None,
    All,
    Named(Vec<String>),
}

impl Columns {
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Columns::None => false,
            Columns::All => true,
            Columns::Named(names) => names.iter().any(|found| found == name),
        }
    }
}

/// All options.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) format: Format,
    pub(super) delimiter: u8,
    pub(super) null: String,
    pub(super) header: Header,
    pub(super) quote: u8,
    pub(super) escape: u8,
    pub(super) force_quote: Columns,
    pub(super) force_not_null: Columns,
    pub(super) force_null: Columns,
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn syntax(message: impl Into<String>) -> Error {
    Error::new(SqlState::SYNTAX_ERROR, message)
}

fn single(option: &CopyOption) -> Result<&str> {
    match option.values.as_deref() {
        Some([value]) => Ok(value),
        _ => Err(syntax(format!("{} requires a parameter", option.name))),
    }
}

/// One byte, as COPY's delimiters have to be.
fn byte(option: &CopyOption, what: &str) -> Result<u8> {
    match single(option)?.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("COPY {what} must be a single one-byte character"),
        )),
    }
}

fn on(option: &CopyOption) -> Result<bool> {
    match option.values.as_deref() {
        None => Ok(true),
        Some([value]) => match value.to_ascii_lowercase().as_str() {
            "true" | "on" | "1" => Ok(true),
            "false" | "off" | "0" => Ok(false),
            _ => Err(syntax(format!("{} requires a Boolean value", option.name))),
        },
        Some(_) => Err(syntax(format!("{} requires a Boolean value", option.name))),
    }
}

fn columns(option: &CopyOption) -> Result<Columns> {
    match (&option.values, option.all) {
        (_, true) => Ok(Columns::All),
        (Some(names), _) => Ok(Columns::Named(names.clone())),
        _ => Err(invalid(format!("argument to option \"{}\" must be a list of column names", option.name))),
    }
}

impl Options {
    /// Reads and checks the options. `to`: COPY TO.
    pub(super) fn parse(list: &[CopyOption], to: bool) -> Result<Options> {
        let mut seen: Vec<&str> = Vec::new();
        let (mut format, mut header) = (Format::Text, Header::None);
        let (mut delimiter, mut null, mut quote, mut escape) = (None, None, None, None);
        let (mut force_quote, mut force_not_null, mut force_null) = Default::default();
        for option in list {
            if seen.contains(&option.name.as_str()) {
                return Err(syntax("conflicting or redundant options"));
            }
            seen.push(&option.name);
            match option.name.as_str() {
                "format" => {
                    format = match single(option)? {
                        "text" => Format::Text,
                        "csv" => Format::Csv,
                        "binary" => Format::Binary,
                        other => return Err(invalid(format!("COPY format \"{other}\" not recognized"))),
                    }
                }
                "header" => {
                    let is_match = matches!(option.values.as_deref(), Some([value]) if value.eq_ignore_ascii_case("match"));
                    header = match is_match {
                        true if to => return Err(Error::unsupported("HEADER MATCH with COPY TO")),
                        true => Header::Match,
                        false if on(option)? => Header::Skip,
                        false => Header::None,
                    };
                }
                "delimiter" => delimiter = Some(byte(option, "delimiter")?),
                "null" => null = Some(single(option)?.to_owned()),
                "quote" => quote = Some(byte(option, "quote")?),
                "escape" => escape = Some(byte(option, "escape")?),
                "force_quote" => force_quote = columns(option)?,
                "force_not_null" => force_not_null = columns(option)?,
                "force_null" => force_null = columns(option)?,
                "freeze" => {
                    on(option)?;
                }
                "encoding" => {
                    let name = single(option)?.to_ascii_lowercase().replace(['-', '_'], "");
                    if !matches!(name.as_str(), "utf8" | "unicode" | "sqlascii") {
                        return Err(Error::unsupported(format!("encoding \"{}\"", single(option)?)));
                    }
                }
                other => return Err(syntax(format!("option \"{other}\" not recognized"))),
            }
        }
        let csv = format == Format::Csv;
        let options = Options {
            format,
            delimiter: delimiter.unwrap_or(if csv { b',' } else { b'\t' }),
            null: null.clone().unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() }),
            header,
            quote: quote.unwrap_or(b'"'),
            escape: escape.or(quote).unwrap_or(b'"'),
            force_quote,
            force_not_null,
            force_null,
        };
        options.check(&seen, to)?;
        Ok(options)
    }

    fn check(&self, seen: &[&str], to: bool) -> Result<()> {
        let has = |name: &str| seen.contains(&name);
        if self.format == Format::Binary {
            for name in ["delimiter", "null", "header"] {
                if has(name) {
                    return Err(syntax(format!("cannot specify {} in BINARY mode", name.to_uppercase())));
                }
            }
        }
        if self.format != Format::Csv {
            for name in ["quote", "escape", "force_quote", "force_not_null", "force_null"] {
                if has(name) {
                    let shown = name.replace('_', " ");
                    return Err(Error::new(
                        SqlState::FEATURE_NOT_SUPPORTED,
                        format!("COPY {shown} available only in CSV mode"),
                    ));
                }
            }
        }
        if has("force_quote") && !to {
            return Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "COPY force quote only available using COPY TO",
            ));
        }
        if (has("force_null") || has("force_not_null")) && to {
            return Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "COPY force null only available using COPY FROM",
            ));
        }
        if matches!(self.delimiter, b'\n' | b'\r') {
            return Err(invalid("COPY delimiter cannot be newline or carriage return"));
        }
        if self.null.contains(['\n', '\r']) {
            return Err(invalid("COPY null representation cannot use newline or carriage return"));
        }
        let bad = b"\\.abcdefghijklmnopqrstuvwxyz0123456789";
        if self.format == Format::Text && bad.contains(&self.delimiter) {
            return Err(invalid(format!("COPY delimiter cannot be \"{}\"", char::from(self.delimiter))));
        }
        if self.format == Format::Csv && self.delimiter == self.quote {
            return Err(invalid("COPY delimiter and quote must be different"));
        }
        if self.format != Format::Binary && self.null.as_bytes().contains(&self.delimiter) {
            return Err(invalid("COPY delimiter must not appear in the NULL specification"));
        }
        Ok(())
    }
}
