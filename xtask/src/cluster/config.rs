//! The components' configuration: files of `tests/cluster/config` with the placeholders `{{name}}` filled in.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::layout::Cluster;

/// Fills in a file of `tests/cluster/config` and writes it.
pub(super) fn write(cluster: &Cluster, name: &str, values: &[(&str, &str)], to: &Path) -> Result<()> {
    let template = cluster.source("config").join(name);
    let text = fs::read_to_string(&template).with_context(|| format!("cannot read {}", template.display()))?;
    let text = render(&text, values).with_context(|| template.display().to_string())?;
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
}

/// Every placeholder needs a value, and every value a placeholder.
fn render(template: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut text = template.to_owned();
    for (name, value) in values {
        let placeholder = format!("{{{{{name}}}}}");
        if !text.contains(&placeholder) {
            bail!("no placeholder {placeholder}");
        }
        text = text.replace(&placeholder, value);
    }
    if let Some(open) = text.find("{{") {
        let rest = text[open..].lines().next().unwrap_or_default();
        bail!("no value for the placeholder at `{rest}`");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_every_occurrence() {
        let text = render("a: {{one}}\nb: { c: {{two}}, d: {{one}} }", &[("one", "1"), ("two", "2")]).unwrap();
        assert_eq!(text, "a: 1\nb: { c: 2, d: 1 }");
    }

    #[test]
    fn names_what_is_missing_on_either_side() {
        let error = render("a: {{one}}\nb: 2", &[]).unwrap_err().to_string();
        assert_eq!(error, "no value for the placeholder at `{{one}}`");
        let error = render("a: 1", &[("one", "1")]).unwrap_err().to_string();
        assert_eq!(error, "no placeholder {{one}}");
    }
}
