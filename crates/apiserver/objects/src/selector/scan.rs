//! Splits a label selector's text into tokens.

/// A token of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A key, value or word operator.
    Word(String),
    /// `,`
    Comma,
    /// `(`
    Open,
    /// `)`
    Close,
    /// One of `= == != ! > <`.
    Sign(String),
    /// Nothing is left.
    End,
}

impl Token {
    /// The token as error texts quote it.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Sign(text) => text,
            Self::Comma => ",",
            Self::Open => "(",
            Self::Close => ")",
            Self::End => "",
        }
    }
}

const SIGNS: &[char] = &['=', '!', '<', '>'];

fn is_special(symbol: char) -> bool {
    SIGNS.contains(&symbol) || matches!(symbol, '(' | ')' | ',')
}

/// All tokens of `text`. The last is always [`Token::End`]. A run of signs that means nothing is an error text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(first) = rest.chars().next() else {
            tokens.push(Token::End);
            return Ok(tokens);
        };
        let single = match first {
            ',' => Some(Token::Comma),
            '(' => Some(Token::Open),
            ')' => Some(Token::Close),
            _ => None,
        };
        if let Some(token) = single {
            tokens.push(token);
            rest = &rest[1..];
        } else if SIGNS.contains(&first) {
            // The longest run of signs that is an operator wins, as in `==`.
            let run = rest.len() - rest.trim_start_matches(SIGNS).len();
            let taken = (1..=run.min(2))
                .rev()
                .find(|&length| matches!(&rest[..length], "=" | "==" | "!=" | "!" | ">" | "<"))
                .ok_or_else(|| format!("error expected: keyword found '{}'", &rest[..run]))?;
            tokens.push(Token::Sign(rest[..taken].to_owned()));
            rest = &rest[taken..];
        } else {
            let end = rest
                .find(|symbol: char| {
                    is_special(symbol) || matches!(symbol, ' ' | '\t' | '\r' | '\n')
                })
                .unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
}
