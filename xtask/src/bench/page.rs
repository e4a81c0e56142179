//! The generated part of a page, between two comments.

use anyhow::{Result, bail};

/// Puts `content` between the markers of `name` in a page.
///
/// # Errors
/// When the page does not have these markers, once each and in order.
pub(crate) fn replace(page: &str, name: &str, content: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let parts = page.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    match parts {
        Some((before, after)) if !after.contains(&begin) => Ok(format!("{before}{begin}{content}{end}{after}")),
        _ => bail!("the page does not have the lines `{}` and `{end}` once each", begin.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n";
        let replaced = replace(page, "x", "new\n").unwrap();
        assert_eq!(replaced, "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n");
        assert_eq!(replace(&replaced, "x", "new\n").unwrap(), replaced);
        assert!(replace(page, "y", "new\n").is_err());
        assert!(replace("<!-- x: end -->\n<!-- x: begin -->\n", "x", "").is_err());
    }
}
