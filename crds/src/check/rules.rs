//! The CEL rules, evaluated as an API server does.
//!
//! A rule says little of use about a field that is missing or of the wrong type, so a rule is passed over when one of the
//! fields it looks at is already reported.

use std::sync::LazyLock;

use kube_cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use regex::Regex;
use serde_json::{Value, json};

use super::{Finding, explain};
use crate::path::{Path, Step};
use crate::violation::Constraint;

/// Evaluates every rule of the schema and adds what fails.
pub(crate) fn check(schema: &Value, document: &Value, findings: &mut Vec<Finding>) {
    let spoilt: Vec<Path> = findings
        .iter()
        .filter(|finding| finding.spoils())
        .flat_map(|finding| [Some(finding.path.clone()), finding.meant.clone()])
        .flatten()
        .collect();
    let validator = Validator::new();
    for rule in compiled(schema) {
        for (path, value) in instances(document, &rule.path) {
            let blocked = rule.reads.iter().any(|read| {
                let read = path.below(read);
                spoilt.iter().any(|spoilt| read.contains(spoilt) || spoilt.contains(&read))
            });
            if blocked {
                continue;
            }
            let Err(errors) = validator.validate_compiled(&rule.program, value, None) else {
                continue;
            };
            findings.extend(errors.into_iter().map(|error| Finding {
                path: path.below(&rule.field),
                meant: None,
                constraint: Constraint::Rule(rule.text.clone()),
                message: match error.kind {
                    ErrorKind::ValidationFailure => with_found(&rule.field, value, error.message),
                    _ => format!("the rule `{}` could not be evaluated: {}", rule.text, error.message),
                },
            }));
        }
    }
}

/// The rule's message, after the value that broke it when that is a single one.
fn with_found(field: &str, value: &Value, message: String) -> String {
    let names = field.split('.').filter(|name| !name.is_empty());
    let found = names.fold(value, |value, name| &value[name]);
    match found {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => format!("found {}; {message}", explain::shown(found)),
        Value::Null | Value::Array(_) | Value::Object(_) => message,
    }
}

/// One rule and the place it belongs to.
struct Rule {
    /// Path of the node; list items are index 0.
    path: Path,
    /// Field below the node that a failure is reported at.
    field: String,
    /// The expression.
    text: String,
    /// Fields below the node that the expression looks at.
    reads: Vec<String>,
    program: CompiledSchema,
}

/// The rules of the document's schema, compiled once.
fn compiled(schema: &Value) -> &'static [Rule] {
    static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
        let mut rules = Vec::new();
        collect(super::envelope::schema(), &Path::default(), &mut rules);
        rules
    });
    debug_assert!(std::ptr::eq(schema, super::envelope::schema()));
    &RULES
}

fn collect(schema: &Value, path: &Path, rules: &mut Vec<Rule>) {
    let own = schema["x-kubernetes-validations"].as_array();
    for rule in own.into_iter().flatten() {
        // One rule alone, without those of the fields below it: they are evaluated at their own places.
        let mut alone = silent(schema);
        alone["x-kubernetes-validations"] = json!([rule]);
        let text = rule["rule"].as_str().unwrap_or_default();
        let reads = reads(text);
        let field = match (rule["fieldPath"].as_str(), reads.as_slice()) {
            (Some(field), _) => field,
            (None, [only]) => only,
            (None, _) => "",
        };
        rules.push(Rule {
            path: path.clone(),
            field: field.to_owned(),
            text: text.to_owned(),
            reads,
            program: compile_schema(&alone),
        });
    }
    let properties = schema["properties"].as_object();
    for (name, schema) in properties.into_iter().flatten() {
        collect(schema, &path.field(name), rules);
    }
    if schema["items"].is_object() {
        collect(&schema["items"], &path.index(0), rules);
    }
}

/// The schema without any rule.
fn silent(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| key.as_str() != "x-kubernetes-validations")
            .map(|(key, value)| (key.clone(), silent(value)))
            .collect(),
        other => other.clone(),
    }
}

/// The fields of `self` that an expression names; one empty name when it uses `self` as a whole.
fn reads(rule: &str) -> Vec<String> {
    static FIELD: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\bself((?:\.[A-Za-z_][A-Za-z0-9_]*)*)(\()?").ok());
    let Some(field) = FIELD.as_ref() else {
        return vec![String::new()];
    };
    let found = field.captures_iter(rule).map(|found| {
        let fields = found.get(1).map_or("", |fields| fields.as_str());
        match (found.get(2), fields.rsplit_once('.')) {
            // The last name before a parenthesis is a function.
            (Some(_), Some((fields, _))) => fields.to_owned(),
            _ => fields.to_owned(),
        }
    });
    found.collect()
}

/// The values that stand at a path, with every index of a list.
fn instances<'a>(document: &'a Value, path: &Path) -> Vec<(Path, &'a Value)> {
    let mut found = vec![(Path::default(), document)];
    for step in path.steps() {
        found = found
            .into_iter()
            .flat_map(|(path, value)| match step {
                Step::Field(name) => {
                    value.get(name).map(|value| (path.field(name), value)).into_iter().collect::<Vec<_>>()
                }
                Step::Index(_) => {
                    let items = value.as_array().into_iter().flatten().enumerate();
                    items.map(|(index, item)| (path.index(index), item)).collect()
                }
            })
            .collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fields::property;

    #[test]
    fn every_rule_compiles_and_names_fields_that_exist() {
        let schema = super::super::envelope::schema();
        let rules = compiled(schema);
        assert!(rules.len() > 10);
        for rule in rules {
            assert!(!rule.program.has_errors(), "{}", rule.text);
            let mut node = schema;
            for step in rule.path.steps() {
                node = match step {
                    Step::Field(name) => property(node, name).unwrap(),
                    Step::Index(_) => &node["items"],
                };
            }
            for fields in rule.reads.iter().chain([&rule.field]) {
                let mut node = node;
                for name in fields.split('.').filter(|name| !name.is_empty()) {
                    node = property(node, name).unwrap_or_else(|| panic!("{}: {fields}", rule.text));
                }
            }
        }
    }

    #[test]
    fn finds_the_fields_an_expression_reads() {
        assert_eq!(reads("!self.contains('://')"), [""]);
        assert_eq!(reads("size(self.metadata.name) <= 40"), [".metadata.name"]);
        assert_eq!(
            reads("!self.uri.startsWith('http://') || (has(self.store) && self.store.allowHttp)"),
            [".uri", ".store", ".store.allowHttp"]
        );
    }
}
