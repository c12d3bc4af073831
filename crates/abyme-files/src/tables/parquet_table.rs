//! A Parquet file as a table. It stays where it is until the first query comes.

use std::{
    fs::File,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use parquet::{
    basic::{ConvertedType, LogicalType, Type as Physical},
    errors::ParquetError,
    file::reader::{FileReader, SerializedFileReader},
    record::{Field, Row},
    schema::types::Type,
};
use rusqlite::{Statement, params_from_iter, types::Value as SqlValue};

use super::memory_table::{MemoryTable, TableContent, named};

/// Looks at all of a file whose values take at most so many bytes. With the table comes how many they take;
/// `None` if they take more.
///
/// # Errors
/// Why it is no table.
pub(super) fn read(
    file: &str,
    name: String,
    path: &Path,
    most: u64,
) -> Result<Option<(MemoryTable, u64)>, String> {
    let reader = unless_panicking(|| open(path)).map_err(|error| problem(&error))?;
    let metadata = reader.metadata();
    let sizes = metadata.row_groups().iter().map(|group| u64::try_from(group.total_byte_size()));
    let encoded = sizes.fold(0, |sum: u64, size| sum.saturating_add(size.unwrap_or(u64::MAX)));
    // What says itself that it is too large is not read. What says less may be far larger: a value that is
    // there many times is encoded once.
    if encoded > most {
        return Ok(None);
    }
    let fields = metadata.file_metadata().schema().get_fields();
    let names = named(&fields.iter().map(|field| field.name()).collect::<Vec<_>>())?;
    let columns = names.into_iter().zip(fields).map(|(name, field)| (name, type_of(field))).collect();
    let content = ParquetContent { path: path.to_path_buf() };
    let (mut rows, mut bytes) = (0, 0);
    // What is damaged is found before a query needs it.
    let ended = content.each_row(|row| {
        rows += 1;
        for (_, field) in row.get_column_iter() {
            bytes += size_of(&sql_value(field));
        }
        Ok(if bytes > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    ended.map_err(|error| problem(&error))?;
    let table = MemoryTable { file: file.to_owned(), name, columns, rows, content: Box::new(content) };
    Ok((bytes <= most).then_some((table, bytes)))
}

/// A Parquet file, which stays where it is.
#[derive(Debug)]
struct ParquetContent {
    path: PathBuf,
}

impl ParquetContent {
    /// Shows each row, until `each` has seen enough.
    fn each_row(
        &self,
        mut each: impl FnMut(&Row) -> Result<ControlFlow<()>, ParquetError>,
    ) -> Result<(), ParquetError> {
        unless_panicking(|| {
            let reader = open(&self.path)?;
            for row in reader.get_row_iter(None)? {
                if each(&row?)?.is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}

impl TableContent for ParquetContent {
    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn insert(&self, row: &mut Statement<'_>) -> rusqlite::Result<()> {
        let ended = self.each_row(|read| {
            let values = read.get_column_iter().map(|(_, field)| sql_value(field));
            row.execute(params_from_iter(values)).map_err(|error| ParquetError::External(error.into()))?;
            Ok(ControlFlow::Continue(()))
        });
        ended.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }
}

fn open(path: &Path) -> Result<SerializedFileReader<File>, ParquetError> {
    SerializedFileReader::new(File::open(path)?)
}

/// What is damaged may have the library panic.
fn unless_panicking<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    let read = catch_unwind(AssertUnwindSafe(read));
    read.unwrap_or_else(|_| Err(ParquetError::General("it is damaged".to_owned())))
}

/// The type of a column in SQL.
fn type_of(field: &Type) -> &'static str {
    if !field.is_primitive() {
        return "TEXT";
    }
    let info = field.get_basic_info();
    let is_number = info.logical_type_ref().is_none_or(|ty| matches!(ty, LogicalType::Integer(_)))
        && matches!(
            info.converted_type(),
            ConvertedType::NONE
                | ConvertedType::INT_8
                | ConvertedType::INT_16
                | ConvertedType::INT_32
                | ConvertedType::INT_64
                | ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
        );
    match field.get_physical_type() {
        Physical::BOOLEAN => "INTEGER",
        Physical::INT32 | Physical::INT64 if is_number => "INTEGER",
        Physical::FLOAT | Physical::DOUBLE => "REAL",
        Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY if is_number => "BLOB",
        _ => "TEXT",
    }
}

/// A value as SQLite has it: dates, times and decimals as texts, lists and structs as JSON.
fn sql_value(field: &Field) -> SqlValue {
    match field {
        Field::Null => SqlValue::Null,
        Field::Bool(value) => SqlValue::Integer((*value).into()),
        Field::Byte(value) => SqlValue::Integer((*value).into()),
        Field::Short(value) => SqlValue::Integer((*value).into()),
        Field::Int(value) => SqlValue::Integer((*value).into()),
        Field::Long(value) => SqlValue::Integer(*value),
        Field::UByte(value) => SqlValue::Integer((*value).into()),
        Field::UShort(value) => SqlValue::Integer((*value).into()),
        Field::UInt(value) => SqlValue::Integer((*value).into()),
        Field::ULong(value) => {
            i64::try_from(*value).map_or(SqlValue::Text(value.to_string()), SqlValue::Integer)
        }
        Field::Float16(value) => SqlValue::Real(f64::from(*value)),
        Field::Float(value) => SqlValue::Real((*value).into()),
        Field::Double(value) => SqlValue::Real(*value),
        Field::Str(text) => SqlValue::Text(text.clone()),
        Field::Bytes(bytes) => SqlValue::Blob(bytes.data().to_vec()),
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => {
            SqlValue::Text(field.to_json_value().to_string())
        }
        other => SqlValue::Text(other.to_string()),
    }
}

/// How many bytes a value takes in SQLite's memory, about. Very many empty texts take some, too.
fn size_of(value: &SqlValue) -> u64 {
    let length = match value {
        SqlValue::Text(text) => text.len(),
        SqlValue::Blob(blob) => blob.len(),
        SqlValue::Null | SqlValue::Integer(_) | SqlValue::Real(_) => 0,
    };
    length.max(8) as u64
}

fn problem(error: &ParquetError) -> String {
    format!("a Parquet file that cannot be read: {}", error.to_string().replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::{
        data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type},
        file::{properties::WriterProperties, writer::SerializedFileWriter},
        schema::parser::parse_message_type,
    };
    use rusqlite::Connection;

    use super::*;

    /// A file with two rows.
    fn write(path: &Path) {
        let schema = "message m { required int32 id; optional binary plan (UTF8); required double fee;
                      required int32 since (DATE); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = Arc::new(WriterProperties::builder().build());
        let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = 0;
        while let Some(mut next) = group.next_column().unwrap() {
            let written = match column {
                0 => next.typed::<Int32Type>().write_batch(&[1, 2], None, None),
                1 => {
                    let plans = [ByteArray::from("basic")];
                    next.typed::<ByteArrayType>().write_batch(&plans, Some(&[1, 0]), None)
                }
                2 => next.typed::<DoubleType>().write_batch(&[2.5, 3.0], None, None),
                _ => next.typed::<Int32Type>().write_batch(&[0, 19_724], None, None),
            };
            written.unwrap();
            next.close().unwrap();
            column += 1;
        }
        group.close().unwrap();
        writer.close().unwrap();
    }

    fn read_plans(path: &Path, most: u64) -> Result<Option<(MemoryTable, u64)>, String> {
        read("plans.parquet", "plans".to_owned(), path, most)
    }

    #[test]
    fn columns_and_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plans.parquet");
        write(&path);
        let (table, bytes) = read_plans(&path, 1 << 20).unwrap().unwrap();
        assert_eq!(table.said(), "the table \"plans\", 2 rows of 4 columns");
        let columns = [("id", "INTEGER"), ("plan", "TEXT"), ("fee", "REAL"), ("since", "TEXT")];
        assert_eq!(table.columns, columns.map(|(name, ty)| (name.to_owned(), ty)));
        let mut connection = Connection::open_in_memory().unwrap();
        table.insert(&mut connection).unwrap();
        let query = "SELECT group_concat(id || ifnull(plan, '-') || fee || since, ';') FROM plans";
        let rows: String = connection.query_row(query, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, "1basic2.51970-01-01;2-3.02024-01-02");
        // Three numbers or short texts of 8 bytes, and a date of 10, in two rows.
        assert_eq!(bytes, 2 * (3 * 8 + 10));
        assert!(read_plans(&path, 10).unwrap().is_none());
    }

    #[test]
    fn a_value_counts_as_often_as_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plans.parquet");
        let schema = Arc::new(parse_message_type("message m { required binary plan (UTF8); }").unwrap());
        let properties = Arc::new(WriterProperties::builder().set_dictionary_enabled(true).build());
        let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let plan = "x".repeat(10_000);
        let plans = vec![ByteArray::from(plan.as_str()); 1_000];
        column.typed::<ByteArrayType>().write_batch(&plans, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        let encoded = open(&path).unwrap().metadata().row_group(0).total_byte_size();
        assert!(encoded < 100_000, "{encoded}");
        assert!(read_plans(&path, 9_999_999).unwrap().is_none());
        let (table, bytes) = read_plans(&path, 10_000_000).unwrap().unwrap();
        assert_eq!((table.rows, bytes), (1_000, 10_000_000));
    }

    #[test]
    fn what_is_damaged_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plans.parquet");
        write(&path);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(read_plans(&path, 1 << 20).unwrap_err().starts_with("a Parquet file that cannot be read: "));
        for at in (4..whole.len()).step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            std::fs::write(&path, &bytes).unwrap();
            // Some of these are another file, and the others an error.
            if let Err(problem) = read_plans(&path, 1 << 20) {
                assert!(!problem.is_empty() && !problem.contains('\n'), "{problem}");
            }
        }
    }
}
