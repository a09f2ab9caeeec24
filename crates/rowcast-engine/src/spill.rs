//! Accepted settlements waiting for the destination to publish (semantics 15).
//!
//! The first ones stay in memory; from then on they go to a temporary file that has no name any
//! more when it is opened, so that nothing is left behind by a crash. Memory stays bounded
//! whatever the size of the model.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use rowcast_core::json::{from_json, to_json};
use rowcast_core::settle::{Settled, Verdict};
use rowcast_core::{Code, Key, KeyPart, Kind, Operation, Reason, Value};

/// Settlements kept in memory before a file is begun.
const MEMORY_MAX: usize = 10_000;

/// A settlement and the intent it was announced under.
pub(crate) type Accepted = (Settled, i64, bool);

/// Settlements in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Spill {
    memory: Vec<Accepted>,
    file: Option<BufWriter<File>>,
    count: u64,
}

impl Spill {
    /// Keeps a settlement.
    pub(crate) fn push(&mut self, accepted: Accepted) -> Result<(), Reason> {
        self.count += 1;
        self.memory.push(accepted);
        if self.memory.len() >= MEMORY_MAX {
            self.write_out().map_err(|error| unwritable(&error))?;
        }
        Ok(())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    fn write_out(&mut self) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(nameless_file()?)),
        };
        for accepted in self.memory.drain(..) {
            write_settled(file, &accepted)?;
        }
        Ok(())
    }

    /// Reads them back.
    pub(crate) fn drain(self) -> Result<Drain, Reason> {
        let file = match self.file {
            None => None,
            Some(mut file) => {
                let open = || -> std::io::Result<File> {
                    file.flush()?;
                    let mut file = file
                        .into_inner()
                        .map_err(std::io::IntoInnerError::into_error)?;
                    file.seek(SeekFrom::Start(0))?;
                    Ok(file)
                };
                Some(BufReader::new(open().map_err(|error| unwritable(&error))?))
            }
        };
        Ok(Drain {
            in_file: self.count - self.memory.len() as u64,
            file,
            memory: self.memory.into_iter(),
        })
    }
}

/// The settlements again, in their order.
#[derive(Debug)]
pub(crate) struct Drain {
    in_file: u64,
    file: Option<BufReader<File>>,
    memory: std::vec::IntoIter<Accepted>,
}

impl Drain {
    /// The next one.
    pub(crate) fn next(&mut self) -> Result<Option<Accepted>, Reason> {
        if self.in_file > 0
            && let Some(file) = &mut self.file
        {
            self.in_file -= 1;
            return read_settled(file)
                .map(Some)
                .map_err(|error| unwritable(&error));
        }
        Ok(self.memory.next())
    }
}

fn unwritable(error: &std::io::Error) -> Reason {
    Reason::new(
        Code::SpoolFull,
        "could not keep the accepted records in a temporary file",
    )
    .detail(error.to_string())
    .hint("make room in the temporary folder, or point TMPDIR at another disk")
}

fn nameless_file() -> std::io::Result<File> {
    let folder = std::env::temp_dir();
    for attempt in 0_u32.. {
        let name = format!("rowcast-accepted-{}-{attempt}", std::process::id());
        let path: PathBuf = folder.join(name);
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("a free name exists among four billion")
}

// The form: length-prefixed texts and little-endian numbers, read back by the same process only.

fn write_text(out: &mut impl Write, text: &str) -> std::io::Result<()> {
    out.write_all(&(text.len() as u32).to_le_bytes())?;
    out.write_all(text.as_bytes())
}

fn write_optional(out: &mut impl Write, text: Option<&str>) -> std::io::Result<()> {
    out.write_all(&[u8::from(text.is_some())])?;
    text.map_or(Ok(()), |text| write_text(out, text))
}

fn write_settled(
    out: &mut impl Write,
    (settled, intent, counted): &Accepted,
) -> std::io::Result<()> {
    let operation = match settled.verdict {
        Verdict::Delivered(operation) => operation.letter(),
        _ => 'x',
    };
    let kind = match settled.kind {
        Kind::Added => 0,
        Kind::Updated => 1,
        Kind::Removed => 2_u8,
    };
    out.write_all(&[
        operation as u8,
        kind,
        u8::from(settled.retried),
        u8::from(*counted),
        u8::from(settled.checksum.is_some()),
        settled.key.0.len() as u8,
    ])?;
    out.write_all(&intent.to_le_bytes())?;
    out.write_all(&settled.checksum.unwrap_or(0).to_le_bytes())?;
    for part in &settled.key.0 {
        match part {
            KeyPart::Int(value) => {
                out.write_all(b"i")?;
                out.write_all(&value.to_le_bytes())?;
            }
            KeyPart::Decimal(text) => {
                out.write_all(b"d")?;
                write_text(out, text)?;
            }
            KeyPart::Text(text) => {
                out.write_all(b"t")?;
                write_text(out, text)?;
            }
        }
    }
    let values = settled.match_values.as_deref();
    out.write_all(&[u8::from(values.is_some())])?;
    let values = values.unwrap_or_default();
    out.write_all(&(values.len() as u32).to_le_bytes())?;
    for value in values {
        write_value(out, value)?;
    }
    write_optional(out, settled.sent.as_deref())?;
    write_optional(out, settled.idempotency_key.as_deref())
}

/// Match values keep their type, because state compares them with a column.
fn write_value(out: &mut impl Write, value: &Value) -> std::io::Result<()> {
    let number = |out: &mut dyn Write, tag: u8, bits: i64| {
        out.write_all(&[tag])?;
        out.write_all(&bits.to_le_bytes())
    };
    match value {
        Value::Null => out.write_all(b"n"),
        Value::Bool(value) => number(out, b'b', i64::from(*value)),
        Value::Int(value) => number(out, b'i', *value),
        Value::Float {
            value,
            single: false,
        } => number(out, b'f', value.to_bits() as i64),
        Value::Float {
            value,
            single: true,
        } => number(out, b's', value.to_bits() as i64),
        Value::Date(days) => number(out, b'D', i64::from(*days)),
        Value::Time(us) => number(out, b'T', *us),
        Value::Timestamp(us) => number(out, b'S', *us),
        Value::TimestampTz(us) => number(out, b'Z', *us),
        Value::Decimal(text) => {
            out.write_all(b"d")?;
            write_text(out, text)
        }
        Value::Text(text) => {
            out.write_all(b"t")?;
            write_text(out, text)
        }
        Value::Json(text) => {
            out.write_all(b"j")?;
            write_text(out, text)
        }
        Value::Bytes(bytes) => {
            out.write_all(b"y")?;
            out.write_all(&(bytes.len() as u32).to_le_bytes())?;
            out.write_all(bytes)
        }
        Value::Uuid(bytes) => {
            out.write_all(b"u")?;
            out.write_all(bytes)
        }
        Value::List(items) => {
            out.write_all(b"l")?;
            out.write_all(&(items.len() as u32).to_le_bytes())?;
            items.iter().try_for_each(|item| write_value(out, item))
        }
        // No column has this type; its JSON is enough.
        Value::Object(_) => {
            out.write_all(b"o")?;
            write_text(out, &to_json(value))
        }
    }
}

fn read_array<const N: usize>(from: &mut impl Read) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_number(from: &mut impl Read) -> std::io::Result<i64> {
    read_array(from).map(i64::from_le_bytes)
}

fn read_bytes(from: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; u32::from_le_bytes(read_array(from)?) as usize];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_text(from: &mut impl Read) -> std::io::Result<String> {
    String::from_utf8(read_bytes(from)?).map_err(|_| garbled())
}

fn read_optional(from: &mut impl Read) -> std::io::Result<Option<String>> {
    match read_array::<1>(from)? {
        [0] => Ok(None),
        _ => read_text(from).map(Some),
    }
}

fn garbled() -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::InvalidData,
        "the temporary file was changed by someone else",
    )
}

fn read_settled(from: &mut impl Read) -> std::io::Result<Accepted> {
    let [operation, kind, retried, counted, has_checksum, parts] = read_array(from)?;
    let operation = Operation::from_letter(char::from(operation)).ok_or_else(garbled)?;
    let kind = match kind {
        0 => Kind::Added,
        1 => Kind::Updated,
        _ => Kind::Removed,
    };
    let intent = read_number(from)?;
    let checksum = read_number(from)?;
    let mut key = Vec::with_capacity(parts.into());
    for _ in 0..parts {
        key.push(match &read_array::<1>(from)? {
            b"i" => KeyPart::Int(read_number(from)?),
            b"d" => KeyPart::Decimal(read_text(from)?.into()),
            b"t" => KeyPart::Text(read_text(from)?.into()),
            _ => return Err(garbled()),
        });
    }
    let has_match = read_array::<1>(from)? != [0];
    let values = u32::from_le_bytes(read_array(from)?);
    let values = (0..values)
        .map(|_| read_value(from))
        .collect::<Result<Vec<_>, _>>()?;
    let settled = Settled {
        key: Key(key.into()),
        kind,
        checksum: (has_checksum != 0).then_some(checksum),
        verdict: Verdict::Delivered(operation),
        retried: retried != 0,
        match_values: has_match.then_some(values),
        sent: read_optional(from)?,
        idempotency_key: read_optional(from)?,
        keep_state: false,
    };
    Ok((settled, intent, counted != 0))
}

fn read_value(from: &mut impl Read) -> std::io::Result<Value> {
    Ok(match &read_array::<1>(from)? {
        b"n" => Value::Null,
        b"b" => Value::Bool(read_number(from)? != 0),
        b"i" => Value::Int(read_number(from)?),
        b"f" => Value::float(f64::from_bits(read_number(from)? as u64)),
        b"s" => Value::Float {
            value: f64::from_bits(read_number(from)? as u64),
            single: true,
        },
        b"D" => Value::Date(read_number(from)? as i32),
        b"T" => Value::Time(read_number(from)?),
        b"S" => Value::Timestamp(read_number(from)?),
        b"Z" => Value::TimestampTz(read_number(from)?),
        b"d" => Value::Decimal(read_text(from)?.into()),
        b"t" => Value::Text(read_text(from)?.into()),
        b"j" => Value::Json(read_text(from)?.into()),
        b"y" => Value::Bytes(read_bytes(from)?.into()),
        b"u" => Value::Uuid(read_array(from)?),
        b"l" => {
            let items = u32::from_le_bytes(read_array(from)?);
            Value::List(
                (0..items)
                    .map(|_| read_value(from))
                    .collect::<Result<_, _>>()?,
            )
        }
        b"o" => from_json(&read_text(from)?).map_err(|_| garbled())?,
        _ => return Err(garbled()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settlements_come_back_as_they_went_in_from_memory_and_from_the_file() {
        let item = |i: i64| -> Accepted {
            let settled = Settled {
                key: Key::from([
                    KeyPart::Int(i),
                    KeyPart::Text("é\n".into()),
                    KeyPart::Decimal("1.50".into()),
                ]),
                kind: [Kind::Added, Kind::Updated, Kind::Removed][i as usize % 3],
                checksum: (i % 2 == 0).then_some(-i),
                verdict: Verdict::Delivered(Operation::ALL[i as usize % 4]),
                retried: i % 5 == 0,
                match_values: (i % 7 != 0).then(|| {
                    vec![
                        Value::text("a@b"),
                        Value::TimestampTz(i),
                        Value::Uuid([i as u8; 16]),
                        Value::float(0.1),
                        Value::Null,
                        Value::List(vec![Value::Date(3), Value::Bytes(Box::from(*b"x"))]),
                    ]
                }),
                sent: (i % 3 == 0).then(|| format!("{{\"n\":{i}}}")),
                idempotency_key: Some("k".into()),
                keep_state: false,
            };
            (settled, i / 10, i % 2 == 0)
        };
        let count = MEMORY_MAX as i64 * 2 + 5;
        let mut spill = Spill::default();
        for i in 0..count {
            spill.push(item(i)).unwrap();
        }
        assert_eq!(spill.len(), count as u64);
        let mut drain = spill.drain().unwrap();
        for i in 0..count {
            assert_eq!(drain.next().unwrap(), Some(item(i)));
        }
        assert_eq!(drain.next().unwrap(), None);
    }
}
