//! What an expression stands for, as far as one cell shows.

/// What a name or an expression is known to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A module or something in it, by its full name: `os`, `os.system`, `builtins.open`.
    Path(String),
    /// A constant text.
    Text(String),
    /// The dictionary of a module.
    Namespace(String),
    /// The dictionary of the cell's own names.
    Globals,
    /// Something of the cell's own.
    Own,
}

impl Value {
    /// A text, unless it is too long to be anybody's name: repeated doubling must not fill memory.
    pub(super) fn text(text: String) -> Option<Self> {
        (text.len() <= LONGEST).then_some(Self::Text(text))
    }

    /// The member of this value called `name`, as an attribute or, in a module's dictionary, as an item.
    pub(super) fn member(&self, name: &str) -> Option<Self> {
        match (self, name) {
            (Self::Path(_), "__builtins__") => Some(Self::Path(BUILTINS.to_owned())),
            (Self::Path(path), "__dict__") => Some(Self::Namespace(path.clone())),
            (Self::Path(path), _) if path.len() + name.len() < LONGEST => {
                Some(Self::Path(format!("{path}.{name}")))
            }
            _ => None,
        }
    }

    /// Whether its items are looked up by name.
    pub(super) fn is_dictionary(&self) -> bool {
        match self {
            Self::Namespace(_) | Self::Globals => true,
            Self::Path(path) => path == BUILTINS || path == "sys.modules",
            Self::Text(_) | Self::Own => false,
        }
    }

    /// The item of this value under `key`. The built-ins are a module in one place and a dictionary in another.
    pub(super) fn item(&self, key: &str) -> Option<Self> {
        match self {
            Self::Namespace(path) => Self::Path(path.clone()).member(key),
            Self::Path(path) if path == BUILTINS => self.member(key),
            Self::Path(path) if path == "sys.modules" => Some(Self::Path(key.to_owned())),
            _ => None,
        }
    }
}

/// The module of built-ins.
pub(super) const BUILTINS: &str = "builtins";

const LONGEST: usize = 1024;
