//! A command line of names with values, `--name value`, and flags.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use crate::Failure;

/// The command line: names to values, flags to nothing.
pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    /// Takes the arguments apart, whose names must be among the `known`.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>, known: &[&str]) -> Result<Self, Failure> {
        let mut options = BTreeMap::new();
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix("--").filter(|name| known.contains(name));
            let name =
                name.ok_or_else(|| format!("unexpected argument {argument}; known are --{}", known.join(", --")))?;
            let value = arguments.next_if(|next| !next.starts_with("--")).unwrap_or_default();
            options.insert(name.to_owned(), value);
        }
        Ok(Self(options))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn path(&self, name: &str) -> Option<&Path> {
        self.text(name).map(Path::new)
    }

    /// A path that must be there.
    pub(crate) fn given(&self, name: &str) -> Result<&Path, Failure> {
        self.path(name).ok_or_else(|| format!("--{name} is missing").into())
    }

    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        let parse = |text: &str| text.parse().map_err(|_| format!("--{name} is not a number: {text}").into());
        self.text(name).map(parse).transpose()
    }
}
