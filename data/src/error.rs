//! A run must end with one sentence that says what is wrong, where, and what to do about it, and with an exit
//! code that tells a supervisor whether trying again can help. Both are decided here, once.

use std::fmt;

/// What kind of failure it is, and so what a supervisor should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The manifest asks for something that cannot be: wait for a change of the spec.
    Spec = 64,
    /// The data cannot be used: wait for a change of the data or the spec.
    Data = 65,
    /// The store refuses access: wait for other credentials or rights.
    Denied = 66,
    /// It may work the next time: retry with backoff.
    Transient = 75,
}

impl ErrorClass {
    /// The exit code of a process that ends with such an error.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        self as u8
    }

    /// The class's name, as used for metric labels and reasons.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Spec => "Spec",
            Self::Data => "Data",
            Self::Denied => "Denied",
            Self::Transient => "Transient",
        }
    }
}

/// The innermost reason of a failure, as short as it can be said; never holds credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause(pub String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

/// Everything that can go wrong between a URI and the blocks of rows behind it.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The URI or the connection settings cannot be used as they are.
    #[error("{uri}: {problem}; {remedy}")]
    Settings {
        /// The URI, without secrets.
        uri: String,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The objects do not have the columns that the manifest names, or disagree with one another.
    #[error("{object}: {problem}; {remedy}")]
    Schema {
        /// URI of the object.
        object: String,
        /// What was found and what was expected.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// There is nothing to read: no object, or no row in any of them.
    #[error("{uri}: {problem}; {remedy}")]
    Empty {
        /// The source's URI, without secrets.
        uri: String,
        /// What was looked for.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// An object is damaged, or is not what its name says.
    #[error("{object}, {place}: {problem}; {remedy}")]
    Corrupt {
        /// URI of the object.
        object: String,
        /// Where in the object.
        place: String,
        /// What was found and what was expected.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// An object is larger in some respect than this program agrees to hold.
    #[error("{object}, {place}: {problem}; {remedy}")]
    Limit {
        /// URI of the object.
        object: String,
        /// Where in the object.
        place: String,
        /// What exceeds which limit.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// A row cannot be clustered: NaN, an infinity, a null, a number too large, or a wrong width.
    #[error("{object}, {place}, column {column:?}: {problem}; {remedy}")]
    Row {
        /// URI of the object.
        object: String,
        /// Which row.
        place: String,
        /// Which column.
        column: String,
        /// What was found.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// Something is there already that must not be overwritten.
    #[error("{uri}: {problem}; {remedy}")]
    Exists {
        /// URI of what exists.
        uri: String,
        /// What is there.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// The store knows who we are, or wants to, and says no.
    #[error("{uri}: access denied while {action}; {remedy}")]
    Denied {
        /// URI of the object or prefix.
        uri: String,
        /// What was attempted, as in "listing objects".
        action: String,
        /// What to do.
        remedy: String,
        /// What the store said.
        #[source]
        source: Cause,
    },
    /// An object was replaced between planning and reading.
    #[error(
        "{object}: the object changed while it was being read; run again to use the new contents, and write new data under new names"
    )]
    Changed {
        /// URI of the object.
        object: String,
    },
    /// The store cannot be reached or failed to answer, after retries.
    #[error("{uri}: the store failed while {action}; {remedy}")]
    Unavailable {
        /// URI of the object or prefix.
        uri: String,
        /// What was attempted, as in "reading bytes 0..8 of the object".
        action: String,
        /// What to do.
        remedy: String,
        /// The innermost reason.
        #[source]
        source: Cause,
    },
}

impl DataError {
    /// The class that decides exit code and retry.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Settings { .. } | Self::Schema { .. } | Self::Exists { .. } => ErrorClass::Spec,
            Self::Empty { .. } | Self::Corrupt { .. } | Self::Limit { .. } | Self::Row { .. } => ErrorClass::Data,
            Self::Denied { .. } => ErrorClass::Denied,
            Self::Changed { .. } | Self::Unavailable { .. } => ErrorClass::Transient,
        }
    }
}
