//! A table of a private database in memory, which is made of a file when the first query comes.

use std::{collections::HashSet, fmt::Debug, path::Path};

use rusqlite::Connection;

/// As many as a table of SQLite takes.
const MAX_COLUMNS: usize = 2_000;

/// A file that becomes a table.
pub(super) trait MemoryTable: Debug + Send + Sync {
    /// As the user calls the file.
    fn file(&self) -> &str;

    /// Where it is, if it is read again.
    fn path(&self) -> Option<&Path> {
        None
    }

    /// Its name in SQL.
    fn name(&self) -> &str;

    /// The names of its columns, with their types in SQL.
    fn columns(&self) -> Vec<(&str, &str)>;

    fn rows(&self) -> u64;

    /// Makes the table.
    fn insert(&self, connection: &mut Connection) -> rusqlite::Result<()>;

    /// What is said of it when it is loaded.
    fn said(&self) -> String {
        let (rows, columns) = (self.rows(), self.columns().len());
        format!("the table {}, {rows} rows of {columns} columns", quoted(self.name()))
    }

    /// `"name"("column" TYPE, ...)`.
    fn declared(&self) -> String {
        declared(&quoted(self.name()), self.columns())
    }

    /// The statements that make an empty table, and that put a row into it.
    fn statements(&self) -> (String, String) {
        let places = vec!["?"; self.columns().len()].join(", ");
        let insert = format!("INSERT INTO {} VALUES ({places})", quoted(self.name()));
        (format!("CREATE TABLE {}", self.declared()), insert)
    }
}

/// A table with its columns.
pub(super) fn declared<'a>(table: &str, columns: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let columns = columns.into_iter().map(|(name, ty)| format!("{} {ty}", quoted(name)));
    let columns: Vec<_> = columns.map(|column| column.trim_end().to_owned()).collect();
    format!("{table}({})", columns.join(", "))
}

/// Each column with a name of its own.
///
/// # Errors
/// Why these are no columns.
pub(super) fn named(header: &[&str]) -> Result<Vec<String>, String> {
    match header.len() {
        0 => return Err("there is no field in it".to_owned()),
        many if many > MAX_COLUMNS => return Err(format!("{many} columns are too many for a table")),
        _ => {}
    }
    let mut taken = HashSet::new();
    let mut names = Vec::new();
    for (index, name) in header.iter().enumerate() {
        let name = match name.trim() {
            "" => format!("column_{}", index + 1),
            name => name.to_owned(),
        };
        let others = (2..).map(|number| format!("{name}_{number}"));
        // SQLite takes large and small letters for the same.
        let free = std::iter::once(name.clone()).chain(others).find(|name| taken.insert(name.to_lowercase()));
        names.push(free.unwrap_or(name));
    }
    Ok(names)
}

/// A name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
