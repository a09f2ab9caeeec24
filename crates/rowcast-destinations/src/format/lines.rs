//! JSON lines in files of bounded size. A line is never divided.

use std::io::Write;

use rowcast_core::Reason;

use super::{Counted, Parts, Rows, unwritten};

/// Copies lines into as many files as the size asks for.
pub(super) fn files<F: Write>(mut rows: Rows, parts: &mut Parts<'_, F>) -> Result<(), Reason> {
    let mut line = String::new();
    let mut open: Option<Counted<F>> = None;
    while rows.next(&mut line)? {
        line.push('\n');
        let full = |file: &Counted<F>| file.bytes + line.len() as u64 > parts.split;
        if let Some(done) = open.take_if(|file| full(file)) {
            finish(done, parts)?;
        }
        let file = match &mut open {
            Some(file) => file,
            None => open.insert(Counted::new(parts.begin()?)),
        };
        file.write_all(line.as_bytes())
            .map_err(|err| unwritten(&err))?;
    }
    match open {
        Some(last) => finish(last, parts),
        None => Ok(()),
    }
}

fn finish<F: Write>(mut done: Counted<F>, parts: &mut Parts<'_, F>) -> Result<(), Reason> {
    done.flush().map_err(|err| unwritten(&err))?;
    parts.files.push(done.file);
    Ok(())
}
