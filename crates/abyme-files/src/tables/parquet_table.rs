//! A Parquet file as a table. It stays where it is until the first query comes.

use std::{
    fs::File,
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
use rusqlite::{Connection, params_from_iter, types::Value as SqlValue};

use super::memory_table::{MemoryTable, named};

/// A Parquet file. The rows are read again when they are needed.
#[derive(Debug)]
pub(super) struct ParquetTable {
    file: String,
    name: String,
    path: PathBuf,
    columns: Vec<(String, &'static str)>,
    rows: u64,
    /// Bytes of its values, decompressed.
    pub(super) bytes: u64,
}

impl ParquetTable {
    /// Looks at all of a file whose values take at most so many bytes. `None` if they take more.
    ///
    /// # Errors
    /// Why it is no table.
    pub(super) fn read(file: &str, name: String, path: &Path, most: u64) -> Result<Option<Self>, String> {
        let reader = unless_panicking(|| open(path)).map_err(|error| problem(&error))?;
        let metadata = reader.metadata();
        let sizes = metadata.row_groups().iter().map(|group| u64::try_from(group.total_byte_size()));
        let bytes = sizes.fold(0, |sum: u64, size| sum.saturating_add(size.unwrap_or(u64::MAX)));
        if bytes > most {
            return Ok(None);
        }
        let fields = metadata.file_metadata().schema().get_fields();
        let names = named(&fields.iter().map(|field| field.name()).collect::<Vec<_>>())?;
        let columns = names.into_iter().zip(fields).map(|(name, field)| (name, type_of(field))).collect();
        let mut table =
            Self { file: file.to_owned(), name, path: path.to_path_buf(), columns, rows: 0, bytes };
        let mut rows = 0;
        // What is damaged is found before a query needs it.
        table
            .each_row(|_| {
                rows += 1;
                Ok(())
            })
            .map_err(|error| problem(&error))?;
        table.rows = rows;
        Ok(Some(table))
    }

    fn each_row(&self, mut each: impl FnMut(&Row) -> Result<(), ParquetError>) -> Result<(), ParquetError> {
        unless_panicking(|| {
            let reader = open(&self.path)?;
            for row in reader.get_row_iter(None)? {
                each(&row?)?;
            }
            Ok(())
        })
    }
}

impl MemoryTable for ParquetTable {
    fn file(&self) -> &str {
        &self.file
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn columns(&self) -> Vec<(&str, &str)> {
        self.columns.iter().map(|(name, ty)| (name.as_str(), *ty)).collect()
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn insert(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        let (create, insert) = self.statements();
        transaction.execute_batch(&create)?;
        {
            let mut insert = transaction.prepare(&insert)?;
            let ended = self.each_row(|row| {
                let values = row.get_column_iter().map(|(_, field)| sql_value(field));
                insert
                    .execute(params_from_iter(values))
                    .map_err(|error| ParquetError::External(error.into()))?;
                Ok(())
            });
            ended.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        }
        transaction.commit()
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

    fn read(path: &Path, most: u64) -> Result<Option<ParquetTable>, String> {
        ParquetTable::read("plans.parquet", "plans".to_owned(), path, most)
    }

    #[test]
    fn columns_and_rows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plans.parquet");
        write(&path);
        let table = read(&path, 1 << 20).unwrap().unwrap();
        assert_eq!(table.said(), "the table \"plans\", 2 rows of 4 columns");
        let columns = [("id", "INTEGER"), ("plan", "TEXT"), ("fee", "REAL"), ("since", "TEXT")];
        assert_eq!(table.columns(), columns);
        let mut connection = Connection::open_in_memory().unwrap();
        table.insert(&mut connection).unwrap();
        let query = "SELECT group_concat(id || ifnull(plan, '-') || fee || since, ';') FROM plans";
        let rows: String = connection.query_row(query, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, "1basic2.51970-01-01;2-3.02024-01-02");
        assert!(read(&path, 10).unwrap().is_none(), "{}", table.bytes);
    }

    #[test]
    fn what_is_damaged_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plans.parquet");
        write(&path);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(read(&path, 1 << 20).unwrap_err().starts_with("a Parquet file that cannot be read: "));
        for at in (4..whole.len()).step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            std::fs::write(&path, &bytes).unwrap();
            // Some of these are another file, and the others an error.
            if let Err(problem) = read(&path, 1 << 20) {
                assert!(!problem.is_empty() && !problem.contains('\n'), "{problem}");
            }
        }
    }
}
