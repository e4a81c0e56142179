//! No manifest, however mangled, makes the reader or the check panic, and what they accept stays acceptable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use coterie_crds::{parse, resolve, validate};
use proptest::prelude::*;

/// Manifests to start from: the full one and the shortest one, as text.
fn manifests() -> [String; 2] {
    let table: serde_json::Value = serde_yaml::from_str(include_str!("rules.yaml")).unwrap();
    ["full", "base"].map(|name| serde_yaml::to_string(&table[name]).unwrap())
}

#[derive(Clone, Debug)]
enum Mutation {
    /// Replaces a character.
    Character(prop::sample::Index, char),
    /// Removes a stretch.
    Cut(prop::sample::Index, usize),
    /// Puts in a text.
    Insert(prop::sample::Index, String),
    /// Replaces what follows the colon of a line.
    Value(prop::sample::Index, String),
    /// Removes, doubles or indents a line.
    Line(prop::sample::Index, u8),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let value = prop_oneof![
        Just("null"),
        Just("{}"),
        Just("[]"),
        Just("[[[]]]"),
        Just("-1"),
        Just("1e400"),
        Just("99999999999999999999"),
        Just(".inf"),
        Just("''"),
        Just("\"\\0\""),
        Just("&a [*a]"),
        Just("*b"),
        Just("!!binary aGk="),
        Just("!x y"),
        Just("{a: {b: {c: 1}}}"),
        Just("0x7fffffffffffffff"),
        Just("-0.0"),
        Just("|\n  text"),
        Just("<<: 1"),
        Just("s3://\u{1F9E9}/"),
        Just("1_000"),
        Just("y"),
    ]
    .prop_map(str::to_owned);
    let place = any::<prop::sample::Index>;
    prop_oneof![
        (place(), any::<char>()).prop_map(|(at, with)| Mutation::Character(at, with)),
        (place(), 1usize..40).prop_map(|(at, length)| Mutation::Cut(at, length)),
        (place(), "[\\PC\\n\\t:{}\\[\\]&*!|>#-]{0,12}").prop_map(|(at, text)| Mutation::Insert(at, text)),
        (place(), value).prop_map(|(at, text)| Mutation::Value(at, text)),
        (place(), any::<u8>()).prop_map(|(at, how)| Mutation::Line(at, how)),
    ]
}

fn apply(text: &str, mutation: &Mutation) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if characters.is_empty() || lines.is_empty() {
        return text.to_owned();
    }
    match mutation {
        Mutation::Character(at, with) => {
            let at = at.index(characters.len());
            characters[at] = *with;
        }
        Mutation::Cut(at, length) => {
            let at = at.index(characters.len());
            characters.drain(at..(at + length).min(characters.len()));
        }
        Mutation::Insert(at, text) => {
            let at = at.index(characters.len());
            characters.splice(at..at, text.chars());
        }
        Mutation::Value(at, value) => {
            let at = at.index(lines.len());
            let key = lines[at].split_once(':').map_or("", |(key, _)| key).to_owned();
            lines[at] = format!("{key}: {value}");
            return lines.join("\n");
        }
        Mutation::Line(at, how) => {
            let at = at.index(lines.len());
            match how % 3 {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[at].clone()),
                _ => lines[at].insert_str(0, "  "),
            }
            return lines.join("\n");
        }
    }
    characters.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mangled_manifests_never_panic(which in 0usize..2, mutations in prop::collection::vec(mutation(), 1..6)) {
        let text = mutations.iter().fold(manifests()[which].clone(), |text, mutation| apply(&text, mutation));
        let parsed = parse(&text);
        match validate(&text) {
            Ok(job) => {
                // What the check accepts can be read, and reads as the same job.
                let parsed = parsed.map_err(|error| TestCaseError::fail(error.to_string()))?;
                prop_assert_eq!(resolve(&parsed), Ok(job));
            }
            Err(violations) => {
                prop_assert!(!violations.is_empty());
                for violation in &violations {
                    prop_assert!(!violation.message.is_empty());
                    prop_assert!(!violation.to_string().contains("could not be evaluated"), "{}", violation);
                    prop_assert!(!violation.to_string().contains("cannot be read"), "{}", violation);
                }
                if let Ok(parsed) = parsed {
                    prop_assert!(resolve(&parsed).is_err(), "{}", text);
                }
            }
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = (parse(&text), validate(&text));
    }
}

/// Small texts that mean a lot of work must end quickly and without running out of stack.
#[test]
fn deep_and_swollen_documents_are_refused() {
    let bomb: String = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
        let below = level - 1;
        text + &format!("a{level}: &a{level} [*a{below}, *a{below}, *a{below}, *a{below}]\n")
    });
    let nested = |open: &str, times: usize| format!("spec: {}", open.repeat(times));
    let indented: String = (0..5000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    for text in
        [bomb, nested("[", 100_000), nested("{a: ", 100_000), nested("- ", 100_000), nested("? ", 100_000), indented]
    {
        let violations = validate(&text).unwrap_err();
        assert!(parse(&text).is_err());
        assert_eq!(violations.len(), 1, "{violations:?}");
        assert!(violations[0].to_string().len() < 300, "{}", violations[0]);
    }
}
