//! Shell patterns over paths: `*` and `?` within a segment, `**` over any number of segments, `[a-z]` and `[!a-z]`.

/// Whether a path has any pattern in it.
pub(crate) fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The leading segments without patterns.
pub(crate) fn base(pattern: &str) -> &str {
    match pattern.find(['*', '?', '[']) {
        None => pattern,
        Some(at) => pattern[..at].rfind('/').map_or("", |slash| &pattern[..slash]),
    }
}

/// Whether the pattern matches the path, or a directory above it.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let path: Vec<&str> = path.split('/').collect();
    // Which prefixes of the path the pattern's first i segments match: as for text, so no input takes long.
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    for part in &pattern {
        let mut next = vec![false; path.len() + 1];
        if *part == "**" {
            let mut any = false;
            for (at, reached) in reached.iter().enumerate() {
                any |= reached;
                next[at] = any;
            }
        } else {
            for (at, segment) in path.iter().enumerate() {
                next[at + 1] = reached[at] && segment_matches(part, segment);
            }
        }
        reached = next;
    }
    reached.iter().skip(1).any(|reached| *reached)
}

enum Token {
    Literal(char),
    Any,
    Star,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

fn tokens(pattern: &str) -> Vec<Token> {
    let characters: Vec<char> = pattern.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        match characters[at] {
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::Any),
            '[' => {
                let negated = matches!(characters.get(at + 1), Some('!' | '^'));
                let start = at + 1 + usize::from(negated);
                // A bracket right after the opening is one of the characters.
                match (start + 1..characters.len()).find(|end| characters[*end] == ']') {
                    None => tokens.push(Token::Literal('[')),
                    Some(end) => {
                        let mut ranges = Vec::new();
                        let mut inner = start;
                        while inner < end {
                            if inner + 2 < end && characters[inner + 1] == '-' {
                                ranges.push((characters[inner], characters[inner + 2]));
                                inner += 3;
                            } else {
                                ranges.push((characters[inner], characters[inner]));
                                inner += 1;
                            }
                        }
                        tokens.push(Token::Class { negated, ranges });
                        at = end;
                    }
                }
            }
            character => tokens.push(Token::Literal(character)),
        }
        at += 1;
    }
    tokens
}

fn segment_matches(pattern: &str, segment: &str) -> bool {
    let tokens = tokens(pattern);
    let characters: Vec<char> = segment.chars().collect();
    let mut reached = vec![false; characters.len() + 1];
    reached[0] = true;
    for token in &tokens {
        let mut next = vec![false; characters.len() + 1];
        if let Token::Star = token {
            let mut any = false;
            for (at, reached) in reached.iter().enumerate() {
                any |= reached;
                next[at] = any;
            }
        } else {
            for (at, character) in characters.iter().enumerate() {
                let one = match token {
                    Token::Literal(literal) => literal == character,
                    Token::Any | Token::Star => true,
                    Token::Class { negated, ranges } => {
                        ranges.iter().any(|(low, high)| (low..=high).contains(&character)) != *negated
                    }
                };
                next[at + 1] = reached[at] && one;
            }
        }
        reached = next;
    }
    reached[characters.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_patterns() {
        for (pattern, path, expected) in [
            ("d/*.csv", "d/a.csv", true),
            ("d/*.csv", "d/e/a.csv", false),
            ("d/**/*.csv", "d/a.csv", true),
            ("d/**/*.csv", "d/e/f/a.csv", true),
            ("d/**", "d/e/f", true),
            ("d/2024-*", "d/2024-05/x.csv", true),
            ("d/part-?.csv", "d/part-1.csv", true),
            ("d/part-?.csv", "d/part-10.csv", false),
            ("d/[a-c]x", "d/bx", true),
            ("d/[!a-c]x", "d/bx", false),
            ("d/[]]x", "d/]x", true),
            ("d/[x", "d/[x", true),
            ("*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
        assert_eq!(base("a/b/c-*.csv"), "a/b");
        assert_eq!(base("*.csv"), "");
    }
}
