//! The text format: a line a row, tabs between columns, backslashes before what would be misread.

/// Appends a value as the format wants it.
pub(super) fn write(value: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    for &byte in value {
        let letter = match byte {
            b'\\' => b'\\',
            b'\x08' => b'b',
            b'\x0c' => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            b'\x0b' => b'v',
            other if other == delimiter => other,
            other => {
                out.push(other);
                continue;
            }
        };
        out.push(b'\\');
        out.push(letter);
    }
}

/// Splits a line (without its end) into fields; `None` is NULL. Each field is written into `fields` again.
pub(super) fn split(line: &[u8], delimiter: u8, null: &[u8], fields: &mut Vec<Option<Vec<u8>>>) {
    fields.clear();
    let mut start = 0;
    let mut at = 0;
    loop {
        match line.get(at) {
            Some(b'\\') => at += 2,
            Some(byte) if *byte != delimiter => at += 1,
            end => {
                let raw = &line[start..at.min(line.len())];
                fields.push(if raw == null { None } else { Some(unescape(raw)) });
                if end.is_none() {
                    return;
                }
                at += 1;
                start = at;
            }
        }
    }
}

fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        let byte = raw[at];
        at += 1;
        if byte != b'\\' || at >= raw.len() {
            out.push(byte);
            continue;
        }
        let letter = raw[at];
        at += 1;
        match letter {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            b'0'..=b'7' => {
                let mut value = u32::from(letter - b'0');
                for _ in 0..2 {
                    match raw.get(at) {
                        Some(digit @ b'0'..=b'7') => {
                            value = value * 8 + u32::from(digit - b'0');
                            at += 1;
                        }
                        _ => break,
                    }
                }
                out.push((value & 0xff) as u8);
            }
            b'x' => {
                let digits: Vec<u8> =
                    raw[at..].iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).copied().collect();
                if digits.is_empty() {
                    out.push(b'x');
                    continue;
                }
                at += digits.len();
                let text = String::from_utf8_lossy(&digits).into_owned();
                out.push(u8::from_str_radix(&text, 16).unwrap_or(b'?'));
            }
            other => out.push(other),
        }
    }
    out
}

/// Where the first whole line ends: (its length, the length with its end). `last`: nothing comes after.
pub(super) fn line_end(buffer: &[u8], last: bool) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(found) = memchr(b'\n', &buffer[from..]) {
        let at = from + found;
        // An escaped newline is data.
        let slashes = buffer[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        if slashes % 2 == 0 {
            let end = if at > 0 && buffer[at - 1] == b'\r' { at - 1 } else { at };
            return Some((end, at + 1));
        }
        from = at + 1;
    }
    (last && !buffer.is_empty()).then(|| {
        let end = if buffer.ends_with(b"\r") { buffer.len() - 1 } else { buffer.len() };
        (end, buffer.len())
    })
}

fn memchr(byte: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|found| *found == byte)
}
