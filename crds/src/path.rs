//! Paths of fields, such as `spec.features[1].pca`.

use std::fmt;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Field(String),
    Index(usize),
}

/// The way from the root of a document to a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

impl Path {
    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    pub(crate) fn field(&self, name: &str) -> Path {
        self.and(Step::Field(name.to_owned()))
    }

    pub(crate) fn index(&self, index: usize) -> Path {
        self.and(Step::Index(index))
    }

    /// The path of a field below this one, given as CEL and `fieldPath` write it: `.a.b` or `a.b`, without indices.
    pub(crate) fn below(&self, fields: &str) -> Path {
        let mut path = self.clone();
        let names = fields.split('.').filter(|name| !name.is_empty());
        path.0.extend(names.map(|name| Step::Field(name.to_owned())));
        path
    }

    /// The field that holds this one.
    pub(crate) fn parent(&self) -> Path {
        let above = self.0.split_last().map(|(_, above)| above.to_vec());
        Path(above.unwrap_or_default())
    }

    /// Whether this field is the other one or holds it.
    pub(crate) fn contains(&self, other: &Path) -> bool {
        other.0.starts_with(&self.0)
    }

    fn and(&self, step: Step) -> Path {
        let mut steps = self.0.clone();
        steps.push(step);
        Path(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if depth == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_people_write_it() {
        let root = Path::default();
        assert_eq!(root.to_string(), "");
        let path = root.field("spec").field("features").index(1).below(".pca.components");
        assert_eq!(path.to_string(), "spec.features[1].pca.components");
        assert!(root.field("spec").contains(&path));
        assert!(!path.contains(&root.field("spec")));
    }
}
