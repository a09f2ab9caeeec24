//! Lines of cells as files of Parquet: row groups of bounded size, so that memory is bounded too.

use std::io::Write;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use rowcast_core::json::from_json;
use rowcast_core::{Code, Reason, Value};

use super::kind::{DIGITS_SMALL, Kind, unscaled};
use crate::format::{Parts, Rows};

/// Bytes of cells that make a row group: what is held in memory, about three times, while it is
/// written.
const GROUP_BYTES: usize = 16 << 20;

/// Turns lines of cells into files. Parts end with a row group.
pub(super) fn files<F: Write + Send>(
    columns: &[(String, Kind)],
    mut rows: Rows,
    parts: &mut Parts<'_, F>,
) -> Result<(), Reason> {
    let schema = schema(columns).map_err(|err| failed(&err))?;
    let group = usize::try_from(parts.split).map_or(GROUP_BYTES, |split| split.min(GROUP_BYTES));
    let mut open: Option<SerializedFileWriter<F>> = None;
    let mut line = String::new();
    loop {
        let mut buffers: Vec<Buffer> = columns.iter().map(|(_, kind)| Buffer::new(*kind)).collect();
        let mut bytes = 0;
        while bytes < group && rows.next(&mut line)? {
            let Ok(Value::List(cells)) = from_json(&line) else {
                return Err(Reason::defect("a line of cells is not a JSON list"));
            };
            let mut cells = cells.into_iter();
            for buffer in &mut buffers {
                // Columns that appeared later are null in earlier rows.
                let cell = cells.next().unwrap_or(Value::Null);
                buffer
                    .push(cell)
                    .ok_or_else(|| Reason::defect("a cell is not of its column's type"))?;
            }
            bytes += line.len();
        }
        if bytes == 0 {
            break;
        }
        let full = |file: &SerializedFileWriter<F>| file.bytes_written() as u64 >= parts.split;
        if let Some(done) = open.take_if(|file| full(file)) {
            parts.files.push(finished(done)?);
        }
        let file = match &mut open {
            Some(file) => file,
            None => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_created_by(concat!("rowcast ", env!("CARGO_PKG_VERSION")).to_owned())
                    .build();
                let new = parts.begin()?;
                let file =
                    SerializedFileWriter::new(new, Arc::clone(&schema), Arc::new(properties));
                open.insert(file.map_err(|err| failed(&err))?)
            }
        };
        file.next_row_group()
            .and_then(|group| write_group(group, buffers))
            .map_err(|err| failed(&err))?;
    }
    if let Some(last) = open {
        parts.files.push(finished(last)?);
    }
    Ok(())
}

fn write_group<F: Write + Send>(
    mut group: SerializedRowGroupWriter<'_, F>,
    buffers: Vec<Buffer>,
) -> Result<(), ParquetError> {
    for buffer in buffers {
        let Some(mut column) = group.next_column()? else {
            break;
        };
        buffer.write(column.untyped())?;
        column.close()?;
    }
    group.close()?;
    Ok(())
}

fn finished<F: Write + Send>(file: SerializedFileWriter<F>) -> Result<F, Reason> {
    let mut inner = file.into_inner().map_err(|err| failed(&err))?;
    inner
        .flush()
        .map_err(|err| crate::format::unwritten(&err))?;
    Ok(inner)
}

fn failed(err: &ParquetError) -> Reason {
    Reason::new(
        Code::FileUnwritable,
        "can't write a Parquet file of the run",
    )
    .detail(err.to_string())
    .hint("nothing of this run was published; look at the folder and the disk")
}

fn schema(columns: &[(String, Kind)]) -> Result<TypePtr, ParquetError> {
    let fields: Result<Vec<TypePtr>, _> = columns
        .iter()
        .map(|(name, kind)| field(name, *kind).map(Arc::new))
        .collect();
    let schema = Type::group_type_builder("rowcast")
        .with_fields(fields?)
        .build()?;
    Ok(Arc::new(schema))
}

fn field(name: &str, kind: Kind) -> Result<Type, ParquetError> {
    let (digits, scale) = kind.precision();
    let instant = |utc| Some(LogicalType::timestamp(utc, TimeUnit::MICROS));
    let (physical, logical, length) = match kind {
        Kind::Boolean => (Physical::BOOLEAN, None, 0),
        Kind::BigInt => (Physical::INT64, None, 0),
        Kind::Double => (Physical::DOUBLE, None, 0),
        Kind::Decimal { .. } => {
            let logical = LogicalType::decimal(scale as i32, digits as i32);
            if digits <= DIGITS_SMALL {
                (Physical::INT64, Some(logical), 0)
            } else {
                (Physical::FIXED_LEN_BYTE_ARRAY, Some(logical), 16)
            }
        }
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String), 0),
        Kind::Bytes => (Physical::BYTE_ARRAY, None, 0),
        Kind::Date => (Physical::INT32, Some(LogicalType::Date), 0),
        Kind::Time => {
            let logical = LogicalType::time(false, TimeUnit::MICROS);
            (Physical::INT64, Some(logical), 0)
        }
        Kind::Timestamp => (Physical::INT64, instant(false), 0),
        Kind::TimestampTz => (Physical::INT64, instant(true), 0),
        Kind::Uuid => (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Uuid), 16),
    };
    let decimal = matches!(kind, Kind::Decimal { .. });
    let mut builder = Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .with_length(length);
    if decimal {
        builder = builder
            .with_precision(digits as i32)
            .with_scale(scale as i32);
    }
    builder.build()
}

/// The values of one column of a row group, and which rows have one.
struct Buffer {
    kind: Kind,
    present: Vec<i16>,
    values: Values,
}

enum Values {
    Boolean(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Double(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

impl Buffer {
    fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Boolean => Values::Boolean(Vec::new()),
            Kind::Date => Values::Int32(Vec::new()),
            Kind::Double => Values::Double(Vec::new()),
            Kind::Text | Kind::Bytes => Values::Bytes(Vec::new()),
            Kind::Uuid => Values::Fixed(Vec::new()),
            Kind::Decimal { .. } if kind.precision().0 > DIGITS_SMALL => Values::Fixed(Vec::new()),
            _ => Values::Int64(Vec::new()),
        };
        Self {
            kind,
            present: Vec::new(),
            values,
        }
    }

    fn push(&mut self, cell: Value) -> Option<()> {
        if cell.is_null() {
            self.present.push(0);
            return Some(());
        }
        let scale = self.kind.precision().1;
        match (&mut self.values, self.kind, cell) {
            (Values::Boolean(values), _, Value::Bool(value)) => values.push(value),
            (Values::Int32(values), _, Value::Int(value)) => {
                values.push(i32::try_from(value).ok()?);
            }
            (Values::Int64(values), _, Value::Int(value)) => values.push(value),
            (Values::Int64(values), _, Value::Text(text)) => {
                values.push(i64::try_from(unscaled(&text, scale)?).ok()?);
            }
            (Values::Double(values), _, Value::Int(bits)) => {
                values.push(f64::from_bits(bits as u64));
            }
            (Values::Bytes(values), Kind::Bytes, Value::Text(text)) => {
                values.push(STANDARD.decode(text.as_bytes()).ok()?.into());
            }
            (Values::Bytes(values), _, Value::Text(text)) => {
                values.push(text.into_string().into_bytes().into());
            }
            (Values::Fixed(values), Kind::Uuid, Value::Text(text)) => {
                let digits = text.replace('-', "");
                let number = u128::from_str_radix(&digits, 16).ok()?;
                values.push(number.to_be_bytes().to_vec().into());
            }
            (Values::Fixed(values), _, Value::Text(text)) => {
                values.push(unscaled(&text, scale)?.to_be_bytes().to_vec().into());
            }
            _ => return None,
        }
        self.present.push(1);
        Some(())
    }

    fn write(&self, column: &mut ColumnWriter<'_>) -> Result<(), ParquetError> {
        let present = Some(self.present.as_slice());
        let written = match (&self.values, column) {
            (Values::Boolean(v), ColumnWriter::BoolColumnWriter(to)) => {
                to.write_batch(v, present, None)
            }
            (Values::Int32(v), ColumnWriter::Int32ColumnWriter(to)) => {
                to.write_batch(v, present, None)
            }
            (Values::Int64(v), ColumnWriter::Int64ColumnWriter(to)) => {
                to.write_batch(v, present, None)
            }
            (Values::Double(v), ColumnWriter::DoubleColumnWriter(to)) => {
                to.write_batch(v, present, None)
            }
            (Values::Bytes(v), ColumnWriter::ByteArrayColumnWriter(to)) => {
                to.write_batch(v, present, None)
            }
            (Values::Fixed(v), ColumnWriter::FixedLenByteArrayColumnWriter(to)) => {
                to.write_batch(v, present, None)
            }
            _ => Err(ParquetError::General(
                "a column has another type than its values".to_owned(),
            )),
        };
        written.map(|_| ())
    }
}
