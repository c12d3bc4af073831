//! A table of a private database in memory, which is made of a file when the first query comes.

use std::{collections::HashSet, fmt::Debug, path::Path};

use rusqlite::{Connection, Statement};

/// As many as a table of SQLite takes.
const MAX_COLUMNS: usize = 2_000;

/// A file that becomes a table.
#[derive(Debug)]
pub(super) struct MemoryTable {
    /// As the user calls the file.
    pub(super) file: String,
    /// Its name in SQL.
    pub(super) name: String,
    /// The names of its columns, with their types in SQL.
    pub(super) columns: Vec<(String, &'static str)>,
    pub(super) rows: u64,
    pub(super) content: Box<dyn TableContent>,
}

/// What a table is made of. It is read again when the table is needed.
pub(super) trait TableContent: Debug + Send + Sync {
    /// Where it is, if that is a file.
    fn path(&self) -> Option<&Path> {
        None
    }

    /// Inserts all rows, each with this statement.
    fn insert(&self, row: &mut Statement<'_>) -> rusqlite::Result<()>;
}

impl MemoryTable {
    /// What is said of it when it is loaded.
    pub(super) fn said(&self) -> String {
        format!("the table {}, {} rows of {} columns", quoted(&self.name), self.rows, self.columns.len())
    }

    /// `"name"("column" TYPE, ...)`.
    pub(super) fn declared(&self) -> String {
        declared(&quoted(&self.name), self.columns.iter().map(|(name, ty)| (name.as_str(), *ty)))
    }

    /// Makes the table.
    pub(super) fn insert(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        transaction.execute_batch(&format!("CREATE TABLE {}", self.declared()))?;
        let places = vec!["?"; self.columns.len()].join(", ");
        let insert = format!("INSERT INTO {} VALUES ({places})", quoted(&self.name));
        self.content.insert(&mut transaction.prepare(&insert)?)?;
        transaction.commit()
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
