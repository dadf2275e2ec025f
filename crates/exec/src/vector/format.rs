//! A vector's text form, as pgvector prints it: each number is the shortest that reads back as the same float4, laid out
//! as PostgreSQL does.

use std::fmt::Write;

/// `[1,2.5,-3e+10]`.
pub fn format(values: &[f32]) -> String {
    let mut out = String::with_capacity(values.len() * 12 + 2);
    write(&mut out, values);
    out
}

/// Appends the text form.
pub fn write(out: &mut String, values: &[f32]) {
    out.push('[');
    let mut scratch = String::with_capacity(24);
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_float4(out, &mut scratch, *value);
    }
    out.push(']');
}

fn write_float4(out: &mut String, scratch: &mut String, value: f32) {
    if !value.is_finite() {
        out.push_str(match value {
            value if value.is_nan() => "NaN",
            value if value > 0.0 => "Infinity",
            _ => "-Infinity",
        });
        return;
    }
    // Small whole numbers are common and need no search for the shortest form.
    if value == value.trunc() && value.abs() < 1e6 && (value != 0.0 || value.is_sign_positive()) {
        write!(out, "{}", value as i32).expect("a String takes any text");
        return;
    }
    let exponent = if value == 0.0 { 0 } else { exponent_of(scratch, value) };
    // PostgreSQL's float4out: fixed notation for exponents -4 to 5.
    if (-4..6).contains(&exponent) {
        write!(out, "{value}").expect("a String takes any text");
        return;
    }
    let (mantissa, _) = scratch.split_once('e').expect("`{:e}` prints an exponent");
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(out, "{mantissa}e{sign}{:02}", exponent.abs()).expect("a String takes any text");
}

fn exponent_of(scratch: &mut String, value: f32) -> i32 {
    scratch.clear();
    write!(scratch, "{value:e}").expect("a String takes any text");
    let (_, exponent) = scratch.split_once('e').expect("`{:e}` prints an exponent");
    exponent.parse().expect("an exponent is a number")
}
