//! Which columns of a table hold the vector, the id and the label, and whether all objects agree on that.

use coterie_algorithms::members::Members;
use coterie_crds::resolved::{Columns, InvalidRows, Sets};

use crate::{DataError, limits, sets};

/// What a column holds, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Integers that fit `i64` whatever they are.
    Integer,
    /// Unsigned 64-bit integers, which may not fit.
    Unsigned,
    /// Real numbers.
    Real,
    /// Strings.
    Text,
    /// Truth values.
    Boolean,
    /// Lists of numbers, with their width when the type fixes it.
    List(Option<usize>),
    /// A CSV column whose first cells are all empty.
    Unknown,
    /// A CSV column whose first cells are partly numbers and partly text.
    Mixed,
    /// Anything else.
    Other,
}

/// How ids are handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdKind {
    Int,
    Text,
}

impl Kind {
    fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Unsigned | Self::Real)
    }

    fn id(self) -> Option<IdKind> {
        match self {
            Self::Integer => Some(IdKind::Int),
            Self::Unsigned | Self::Text => Some(IdKind::Text),
            Self::Real | Self::Boolean | Self::List(_) | Self::Unknown | Self::Mixed | Self::Other => None,
        }
    }

    fn is_label(self) -> bool {
        match self {
            Self::Integer | Self::Unsigned | Self::Real | Self::Text | Self::Boolean | Self::Unknown | Self::Mixed => {
                true
            }
            Self::List(_) | Self::Other => false,
        }
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// What it holds lists of, if they may be sets.
    pub(crate) members: Option<Members>,
    /// The type in the format's own words, for messages.
    pub(crate) type_name: String,
}

/// The columns of one object that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The list column with the vector, or with the set.
    pub(crate) vector: Option<String>,
    /// The columns that form the vector, in order.
    pub(crate) features: Vec<String>,
    /// What the members of the sets are; `None` where rows are no lists of members.
    pub(crate) members: Option<Members>,
    /// The dimension, unless only the rows tell.
    pub(crate) width: Option<usize>,
    /// How ids are handed on.
    pub(crate) id: Option<IdKind>,
}

/// What the readers need to know of a table, the same for all objects.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) vector: Option<String>,
    pub(crate) features: Vec<String>,
    pub(crate) dimension: usize,
    pub(crate) id: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) invalid: InvalidRows,
    /// How rows are sets, where they are; the lists of [`Sets::Lists`] are in `vector`.
    pub(crate) sets: Option<Sets>,
}

impl Layout {
    /// The name of a feature for messages.
    pub(crate) fn feature_name(&self, feature: usize) -> String {
        match (&self.vector, self.features.get(feature)) {
            (Some(vector), _) => format!("{vector}[{feature}]"),
            (None, Some(name)) => name.clone(),
            (None, None) => feature.to_string(),
        }
    }

    /// The names of all columns that must be read, each once.
    pub(crate) fn wanted(&self) -> Vec<&str> {
        let all = self.vector.iter().chain(&self.features).chain(&self.id).chain(&self.label);
        let mut names: Vec<&str> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for name in all {
            if seen.insert(name.as_str()) {
                names.push(name);
            }
        }
        names
    }
}

pub(crate) fn refuse(object: &str, problem: String, remedy: impl Into<String>) -> DataError {
    DataError::Schema { object: object.to_owned(), problem, remedy: remedy.into() }
}

/// The table's columns in words, not too many.
fn listing(table: &[Column]) -> String {
    const SHOWN: usize = 12;
    let names: Vec<String> =
        table.iter().take(SHOWN).map(|column| format!("{} ({})", column.name, column.type_name)).collect();
    let more = table.len().saturating_sub(SHOWN);
    if more > 0 { format!("{} and {more} more", names.join(", ")) } else { names.join(", ") }
}

pub(crate) fn find<'a>(object: &str, table: &'a [Column], name: &str, setting: &str) -> Result<&'a Column, DataError> {
    let mut found = table.iter().filter(|column| column.name == name);
    match (found.next(), found.next()) {
        (Some(column), None) => Ok(column),
        (Some(_), Some(_)) => Err(refuse(
            object,
            format!("there are several columns named {name:?}"),
            "give every column a name of its own",
        )),
        (None, _) => Err(refuse(
            object,
            format!("there is no column {name:?}, which {setting} names; the columns are {}", listing(table)),
            format!("correct {setting}"),
        )),
    }
}

/// Chooses the columns of one table.
pub(crate) fn select(object: &str, table: &[Column], columns: &Columns) -> Result<Selection, DataError> {
    if table.len() > limits::COLUMNS {
        return Err(refuse(
            object,
            format!("it has {} columns, more than {}", table.len(), limits::COLUMNS),
            "put the features into one list column",
        ));
    }
    let id = match &columns.id {
        None => None,
        Some(name) => {
            let column = find(object, table, name, "source.columns.id")?;
            Some(column.kind.id().ok_or_else(|| {
                refuse(
                    object,
                    format!("the id column {name:?} holds {}, but ids are integers or text", column.type_name),
                    "name another column in source.columns.id, or leave it unset to number the rows",
                )
            })?)
        }
    };
    if let Some(name) = &columns.label {
        let column = find(object, table, name, "source.columns.label")?;
        if !column.kind.is_label() {
            return Err(refuse(
                object,
                format!("the label column {name:?} holds {}, but labels are numbers or text", column.type_name),
                "name another column in source.columns.label",
            ));
        }
    }
    if let Some(Sets::Lists { column, size }) = &columns.sets {
        let members = Some(sets::members(object, table, column)?);
        return Ok(Selection { vector: Some(column.clone()), features: Vec::new(), members, width: Some(*size), id });
    }
    if let Some(name) = &columns.vector {
        let column = find(object, table, name, "source.columns.vector")?;
        let Kind::List(width) = column.kind else {
            return Err(refuse(
                object,
                format!("column {name:?} holds {}, but source.columns.vector needs lists of numbers", column.type_name),
                "name a list column there, or name the numeric columns in source.columns.features",
            ));
        };
        check_width(object, name, width)?;
        return Ok(Selection { vector: Some(name.clone()), features: Vec::new(), members: None, width, id });
    }
    if !columns.features.is_empty() {
        for name in &columns.features {
            let column = find(object, table, name, "source.columns.features")?;
            // A few bad cells are reported with their line when they are read.
            if !column.kind.is_number() && !matches!(column.kind, Kind::Unknown | Kind::Mixed) {
                return Err(refuse(
                    object,
                    format!("column {name:?} holds {}, but features are numbers", column.type_name),
                    "leave it out of source.columns.features, or convert it to numbers",
                ));
            }
        }
        let width = columns.features.len();
        check_width(object, "features", Some(width))?;
        return Ok(Selection {
            vector: None,
            features: columns.features.clone(),
            members: None,
            width: Some(width),
            id,
        });
    }
    by_default(object, table, columns, id)
}

/// Every numeric column other than id and label; or, when there is none, the only list column.
fn by_default(object: &str, table: &[Column], columns: &Columns, id: Option<IdKind>) -> Result<Selection, DataError> {
    let free =
        |column: &&Column| Some(&column.name) != columns.id.as_ref() && Some(&column.name) != columns.label.as_ref();
    // Leaving such a column out without a word would cluster something else than the user thinks.
    if let Some(column) = table.iter().filter(free).find(|column| column.kind == Kind::Mixed) {
        return Err(refuse(
            object,
            format!("column {:?} holds numbers and text, so it is unclear whether it is a feature", column.name),
            "correct the text (missing values are empty cells), or name the features in source.columns.features",
        ));
    }
    let features: Vec<String> =
        table.iter().filter(free).filter(|column| column.kind.is_number()).map(|column| column.name.clone()).collect();
    if !features.is_empty() {
        for name in &features {
            find(object, table, name, "source.columns")?;
            // What table libraries write for a row's number is not a feature that anybody means.
            if name.is_empty() || name.starts_with("__index_level_") {
                return Err(refuse(
                    object,
                    format!(
                        "the numeric column {name:?} looks like a row index, and all numeric columns would be features"
                    ),
                    "name the features in source.columns.features, name it as source.columns.id, or write the data without its index",
                ));
            }
        }
        check_width(object, "features", Some(features.len()))?;
        return Ok(Selection { vector: None, members: None, width: Some(features.len()), features, id });
    }
    let mut lists = table.iter().filter(|column| matches!(column.kind, Kind::List(_)));
    match (lists.next(), lists.next()) {
        (Some(Column { name, kind: Kind::List(width), .. }), None) => {
            check_width(object, name, *width)?;
            Ok(Selection { vector: Some(name.clone()), features, members: None, width: *width, id })
        }
        _ => Err(refuse(
            object,
            format!("no numeric column was found; the columns are {}", listing(table)),
            "name the list column in source.columns.vector, or the numeric columns in source.columns.features",
        )),
    }
}

/// Refuses widths that no vector has.
pub(crate) fn check_width(object: &str, name: &str, width: Option<usize>) -> Result<(), DataError> {
    match width {
        Some(0) => Err(refuse(
            object,
            format!("the vectors in {name:?} have no elements"),
            "write vectors of at least one number",
        )),
        Some(width) if width > limits::DIMENSION => Err(DataError::Limit {
            object: object.to_owned(),
            place: format!("column {name:?}"),
            problem: format!("the vectors have {width} elements, more than {}", limits::DIMENSION),
            remedy: "reduce the dimension before clustering".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Checks that a later object fits the first one.
pub(crate) fn agree(first: (&str, &Selection), other: (&str, &Selection)) -> Result<(), DataError> {
    const REMEDY: &str = "write all objects with the same columns, or narrow source.uri with a glob";
    let (a, one) = first;
    let (b, two) = other;
    if one.vector != two.vector {
        let name = |selection: &Selection| {
            selection
                .vector
                .clone()
                .map_or_else(|| "numeric columns".to_owned(), |name| format!("list column {name:?}"))
        };
        return Err(refuse(
            b,
            format!("its vectors are in {}, but those of {a} are in {}", name(two), name(one)),
            REMEDY,
        ));
    }
    if one.features != two.features {
        let missing: Vec<&String> = one.features.iter().filter(|name| !two.features.contains(name)).take(5).collect();
        let added: Vec<&String> = two.features.iter().filter(|name| !one.features.contains(name)).take(5).collect();
        // Columns are found by name, so another order is no difference.
        if !missing.is_empty() || !added.is_empty() || one.features.len() != two.features.len() {
            return Err(refuse(
                b,
                format!("its numeric columns differ from those of {a}: missing {missing:?}, added {added:?}"),
                REMEDY,
            ));
        }
    }
    if let (Some(these), Some(those)) = (one.members, two.members)
        && these != those
    {
        let (these, those) = (sets::words(these), sets::words(those));
        return Err(refuse(
            b,
            format!("the members of its sets are {those}, but those of {a} are {these}"),
            "write the members of all objects as integers, or all as text",
        ));
    }
    if let (Some(d), Some(e)) = (one.width, two.width)
        && d != e
    {
        return Err(refuse(b, format!("its vectors have {e} elements, but those of {a} have {d}"), REMEDY));
    }
    if one.id != two.id {
        return Err(refuse(b, format!("its id column is of another kind (integers or text) than that of {a}"), REMEDY));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: Kind) -> Column {
        Column { name: name.into(), kind, members: None, type_name: format!("{kind:?}") }
    }

    fn table() -> Vec<Column> {
        vec![
            column("id", Kind::Integer),
            column("name", Kind::Text),
            column("a", Kind::Real),
            column("b", Kind::Integer),
            column("v", Kind::List(Some(3))),
            column("class", Kind::Integer),
        ]
    }

    #[test]
    fn defaults_take_the_numeric_columns() {
        let columns = Columns { id: Some("id".into()), label: Some("class".into()), ..Columns::default() };
        let selection = select("o", &table(), &columns).unwrap();
        assert_eq!(
            selection,
            Selection {
                vector: None,
                features: vec!["a".into(), "b".into()],
                members: None,
                width: Some(2),
                id: Some(IdKind::Int)
            }
        );
        let lists = vec![column("id", Kind::Integer), column("v", Kind::List(None))];
        let selection = select("o", &lists, &Columns { id: Some("id".into()), ..Columns::default() }).unwrap();
        assert_eq!((selection.vector.as_deref(), selection.width), (Some("v"), None));
    }

    #[test]
    fn wrong_columns_are_named_with_the_remedy() {
        let with = |change: fn(&mut Columns)| {
            let mut columns = Columns::default();
            change(&mut columns);
            let error = select("s3://b/o", &table(), &columns).unwrap_err();
            assert_eq!(error.class(), crate::ErrorClass::Spec);
            error.to_string()
        };
        let missing = with(|columns| columns.vector = Some("embedding".into()));
        assert!(
            missing.contains("s3://b/o: there is no column \"embedding\"")
                && missing.contains("v (List(Some(3)))")
                && missing.contains("correct source.columns.vector"),
            "{missing}"
        );
        assert!(with(|columns| columns.vector = Some("a".into())).contains("needs lists of numbers"));
        assert!(
            with(|columns| columns.features = vec!["a".into(), "name".into()]).contains("column \"name\" holds Text")
        );
        assert!(with(|columns| columns.id = Some("a".into())).contains("ids are integers or text"));
        assert!(with(|columns| columns.label = Some("v".into())).contains("labels are numbers or text"));
        let text = vec![column("name", Kind::Text)];
        assert!(select("o", &text, &Columns::default()).unwrap_err().to_string().contains("no numeric column"));
        let wide = vec![column("v", Kind::List(Some(70_000)))];
        assert!(select("o", &wide, &Columns::default()).unwrap_err().to_string().contains("more than 65536"));
    }

    #[test]
    fn disagreement_names_both_objects() {
        let one = Selection { vector: Some("v".into()), features: vec![], members: None, width: Some(3), id: None };
        let two = Selection { width: Some(4), ..one.clone() };
        let error = agree(("first", &one), ("second", &two)).unwrap_err().to_string();
        assert!(error.contains("second") && error.contains("first") && error.contains("4 elements"), "{error}");
        let a =
            Selection { vector: None, features: vec!["x".into(), "y".into()], members: None, width: Some(2), id: None };
        let b = Selection { features: vec!["y".into(), "x".into()], ..a.clone() };
        agree(("first", &a), ("second", &b)).unwrap();
        let c = Selection { features: vec!["y".into(), "z".into()], ..a.clone() };
        assert!(
            agree(("first", &a), ("second", &c)).unwrap_err().to_string().contains("missing [\"x\"], added [\"z\"]")
        );
    }
}
