//! What a schema is made of. The schemas themselves are in `kinds`.

/// A kind of document.
#[derive(Debug)]
pub struct Kind {
    /// `kind`.
    pub name: &'static str,
    /// `apiVersion`.
    pub api: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Beside apiVersion, kind, metadata and status.
    pub fields: &'static [Field],
    /// A document that is accepted.
    pub example: &'static str,
}

/// A field of an object.
#[derive(Debug)]
pub struct Field {
    /// As it is written.
    pub name: &'static str,
    /// Whether it must be there.
    pub need: Need,
    /// What its value may be.
    pub shape: Shape,
    /// What it does.
    pub about: &'static str,
}

/// Whether a field must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It must.
    Required,
    /// Without it there is none.
    Optional,
    /// Without it this holds.
    Default(&'static str),
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Text of a format.
    Text(&'static Format),
    /// A whole number.
    Whole {
        /// Or more.
        least: u64,
        /// Or less.
        most: u64,
    },
    /// A port's number, or its name.
    PortOrName,
    /// Bytes: a whole number, or text as in 512mb.
    Bytes,
    /// `true` or `false`.
    Bool,
    /// One of these words.
    OneOf {
        /// That are accepted.
        now: &'static [&'static str],
        /// That the API has and this version lacks.
        later: &'static [&'static str],
    },
    /// A list.
    List {
        /// Of these.
        of: &'static Shape,
        /// At least so many.
        least: usize,
    },
    /// A map with these fields.
    Object(&'static [Field]),
    /// A map with these fields and any others.
    Open(&'static [Field]),
    /// A map of names to texts.
    Texts,
    /// Accepted as it is.
    Anything,
    /// The API has it and this version lacks it; what to do instead.
    NotYet(&'static str),
}

/// A format of text.
#[derive(Debug)]
pub struct Format {
    /// For errors: `expected {expect}`.
    pub expect: &'static str,
    /// Whether the text is one.
    pub accepts: fn(&str) -> bool,
}

impl Kind {
    /// All fields of a document.
    pub(crate) fn all_fields(&self) -> impl Iterator<Item = &'static Field> {
        super::kinds::COMMON.iter().chain(self.fields)
    }
}

impl Shape {
    /// For `explain`: `[]Object`, `string`.
    #[must_use]
    pub fn type_name(&self) -> String {
        match self {
            Self::Text(_) | Self::OneOf { .. } => "string".into(),
            Self::Whole { .. } => "integer".into(),
            Self::PortOrName | Self::Bytes => "integer or string".into(),
            Self::Bool => "boolean".into(),
            Self::List { of, .. } => format!("[]{}", of.type_name()),
            Self::Object(_) | Self::Open(_) => "object".into(),
            Self::Texts => "map of strings".into(),
            Self::Anything => "any".into(),
            Self::NotYet(_) => "not supported yet".into(),
        }
    }

    /// For errors and `explain`: what is expected.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Text(format) => format.expect.into(),
            Self::Whole { least, most: u64::MAX } => format!("a whole number from {least}"),
            Self::Whole { least, most } => format!("a whole number from {least} to {most}"),
            Self::PortOrName => "a port from 1 to 65535 or the name of one".into(),
            Self::Bytes => "bytes, as in 100000, 512mb or 4gb".into(),
            Self::Bool => "true or false".into(),
            Self::OneOf { now, .. } => alternatives(now),
            Self::List { of, least: 0 } => format!("a list of {}", of.plural()),
            Self::List { of, .. } => format!("a list of {}, at least one", of.plural()),
            Self::Object(fields) | Self::Open(fields) => format!("a map with {}", names(fields)),
            Self::Texts => "a map of names to texts".into(),
            Self::Anything => "anything".into(),
            Self::NotYet(_) => "nothing".into(),
        }
    }

    fn plural(&self) -> String {
        match self {
            Self::Object(fields) => format!("maps with {}", names(fields)),
            other => format!("values, each {}", other.expected()),
        }
    }

    /// The fields of the object, or of those in the list.
    #[must_use]
    pub fn fields(&self) -> &'static [Field] {
        match self {
            Self::Object(fields) | Self::Open(fields) => fields,
            Self::List { of, .. } => of.fields(),
            _ => &[],
        }
    }
}

/// Those that are supported, in order.
fn names(fields: &[Field]) -> String {
    supported(fields.iter()).collect::<Vec<_>>().join(", ")
}

/// Names of the fields that are supported.
pub(crate) fn supported<'a>(
    fields: impl Iterator<Item = &'a Field>,
) -> impl Iterator<Item = &'static str> {
    fields.filter(|f| !matches!(f.shape, Shape::NotYet(_))).map(|f| f.name)
}

/// `a, b or c`.
pub(crate) fn alternatives(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).into(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// A field that must be there.
pub(crate) const fn must(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { name, need: Need::Required, shape, about }
}

/// A field that may be there.
pub(crate) const fn may(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { name, need: Need::Optional, shape, about }
}

/// A field with a default.
pub(crate) const fn or(
    name: &'static str,
    default: &'static str,
    shape: Shape,
    about: &'static str,
) -> Field {
    Field { name, need: Need::Default(default), shape, about }
}

/// A field that the API has and this version lacks.
pub(crate) const fn not_yet(name: &'static str, instead: &'static str) -> Field {
    Field { name, need: Need::Optional, shape: Shape::NotYet(instead), about: instead }
}

/// One word that is accepted.
pub(crate) const fn only(now: &'static [&'static str]) -> Shape {
    Shape::OneOf { now, later: &[] }
}

/// The number of a port.
pub(crate) const PORT: Shape = Shape::Whole { least: 1, most: 65_535 };
