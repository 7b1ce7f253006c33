//! Character classes and escapes of RE2.

use super::RegexError;
use super::translate::{Translator, push_literal};

/// The class that `\d` and its kin stand for: ASCII only.
pub(super) fn perl(c: char) -> Option<&'static str> {
    Some(match c {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => "[\\t\\n\\x0C\\r ]",
        'S' => "[^\\t\\n\\x0C\\r ]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        _ => return None,
    })
}

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// A bracket expression, from `[` to `]`.
pub(super) fn translate(t: &mut Translator<'_>) -> Result<(), RegexError> {
    let start = t.at;
    t.bump();
    t.out.push('[');
    if t.peek() == Some('^') {
        t.bump();
        t.out.push('^');
    }
    let mut first = true;
    loop {
        match t.peek() {
            None => return Err(RegexError::new("missing closing ]", &t.pattern[start..])),
            Some(']') if !first => {
                t.bump();
                t.out.push(']');
                return Ok(());
            }
            Some(_) => item(t, first)?,
        }
        first = false;
    }
}

/// One member of a bracket expression: a class, a character or a range.
fn item(t: &mut Translator<'_>, first: bool) -> Result<(), RegexError> {
    let start = t.at;
    // RE2 refuses a hyphen that is neither at an edge nor part of a range.
    if t.peek() == Some('-') && !first && !t.rest().starts_with("-]") {
        let next = t.rest().chars().nth(1);
        let fragment: String = std::iter::once('-').chain(next).collect();
        return Err(RegexError::new("invalid character class range", fragment));
    }
    if t.rest().starts_with("[:") && posix(t)? {
        return Ok(());
    }
    if let Some(after) = t.rest().strip_prefix('\\') {
        let escaped = after.chars().next();
        if let Some(class) = escaped.and_then(perl) {
            t.at += 2;
            t.out.push_str(class);
            return Ok(());
        }
        if matches!(escaped, Some('p' | 'P')) {
            t.bump();
            return unicode(t, start);
        }
    }
    let low = char_of(t)?;
    let ranged = t.rest().starts_with('-') && !t.rest().starts_with("-]") && t.rest().len() > 1;
    if !ranged {
        push_literal(&mut t.out, low);
        return Ok(());
    }
    t.bump();
    let high = char_of(t)?;
    if high < low {
        return Err(RegexError::new(
            "invalid character class range",
            &t.pattern[start..t.at],
        ));
    }
    push_literal(&mut t.out, low);
    t.out.push('-');
    push_literal(&mut t.out, high);
    Ok(())
}

/// `[:name:]` or `[:^name:]`; false if it is none.
fn posix(t: &mut Translator<'_>) -> Result<bool, RegexError> {
    let Some(end) = t.rest().find(":]") else {
        return Ok(false);
    };
    let fragment = &t.rest()[..end + 2];
    let name = fragment.trim_start_matches("[:").trim_end_matches(":]");
    if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return Err(RegexError::new("invalid character class range", fragment));
    }
    let fragment = fragment.to_owned();
    t.out.push_str(&fragment);
    t.at += fragment.len();
    Ok(true)
}

fn char_of(t: &mut Translator<'_>) -> Result<char, RegexError> {
    let start = t.at;
    match t.bump() {
        Some('\\') => escaped_char(t, start),
        Some(c) => Ok(c),
        None => Err(RegexError::new("missing closing ]", "")),
    }
}

/// `\pN`, `\p{Greek}` and their negations; the backslash is read already.
pub(super) fn unicode(t: &mut Translator<'_>, start: usize) -> Result<(), RegexError> {
    let rest = t.rest();
    let length = if rest[1..].starts_with('{') {
        rest.find('}').map(|end| end + 1)
    } else {
        rest.chars().nth(1).map(|c| 1 + c.len_utf8())
    };
    let Some(length) = length else {
        return Err(RegexError::new(
            "invalid character class range",
            &t.pattern[start..],
        ));
    };
    let text = format!("\\{}", &rest[..length]);
    t.at += length;
    // Go knows general categories and scripts; the engine below knows more names, so the rest is refused here.
    let name = text
        .trim_start_matches(['\\', 'p', 'P', '{', '^'])
        .trim_end_matches('}');
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let spelled = name == "Any" || name.starts_with(|c: char| c.is_ascii_uppercase());
    if !plain || !spelled || regex::bytes::Regex::new(&text).is_err() {
        return Err(RegexError::new(
            "invalid character class range",
            &t.pattern[start..t.at],
        ));
    }
    t.out.push_str(&text);
    Ok(())
}

/// The character that an escape stands for; the backslash, at `start`, is read already.
pub(super) fn escaped_char(t: &mut Translator<'_>, start: usize) -> Result<char, RegexError> {
    let invalid = |t: &Translator<'_>| {
        Err(RegexError::new(
            "invalid escape sequence",
            &t.pattern[start..t.at],
        ))
    };
    let Some(c) = t.bump() else {
        return Err(RegexError::new(
            "trailing backslash at end of expression",
            "",
        ));
    };
    match c {
        'a' => Ok('\u{7}'),
        'f' => Ok('\u{c}'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'v' => Ok('\u{b}'),
        '1'..='7' if !t.peek().is_some_and(|next| ('0'..='7').contains(&next)) => invalid(t),
        '0'..='7' => {
            let mut code = c.to_digit(8).unwrap_or(0);
            for _ in 0..2 {
                let Some(digit) = t.peek().and_then(|next| next.to_digit(8)) else {
                    break;
                };
                t.bump();
                code = code * 8 + digit;
            }
            char::from_u32(code).map_or_else(|| invalid(t), Ok)
        }
        'x' => match hex(t) {
            Some(c) => Ok(c),
            None => invalid(t),
        },
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c),
        _ => invalid(t),
    }
}

/// `\x7F` or `\x{10FFFF}`; the `x` is read already.
fn hex(t: &mut Translator<'_>) -> Option<char> {
    let digits = if t.peek() == Some('{') {
        t.bump();
        let end = t.rest().find('}')?;
        let digits = t.rest()[..end].to_owned();
        t.at += end + 1;
        digits
    } else {
        let digits: String = t.rest().chars().take(2).collect();
        t.at += digits.len();
        if digits.chars().count() < 2 {
            return None;
        }
        digits
    };
    let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let code = valid
        .then(|| u32::from_str_radix(&digits, 16).ok())
        .flatten()?;
    char::from_u32(code)
}
