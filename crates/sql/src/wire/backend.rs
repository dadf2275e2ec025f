//! Messages to the client, written at the end of an output buffer.

use crate::bind::{is_told, origin};
use crate::oids;
use crate::outcome::{CopyFormat, Notice, Severity};
use arrow::datatypes::Schema;
use quiver_base::{Error, Result, SqlState, SqlType};

/// Writes a message: its type, a length to be filled in, its body.
pub(crate) fn message(out: &mut Vec<u8>, ty: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(ty);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Text and a NUL; a NUL inside would end it, so it is left out.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.push(0);
}

/// AuthenticationOk.
pub(crate) fn authentication_ok(out: &mut Vec<u8>) {
    message(out, b'R', |out| out.extend_from_slice(&0_i32.to_be_bytes()));
}

/// AuthenticationSASL: the mechanisms.
pub(crate) fn authentication_sasl(out: &mut Vec<u8>, mechanisms: &[&str]) {
    message(out, b'R', |out| {
        out.extend_from_slice(&10_i32.to_be_bytes());
        mechanisms.iter().for_each(|mechanism| put_text(out, mechanism));
        out.push(0);
    });
}

/// AuthenticationSASLContinue (11) and AuthenticationSASLFinal (12).
pub(crate) fn authentication_step(out: &mut Vec<u8>, step: i32, data: &str) {
    message(out, b'R', |out| {
        out.extend_from_slice(&step.to_be_bytes());
        out.extend_from_slice(data.as_bytes());
    });
}

/// ParameterStatus.
pub(crate) fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    message(out, b'S', |out| {
        put_text(out, name);
        put_text(out, value);
    });
}

/// BackendKeyData.
pub(crate) fn backend_key(out: &mut Vec<u8>, pid: i32, secret: &[u8]) {
    message(out, b'K', |out| {
        out.extend_from_slice(&pid.to_be_bytes());
        out.extend_from_slice(secret);
    });
}

/// NegotiateProtocolVersion: this minor version of 3 is spoken; these options are not known.
pub(crate) fn negotiate_version(out: &mut Vec<u8>, minor: u16, unknown_options: &[String]) {
    message(out, b'v', |out| {
        out.extend_from_slice(&(3_i32 << 16 | i32::from(minor)).to_be_bytes());
        out.extend_from_slice(&(unknown_options.len() as i32).to_be_bytes());
        unknown_options.iter().for_each(|option| put_text(out, option));
    });
}

/// ReadyForQuery: I, T or E.
pub(crate) fn ready(out: &mut Vec<u8>, status: u8) {
    message(out, b'Z', |out| out.push(status));
}

/// CommandComplete.
pub(crate) fn command_complete(out: &mut Vec<u8>, tag: &str) {
    message(out, b'C', |out| put_text(out, tag));
}

/// A message without a body: ParseComplete (1), BindComplete (2), CloseComplete (3), NoData (n), PortalSuspended (s),
/// EmptyQueryResponse (I), CopyDone (c).
pub(crate) fn bare(out: &mut Vec<u8>, ty: u8) {
    message(out, ty, |_| {});
}

/// CopyData.
pub(crate) fn copy_data(out: &mut Vec<u8>, data: &[u8]) {
    message(out, b'd', |out| out.extend_from_slice(data));
}

/// CopyInResponse (G), CopyOutResponse (H).
pub(crate) fn copy_response(out: &mut Vec<u8>, ty: u8, format: CopyFormat) {
    message(out, ty, |out| {
        out.push(u8::from(format.binary));
        out.extend_from_slice(&(format.columns as u16).to_be_bytes());
        for _ in 0..format.columns {
            out.extend_from_slice(&u16::from(format.binary).to_be_bytes());
        }
    });
}

/// ParameterDescription.
pub(crate) fn parameter_description(out: &mut Vec<u8>, types: &[SqlType]) {
    message(out, b't', |out| {
        out.extend_from_slice(&(types.len() as u16).to_be_bytes());
        types.iter().for_each(|ty| out.extend_from_slice(&oids::type_oid(ty).to_be_bytes()));
    });
}

/// RowDescription. `formats`: one a column.
pub(crate) fn row_description(out: &mut Vec<u8>, schema: &Schema, formats: &[i16]) -> Result<()> {
    let types = column_types(schema)?;
    message(out, b'T', |out| {
        out.extend_from_slice(&(types.len() as u16).to_be_bytes());
        for ((field, ty), format) in schema.fields().iter().zip(&types).zip(formats) {
            put_text(out, field.name());
            let (table, column) = origin(field).unwrap_or_default();
            out.extend_from_slice(&table.to_be_bytes());
            out.extend_from_slice(&column.to_be_bytes());
            out.extend_from_slice(&sent_oid(ty).to_be_bytes());
            out.extend_from_slice(&sent_len(ty).to_be_bytes());
            let modifier = if is_told(field) { oids::type_modifier(ty) } else { -1 };
            out.extend_from_slice(&modifier.to_be_bytes());
            out.extend_from_slice(&format.to_be_bytes());
        }
    });
    Ok(())
}

/// The SQL types of a result's columns.
pub(crate) fn column_types(schema: &Schema) -> Result<Vec<SqlType>> {
    schema
        .fields()
        .iter()
        .map(|field| {
            SqlType::of_field(field)
                .ok_or_else(|| Error::unsupported(format!("a result column of type {}", field.data_type())))
        })
        .collect()
}

/// A literal whose type nobody said leaves as text.
fn sent_oid(ty: &SqlType) -> u32 {
    oids::type_oid(if *ty == SqlType::Unknown { &SqlType::Text } else { ty })
}

fn sent_len(ty: &SqlType) -> i16 {
    oids::type_len(if *ty == SqlType::Unknown { &SqlType::Text } else { ty })
}

/// ErrorResponse. A fatal one is the last message of a connection.
pub(crate) fn error(out: &mut Vec<u8>, error: &Error, fatal: bool) {
    message(out, b'E', |out| {
        let severity = if fatal { "FATAL" } else { "ERROR" };
        put_fields(out, severity, error.state(), error.message(), error.detail(), error.hint());
        let position = error.position().map(|position| position.to_string());
        let rest = [
            (b'P', position.as_deref()),
            (b's', error.schema()),
            (b't', error.table()),
            (b'c', error.column()),
            (b'n', error.constraint()),
            (b'R', error.routine()),
        ];
        for (code, value) in rest {
            put_field(out, code, value);
        }
        out.push(0);
    });
}

/// NoticeResponse.
pub(crate) fn notice(out: &mut Vec<u8>, notice: &Notice) {
    message(out, b'N', |out| {
        let severity = match notice.severity {
            Severity::Debug => "DEBUG",
            Severity::Log => "LOG",
            Severity::Notice => "NOTICE",
            Severity::Warning => "WARNING",
            Severity::Info => "INFO",
        };
        let (detail, hint) = (notice.detail.as_deref(), notice.hint.as_deref());
        put_fields(out, severity, notice.state, &notice.message, detail, hint);
        out.push(0);
    });
}

fn put_fields(
    out: &mut Vec<u8>,
    severity: &str,
    state: SqlState,
    message: &str,
    detail: Option<&str>,
    hint: Option<&str>,
) {
    put_field(out, b'S', Some(severity));
    put_field(out, b'V', Some(severity));
    put_field(out, b'C', Some(state.code()));
    put_field(out, b'M', Some(message));
    put_field(out, b'D', detail);
    put_field(out, b'H', hint);
}

fn put_field(out: &mut Vec<u8>, code: u8, value: Option<&str>) {
    if let Some(value) = value {
        out.push(code);
        put_text(out, value);
    }
}
