//! The tables that were loaded, and queries over them: SQLite reads its own files, and CSV and Parquet files
//! become tables of a private database in memory.

mod csv_table;
mod memory_table;
#[cfg(feature = "parquet")]
mod parquet_table;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use abyme_core::{Text, Value};
use indexmap::IndexMap;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, Statement,
    hooks::{AuthAction, AuthContext, Authorization},
    limits::Limit,
    types::ValueRef,
};

use self::memory_table::{MemoryTable, declared, quoted};
use crate::sources::{Position, ends_in, only, shown};

/// What is said of a database that another program holds.
pub(crate) const LOCKED: &str = "the database is locked by another program";
/// How many databases one connection of SQLite takes.
const MAX_DATABASES: usize = 10;
/// How many tables of a database are told of.
const MAX_TABLES: usize = 200;
/// How long a database that another program holds is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the rows of all tables of a database may be counted.
const COUNT_TIMEOUT: Duration = Duration::from_secs(1);
/// The most bytes of one value, and of all rows of a result.
const MAX_RESULT_BYTES: usize = 64 << 20;
/// How many steps of SQLite's machine lie between two looks at the clock.
const STEPS: i32 = 10_000;
/// The pragmas that only tell about tables.
const PRAGMAS: [&str; 8] = [
    // Tables for full-text search look at it whenever they are read.
    "data_version",
    "database_list",
    "foreign_key_list",
    "index_info",
    "index_list",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// All tables.
#[derive(Debug)]
pub(crate) struct Tables {
    databases: Vec<Database>,
    in_memory: Vec<MemoryTable>,
    pub(crate) max_rows: usize,
    query_timeout: Duration,
    /// Opened by the first query.
    connection: Mutex<Option<Connection>>,
}

/// A database file.
#[derive(Debug)]
struct Database {
    /// As the user calls the file.
    file: String,
    path: PathBuf,
    /// Its name in SQL.
    name: String,
    tables: Vec<TableInfo>,
}

#[derive(Debug)]
struct TableInfo {
    name: String,
    columns: Vec<(String, String)>,
    /// `None` where counting took too long.
    rows: Option<u64>,
}

impl Tables {
    pub(crate) fn new(max_rows: usize, query_timeout: Duration) -> Self {
        Self {
            databases: Vec::new(),
            in_memory: Vec::new(),
            max_rows,
            query_timeout,
            connection: Mutex::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.in_memory.is_empty()
    }

    /// Where the files are that are not kept as texts.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        let databases = self.databases.iter().map(|database| database.path.as_path());
        databases.chain(self.in_memory.iter().filter_map(|table| table.content.path()))
    }

    /// The name of the file with tables that is called so.
    pub(crate) fn file(&self, name: &str) -> Option<&str> {
        let names = || {
            let databases = self.databases.iter().map(|database| database.file.as_str());
            databases.chain(self.in_memory.iter().map(|table| table.file.as_str()))
        };
        names().find(|file| *file == name).or_else(|| only(names().filter(|file| ends_in(file, name))))
    }

    /// Adds a database. Says what is in it.
    pub(crate) fn add_database(&mut self, file: &str, path: &Path) -> Result<String, String> {
        if self.databases.len() == MAX_DATABASES {
            return Err(format!("more than {MAX_DATABASES} databases cannot be queried together"));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let tables = Connection::open_with_flags(path, flags).and_then(|mut connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            schema(&mut connection)
        });
        let tables = tables.map_err(|error| problem(&error))?;
        if tables.is_empty() {
            return Err("a SQLite database without a table".to_owned());
        }
        let is_taken = |name: &str| {
            let others = self.databases.iter().map(|other| other.name.as_str());
            others.chain(["main", "temp"]).any(|other| other.eq_ignore_ascii_case(name))
        };
        let said = match &tables[..] {
            [table] => format!("SQLite, the table {}", quoted(&table.name)),
            tables => format!("SQLite, {} tables", tables.len()),
        };
        let name = free_name(path, is_taken);
        self.databases.push(Database { file: file.to_owned(), path: path.to_path_buf(), name, tables });
        Ok(said)
    }

    /// Adds a CSV file as a table. Says what is in it.
    pub(crate) fn add_csv(&mut self, file: &str, text: Text, has_tabs: bool) -> Result<String, String> {
        let table = csv_table::read(file, self.free_name(file), text, has_tabs)?;
        let said = table.said();
        self.in_memory.push(table);
        Ok(said)
    }

    /// Adds a Parquet file as a table, whose values take at most so many bytes. Says what is in it, and how
    /// many bytes these are; `None` if they are more.
    #[cfg(feature = "parquet")]
    pub(crate) fn add_parquet(
        &mut self,
        file: &str,
        path: &Path,
        most: u64,
    ) -> Result<Option<(String, u64)>, String> {
        let Some((table, bytes)) = parquet_table::read(file, self.free_name(file), path, most)? else {
            return Ok(None);
        };
        let said = table.said();
        self.in_memory.push(table);
        Ok(Some((said, bytes)))
    }

    /// A name for the table of a file.
    fn free_name(&self, file: &str) -> String {
        free_name(Path::new(crate::kind::unpacked_name(file)), |name| {
            self.in_memory.iter().any(|other| other.name.eq_ignore_ascii_case(name))
        })
    }

    /// A line for each table.
    pub(crate) fn described(&self) -> Vec<String> {
        let in_memory = self
            .in_memory
            .iter()
            .map(|table| format!("- {}: {} rows, from {:?}", table.declared(), table.rows, table.file));
        let tables = self.databases.iter().flat_map(|database| {
            database.tables.iter().map(move |table| {
                let named = format!("{}.{}", database.name, quoted(&table.name));
                let columns = table.columns.iter().map(|(name, ty)| (name.as_str(), ty.as_str()));
                let rows = table.rows.map_or_else(|| "very many".to_owned(), |rows| rows.to_string());
                format!("- {}: {rows} rows, from {:?}", declared(&named, columns), database.file)
            })
        });
        in_memory.chain(tables).collect()
    }

    /// Whether a query gives rows, and the first of them.
    pub(crate) fn evidence(&self, sql: &str) -> Result<Position, String> {
        let Value::List(rows) = self.query(sql)? else { return Err("no rows".to_owned()) };
        let Some(first) = rows.first().and_then(Value::as_dict) else {
            return Err("this query gives no rows".to_owned());
        };
        let first: Vec<_> = first.iter().map(|(name, value)| format!("{name}={}", value.repr(60))).collect();
        Ok(Position::Rows { rows: rows.len() as u64, first: shown(&first.join(", ")) })
    }

    /// The rows of a query, as dicts.
    pub(crate) fn query(&self, sql: &str) -> Result<Value, String> {
        if sql.trim().is_empty() {
            return Err("the query is empty".to_owned());
        }
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.is_none() {
            *connection = Some(self.connect().map_err(|error| problem(&error))?);
        }
        let Some(connection) = connection.as_mut() else { return Err("no database".to_owned()) };
        let end = Instant::now() + self.query_timeout;
        let limited = connection.progress_handler(STEPS, Some(move || Instant::now() > end));
        limited.map_err(|error| problem(&error))?;
        let statement = connection.prepare(sql).map_err(|error| self.query_problem(&error));
        let rows = statement.and_then(|statement| self.rows(statement));
        // Nothing is left to be done about a handler that stays: the next query sets its own.
        connection.progress_handler(STEPS, None::<fn() -> bool>).ok();
        rows
    }

    fn rows(&self, mut statement: Statement<'_>) -> Result<Value, String> {
        let mut names: Vec<String> = Vec::new();
        for name in statement.column_names() {
            let others = (2..).map(|number| format!("{name}_{number}"));
            let mut free = std::iter::once(name.to_owned()).chain(others);
            names.extend(free.find(|name| !names.contains(name)));
        }
        if names.is_empty() {
            return Err(
                "only a SELECT over the tables of the task is possible: this gives no columns".to_owned()
            );
        }
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let mut results = statement.query([]).map_err(|error| self.query_problem(&error))?;
        while let Some(row) = results.next().map_err(|error| self.query_problem(&error))? {
            if rows.len() == self.max_rows {
                return Err(format!("the query gives over {} rows: aggregate, or use LIMIT", self.max_rows));
            }
            let mut fields = IndexMap::with_capacity(names.len());
            for (index, name) in names.iter().enumerate() {
                let value = row.get_ref(index).map_err(|error| self.query_problem(&error))?;
                let value = match value {
                    ValueRef::Null => Value::None,
                    ValueRef::Integer(number) => number.into(),
                    ValueRef::Real(number) => number.into(),
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
                    ValueRef::Blob(blob) => Value::Bytes(blob.to_vec().into()),
                };
                // The names are in each row of the result.
                bytes += name.len();
                bytes += match &value {
                    Value::Text(text) => text.len(),
                    Value::Bytes(blob) => blob.len(),
                    _ => 8,
                };
                fields.insert(name.clone(), value);
            }
            if bytes > MAX_RESULT_BYTES {
                return Err(format!("the query gives over {} MB: ask for less", MAX_RESULT_BYTES >> 20));
            }
            rows.push(Value::Dict(fields));
        }
        Ok(Value::List(rows))
    }

    fn query_problem(&self, error: &rusqlite::Error) -> String {
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => {
                format!("the query took more than {} s", self.query_timeout.as_secs_f64())
            }
            Some(ErrorCode::AuthorizationForStatementDenied) => {
                format!("only a SELECT over the tables of the task is possible: {error}")
            }
            _ => problem(error),
        }
    }

    /// One connection with all tables, which can only be read.
    fn connect(&self) -> rusqlite::Result<Connection> {
        let mut connection = Connection::open_in_memory_with_flags(
            OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_CREATE
                | OpenFlags::SQLITE_OPEN_URI
                | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        for Database { path, name, .. } in &self.databases {
            connection.execute(&format!("ATTACH ?1 AS {}", quoted(name)), [read_only_uri(path)])?;
        }
        for table in &self.in_memory {
            table.insert(&mut connection)?;
        }
        connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA query_only = ON;")?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_RESULT_BYTES as i32)?;
        for database in &self.databases {
            connect_virtual_tables(&connection, &database.name)?;
        }
        connection.authorizer(Some(allowed))?;
        Ok(connection)
    }
}

/// Connects the tables that a module of SQLite has, such as those for full-text search. Each declares its
/// columns in SQL when it is first used, which no query may do. One that cannot be connected fails by itself.
fn connect_virtual_tables(connection: &Connection, database: &str) -> rusqlite::Result<()> {
    let virtual_tables =
        format!("SELECT name FROM {}.sqlite_schema WHERE type = 'table' AND rootpage = 0", quoted(database));
    let mut names = connection.prepare(&virtual_tables)?;
    let names: Vec<String> = names.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for name in names {
        connection.prepare(&format!("SELECT * FROM {}.{}", quoted(database), quoted(&name))).ok();
    }
    Ok(())
}

/// What a query may do: read tables, and nothing that reaches a file.
fn allowed(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Function { function_name } if function_name != "load_extension" => Authorization::Allow,
        AuthAction::Pragma { pragma_name, .. } if PRAGMAS.contains(&pragma_name) => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

/// The tables of a database.
fn schema(connection: &mut Connection) -> rusqlite::Result<Vec<TableInfo>> {
    let mut tables = Vec::new();
    for name in names(connection)? {
        // A view over what is not there any more has no columns.
        let columns = columns(connection, &name).unwrap_or_default();
        tables.push(TableInfo { name, columns, rows: None });
    }
    let end = Instant::now() + COUNT_TIMEOUT;
    connection.progress_handler(STEPS, Some(move || Instant::now() > end))?;
    for table in &mut tables {
        let count = format!("SELECT count(*) FROM {}", quoted(&table.name));
        let count: rusqlite::Result<i64> = connection.query_row(&count, [], |row| row.get(0));
        table.rows = count.ok().and_then(|count| u64::try_from(count).ok());
    }
    Ok(tables)
}

fn names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut names = connection.prepare(&format!(
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' \
         ESCAPE '\\' ORDER BY rowid LIMIT {MAX_TABLES}"
    ))?;
    names.query_map([], |row| row.get(0))?.collect()
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let mut columns = connection.prepare("SELECT name, type FROM pragma_table_info(?1)")?;
    columns.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// What went wrong, for people and models.
fn problem(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LOCKED.to_owned(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the database is damaged, or encrypted".to_owned()
        }
        _ => error.to_string(),
    }
}

/// A name for what a file holds, in letters, digits and `_`.
fn free_name(path: &Path, is_taken: impl Fn(&str) -> bool) -> String {
    let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
    let name: String = stem.chars().map(|char| if char.is_alphanumeric() { char } else { '_' }).collect();
    let starts_well = name.starts_with(|first: char| first.is_alphabetic() || first == '_')
        // SQLite keeps such names to itself.
        && !name.to_ascii_lowercase().starts_with("sqlite_");
    let name = if starts_well { name } else { format!("t_{name}") };
    let others = (2..).map(|number| format!("{name}_{number}"));
    std::iter::once(name.clone()).chain(others).find(|name| !is_taken(name)).unwrap_or(name)
}

/// A path of any bytes, for SQLite to open without being able to write.
fn read_only_uri(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_' | b'~');
    let path: String = path
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|&byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    format!("file:{path}?mode=ro")
}
