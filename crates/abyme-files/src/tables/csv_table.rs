//! A CSV file as a table: what its columns hold, and its rows.

use abyme_core::Text;
use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};
use rusqlite::{Statement, ToSql, params_from_iter, types::ToSqlOutput};

use super::memory_table::{MemoryTable, TableContent, named};

/// Which delimiters a file may have whose name does not say it.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Looks at all of a CSV file.
///
/// # Errors
/// Why it is no table.
pub(super) fn read(file: &str, name: String, text: Text, has_tabs: bool) -> Result<MemoryTable, String> {
    let delimiter = if has_tabs { b'\t' } else { delimiter(&text) };
    let mut reader = reader(&text, delimiter);
    let header = reader.headers().map_err(|error| problem(&error))?.clone();
    let names = named(&header.iter().collect::<Vec<_>>())?;
    let mut kinds = vec![ColumnKind::Unknown; names.len()];
    let (mut record, mut rows) = (StringRecord::new(), 0);
    while reader.read_record(&mut record).map_err(|error| problem(&error))? {
        rows += 1;
        for (kind, field) in kinds.iter_mut().zip(&record) {
            *kind = (*kind).max(ColumnKind::of(field));
        }
    }
    let columns = names.into_iter().zip(kinds.iter().map(|kind| kind.sql())).collect();
    let content = Box::new(CsvContent { text, delimiter, kinds });
    Ok(MemoryTable { file: file.to_owned(), name, columns, rows, content })
}

/// The text of a CSV file, and how it is read.
#[derive(Debug)]
struct CsvContent {
    text: Text,
    delimiter: u8,
    /// The kind of each column.
    kinds: Vec<ColumnKind>,
}

/// What the fields of a column are, from the narrowest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ColumnKind {
    /// All of them are empty.
    Unknown,
    Integer,
    Real,
    Text,
}

impl ColumnKind {
    fn of(field: &str) -> Self {
        if field.is_empty() {
            return Self::Unknown;
        }
        if field.parse::<i64>().is_ok_and(|number| number.to_string() == field) {
            return Self::Integer;
        }
        // Numbers of houses and telephones are texts, and so is what would lose digits.
        let digits = field.strip_prefix('-').unwrap_or(field);
        let is_plain = digits.starts_with(|first: char| first.is_ascii_digit())
            && digits.contains(['.', 'e', 'E'])
            && !(digits.starts_with('0') && digits[1..].starts_with(|next: char| next.is_ascii_digit()));
        if is_plain && field.parse::<f64>().is_ok_and(f64::is_finite) { Self::Real } else { Self::Text }
    }

    /// The type in SQL.
    fn sql(self) -> &'static str {
        match self {
            Self::Integer => "INTEGER",
            Self::Real => "REAL",
            Self::Unknown | Self::Text => "TEXT",
        }
    }
}

/// A field that is put into a column. An empty one is no value.
struct Cell<'a>(&'a str, ColumnKind);

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let Self(field, kind) = *self;
        Ok(match kind {
            _ if field.is_empty() => ToSqlOutput::from(rusqlite::types::Null),
            ColumnKind::Integer => ToSqlOutput::from(field.parse::<i64>().unwrap_or_default()),
            ColumnKind::Real => ToSqlOutput::from(field.parse::<f64>().unwrap_or_default()),
            ColumnKind::Unknown | ColumnKind::Text => ToSqlOutput::from(field),
        })
    }
}

impl TableContent for CsvContent {
    fn insert(&self, row: &mut Statement<'_>) -> rusqlite::Result<()> {
        let mut reader = reader(&self.text, self.delimiter);
        let mut record = StringRecord::new();
        // It was read to its end before, and is the same text.
        while reader.read_record(&mut record).unwrap_or(false) {
            let cells = self.kinds.iter().zip(&record).map(|(kind, field)| Cell(field, *kind));
            row.execute(params_from_iter(cells))?;
        }
        Ok(())
    }
}

fn reader(text: &Text, delimiter: u8) -> Reader<&[u8]> {
    ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes())
}

/// The delimiter that makes the most fields of the first line.
fn delimiter(text: &Text) -> u8 {
    let fields = |delimiter: u8| reader(text, delimiter).headers().map_or(0, StringRecord::len);
    // Of several that make as many, the first.
    DELIMITERS.into_iter().rev().max_by_key(|&delimiter| fields(delimiter)).unwrap_or(b',')
}

/// Why a text is no table.
fn problem(error: &csv::Error) -> String {
    match error.kind() {
        ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or_else(String::new, |at| format!(" in line {}", at.line()));
            format!("no table: the first line has {expected_len} fields, and there are {len}{line}")
        }
        _ => format!("no table: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<MemoryTable, String> {
        read("a.csv", "a".to_owned(), text.into(), false)
    }

    #[test]
    fn columns_have_names_and_types() {
        let csv = read_text("id;zip;price;;ID;note\n1;01234;2.50;x;7;\n-2;99999;3;y;8;\n").unwrap();
        let expected = [
            ("id", "INTEGER"),
            ("zip", "TEXT"),
            ("price", "REAL"),
            ("column_4", "TEXT"),
            ("ID_2", "INTEGER"),
            ("note", "TEXT"),
        ];
        let columns: Vec<_> = csv.columns.iter().map(|(name, ty)| (name.as_str(), *ty)).collect();
        assert_eq!((&columns[..], csv.rows), (&expected[..], 2));
        assert_eq!(ColumnKind::of("12345678901234567890"), ColumnKind::Text, "it would lose digits");
    }

    #[test]
    fn what_is_no_table_says_where() {
        let problem = read_text("a,b\n1,2\n1,2,3\n").unwrap_err();
        assert_eq!(problem, "no table: the first line has 2 fields, and there are 3 in line 3");
    }
}
