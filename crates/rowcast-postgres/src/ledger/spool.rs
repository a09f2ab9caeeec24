//! The change set of a run on the worker's disk: bounded, gone with the process.
//!
//! The first part of a spool is written as it is, because compressing costs more time than writing
//! to the page cache; what comes behind it is compressed, because a large spool costs disk space.
//! It is never the source of truth: state moves only on acknowledgement, so losing the spool means
//! diffing again. It must not grow without limit and must not fill the disk.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rowcast_core::{Code, Reason};

/// Tuples are compressed together in blocks of about this many bytes.
const BLOCK_BYTES: usize = 256 * 1024;
/// So many bytes are written as they are, before blocks are compressed; never more than a quarter
/// of what the spool may hold.
const PLAIN_BYTES: u64 = 512 * 1024 * 1024;
/// Set in the length of a block that is compressed.
const COMPRESSED: u32 = 1 << 31;
/// Free space is looked at after so many written bytes.
const SPACE_CHECK_BYTES: u64 = 64 * 1024 * 1024;
/// Space that is left to others on the disk.
const RESERVE_BYTES: u64 = 256 * 1024 * 1024;

/// Where spools live and how large they may grow.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    pub dir: PathBuf,
    /// Most bytes on disk for one run.
    pub max_bytes: u64,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        // 20 GB holds the first sync of about 100 million narrow rows.
        Self {
            dir: std::env::temp_dir(),
            max_bytes: 20_000_000_000,
        }
    }
}

/// One ordered sequence of tuples: appended to, then read once.
#[derive(Debug, Default)]
struct Segment {
    buffer: Vec<u8>,
    file: Option<File>,
    blocks: u64,
    tuples: u64,
}

/// The segments of a change set, in the order they are sent.
#[derive(Debug)]
pub(super) struct Spool {
    config: SpoolConfig,
    segments: [Segment; PARTS],
    bytes: u64,
    checked: u64,
}

/// Which part of the change set a tuple belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Removed = 0,
    Known = 1,
    New = 2,
    /// New rows of the upper half: behind the lower half, as an index has them.
    NewAbove = 3,
}

pub(super) const PARTS: usize = 4;

impl Spool {
    /// An empty spool; nothing touches the disk before a segment outgrows its buffer.
    pub(super) fn new(config: SpoolConfig) -> Self {
        Self {
            config,
            segments: Default::default(),
            bytes: 0,
            checked: 0,
        }
    }

    /// Appends a tuple, given in two pieces.
    ///
    /// # Errors
    /// The spool or the disk is full, or can't be written.
    pub(super) fn push(&mut self, part: Part, tuple: [&[u8]; 2]) -> Result<(), Reason> {
        let segment = &mut self.segments[part as usize];
        let length = u32::try_from(tuple[0].len() + tuple[1].len());
        let length = length.map_err(|_| Reason::defect("a tuple over 4 GB"))?;
        segment.buffer.extend_from_slice(&length.to_le_bytes());
        for piece in tuple {
            segment.buffer.extend_from_slice(piece);
        }
        segment.tuples += 1;
        if segment.buffer.len() >= BLOCK_BYTES {
            self.flush(part)?;
        }
        Ok(())
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn flush(&mut self, part: Part) -> Result<(), Reason> {
        let dir = self.config.dir.clone();
        let segment = &mut self.segments[part as usize];
        let plain = self.bytes < PLAIN_BYTES.min(self.config.max_bytes / 4);
        let packed = (!plain).then(|| lz4_flex::block::compress_prepend_size(&segment.buffer));
        let block = packed.as_ref().unwrap_or(&segment.buffer);
        let length = block.len() as u32 | if plain { 0 } else { COMPRESSED };
        let written = block.len() as u64 + 4;
        let io = |error| unwritable(&dir, &error);
        if segment.file.is_none() {
            std::fs::create_dir_all(&dir).map_err(io)?;
            segment.file = Some(tempfile::tempfile_in(&dir).map_err(io)?);
        }
        if let Some(file) = &mut segment.file {
            file.write_all(&length.to_le_bytes()).map_err(io)?;
            file.write_all(block).map_err(io)?;
        }
        segment.blocks += 1;
        segment.buffer.clear();
        self.bytes += written;
        if self.bytes > self.config.max_bytes {
            return Err(Reason::new(
                Code::SpoolFull,
                format!("the change set does not fit the spool in {}", dir.display()),
            )
            .detail(format!("more than {} bytes are needed", self.config.max_bytes))
            .hint("raise `spool: { max: … }` in rowcast.yml, or bound the run with `run: { max_records: … }`"));
        }
        if self.bytes - self.checked >= SPACE_CHECK_BYTES || self.checked == 0 {
            self.checked = self.bytes;
            check_space(&dir)?;
        }
        Ok(())
    }

    /// Ends writing. The reader gives at most `max` tuples, in the order of the parts.
    ///
    /// # Errors
    /// The files can't be read from the start.
    pub(super) fn into_reader(self, max: u64) -> Result<SpoolReader, Reason> {
        let mut reader = SpoolReader {
            dir: self.config.dir,
            segments: self.segments,
            max,
            left: 0,
            part: 0,
            read: 0,
            block: Vec::new(),
            position: 0,
        };
        reader.rewind()?;
        Ok(reader)
    }
}

fn check_space(dir: &Path) -> Result<(), Reason> {
    let Ok(stat) = rustix::fs::statvfs(dir) else {
        return Ok(());
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < RESERVE_BYTES {
        return Err(Reason::new(
            Code::SpoolFull,
            format!("the disk of the spool in {} is nearly full", dir.display()),
        )
        .detail(format!(
            "{free} bytes are free, {RESERVE_BYTES} must stay free"
        ))
        .hint("free space, or name another folder with `spool: { dir: … }` in rowcast.yml"));
    }
    Ok(())
}

fn unwritable(dir: &Path, error: &std::io::Error) -> Reason {
    Reason::new(
        Code::SpoolFull,
        format!("can't use the spool folder {}", dir.display()),
    )
    .detail(error.to_string())
    .hint("name a writable folder with `spool: { dir: … }` in rowcast.yml")
}

/// Reads a spool: removed, known, new, new of the upper half.
#[derive(Debug)]
pub(super) struct SpoolReader {
    dir: PathBuf,
    segments: [Segment; PARTS],
    max: u64,
    left: u64,
    part: usize,
    /// Blocks of the present part that were read.
    read: u64,
    block: Vec<u8>,
    position: usize,
}

impl SpoolReader {
    /// Starts again at the first tuple.
    ///
    /// # Errors
    /// The files can't be read from the start.
    pub(super) fn rewind(&mut self) -> Result<(), Reason> {
        for segment in &mut self.segments {
            if let Some(file) = &mut segment.file {
                file.seek(SeekFrom::Start(0))
                    .map_err(|error| unwritable(&self.dir, &error))?;
            }
        }
        self.left = self.max;
        self.part = 0;
        self.read = 0;
        self.block.clear();
        self.position = 0;
        Ok(())
    }

    /// The next tuple, or `None` at the end.
    ///
    /// # Errors
    /// The file can't be read.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Reason> {
        if self.left == 0 {
            return Ok(None);
        }
        while self.position >= self.block.len() {
            if !self.load()? {
                return Ok(None);
            }
        }
        self.left -= 1;
        let start = self.position + 4;
        let length = self
            .block
            .get(self.position..start)
            .and_then(|bytes| bytes.try_into().ok())
            .map(|bytes| u32::from_le_bytes(bytes) as usize)
            .ok_or_else(|| Reason::defect("the spool ends within a tuple"))?;
        self.position = start + length;
        self.block
            .get(start..self.position)
            .map(Some)
            .ok_or_else(|| Reason::defect("the spool ends within a tuple"))
    }

    fn load(&mut self) -> Result<bool, Reason> {
        while let Some(segment) = self.segments.get_mut(self.part) {
            self.position = 0;
            if self.read < segment.blocks {
                self.read += 1;
                let io = |error| unwritable(&self.dir, &error);
                let file = segment
                    .file
                    .as_mut()
                    .ok_or_else(|| Reason::defect("a spool file is missing"))?;
                let mut length = [0; 4];
                file.read_exact(&mut length).map_err(io)?;
                let length = u32::from_le_bytes(length);
                self.block.resize((length & !COMPRESSED) as usize, 0);
                file.read_exact(&mut self.block).map_err(io)?;
                if length & COMPRESSED != 0 {
                    self.block = lz4_flex::block::decompress_size_prepended(&self.block).map_err(
                        |error| Reason::defect(format!("the spool is damaged: {error}")),
                    )?;
                }
                return Ok(true);
            }
            // What never outgrew the buffer, or the rest behind the last block.
            self.block.clone_from(&segment.buffer);
            self.part += 1;
            self.read = 0;
            if !self.block.is_empty() {
                return Ok(true);
            }
        }
        self.block.clear();
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tuples_come_back_by_part_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let config = SpoolConfig {
            dir: dir.path().into(),
            // The first of its three blocks is plain, the others are compressed.
            max_bytes: 1024 * 1024,
        };
        let mut spool = Spool::new(config);
        let long = vec![7_u8; 1000];
        for i in 0..1000_u32 {
            let part = [Part::NewAbove, Part::Removed, Part::New][i as usize % 3];
            spool.push(part, [&i.to_be_bytes(), &long]).unwrap();
        }
        let disk = spool.bytes();
        assert!(
            (BLOCK_BYTES as u64 + 1..3 * BLOCK_BYTES as u64).contains(&disk),
            "{disk} bytes are neither all plain nor all compressed"
        );
        let mut reader = spool.into_reader(u64::MAX).unwrap();
        let mut seen = Vec::new();
        while let Some(tuple) = reader.next().unwrap() {
            seen.push(u32::from_be_bytes(tuple[..4].try_into().unwrap()));
        }
        let expected: Vec<u32> = [1, 2, 0]
            .into_iter()
            .flat_map(|part| (0..1000).filter(move |i| i % 3 == part))
            .collect();
        assert_eq!(seen, expected);
        reader.rewind().unwrap();
        assert_eq!(reader.next().unwrap().unwrap()[..4], 1_u32.to_be_bytes());
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            0,
            "the files have no name"
        );
    }

    #[test]
    fn a_change_set_over_the_limit_is_refused_before_any_request() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(SpoolConfig {
            dir: dir.path().into(),
            max_bytes: 1000,
        });
        let noise: Vec<u8> = (0..BLOCK_BYTES as u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        assert_eq!(
            spool.push(Part::New, [&noise, &[]]).unwrap_err().code,
            Code::SpoolFull
        );
    }
}
