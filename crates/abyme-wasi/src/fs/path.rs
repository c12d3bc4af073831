//! The text of guest paths: split into steps, and refused where no tree could have such a path.

use super::errno::Errno;

/// The longest path, in bytes.
pub(crate) const MAX_PATH: usize = 4096;
/// The longest name of a directory entry, in bytes.
pub(crate) const MAX_NAME: usize = 255;

/// A path as its steps.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GuestPath<'a> {
    /// Whether it starts at the root.
    pub(super) absolute: bool,
    /// The steps, without the empty ones of repeated slashes.
    pub(super) steps: Vec<Step<'a>>,
    /// Whether it ends in a slash, and so can only mean a directory.
    pub(super) directory: bool,
}

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// `.`
    Here,
    /// `..`
    Up,
    /// Into an entry of this name.
    Down(&'a str),
}

impl<'a> GuestPath<'a> {
    /// Splits `path` into steps.
    pub(super) fn parse(path: &'a str) -> Result<Self, Errno> {
        if path.is_empty() {
            return Err(Errno::NotFound);
        }
        if path.len() > MAX_PATH {
            return Err(Errno::NameTooLong);
        }
        if path.contains('\0') {
            return Err(Errno::Invalid);
        }
        let steps =
            path.split('/').filter(|step| !step.is_empty()).map(Step::of).collect::<Result<_, _>>()?;
        Ok(Self { absolute: path.starts_with('/'), steps, directory: path.ends_with('/') })
    }

    /// Removes the last step: the name of an entry that is to be made or removed.
    pub(super) fn split_last(&mut self) -> Option<Step<'a>> {
        self.steps.pop()
    }
}

impl<'a> Step<'a> {
    fn of(text: &'a str) -> Result<Self, Errno> {
        match text {
            "." => Ok(Self::Here),
            ".." => Ok(Self::Up),
            name if name.len() > MAX_NAME => Err(Errno::NameTooLong),
            name => Ok(Self::Down(name)),
        }
    }
}

/// Whether a directory entry may have this name.
pub(super) fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_paths_into_steps() {
        let path = GuestPath::parse("//tmp///a/./../b/").unwrap();
        assert!(path.absolute && path.directory);
        assert_eq!(path.steps, [Step::Down("tmp"), Step::Down("a"), Step::Here, Step::Up, Step::Down("b")]);
        let path = GuestPath::parse("a").unwrap();
        assert!(!path.absolute && !path.directory);
        assert_eq!(GuestPath::parse("/").unwrap().steps, []);
    }

    #[test]
    fn refuses_what_no_path_can_be() {
        assert_eq!(GuestPath::parse(""), Err(Errno::NotFound));
        assert_eq!(GuestPath::parse("a\0b"), Err(Errno::Invalid));
        assert_eq!(GuestPath::parse(&"a".repeat(256)), Err(Errno::NameTooLong));
        assert_eq!(GuestPath::parse(&"a/".repeat(2049)), Err(Errno::NameTooLong));
        assert!(GuestPath::parse(&"a".repeat(255)).is_ok());
        assert!(GuestPath::parse(&"a/".repeat(2048)).is_ok());
    }

    #[test]
    fn knows_names() {
        assert!(is_name("a") && is_name("...") && is_name("é"));
        for bad in ["", ".", "..", "a/b", "a\0", &"x".repeat(256)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
