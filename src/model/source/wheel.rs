//! Reads one member of a Python wheel (a zip archive), with bounds on everything the archive claims.
//!
//! Only what wheels use: stored and deflated members, no encryption, no ZIP64, one disk. Offsets, sizes and counts are
//! checked against the file before they are used; the member's length and CRC-32 are checked as it is read.
//! Source: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.

use std::io::{self, Read, Seek, SeekFrom, Take};

use flate2::Crc;
use flate2::read::DeflateDecoder;

const END_OF_DIRECTORY: u32 = 0x0605_4b50;
const DIRECTORY_ENTRY: u32 = 0x0201_4b50;
const LOCAL_HEADER: u32 = 0x0403_4b50;

const END_LEN: usize = 22;
const ENTRY_LEN: usize = 46;
const LOCAL_LEN: usize = 30;

/// A directory larger than this is not a wheel's: 65,535 members with paths of 200 bytes fit.
const MAX_DIRECTORY: u64 = 16 << 20;

/// What is wrong with a wheel.
#[derive(Debug, thiserror::Error)]
pub(super) enum WheelError {
    #[error("cannot read the wheel: {0}")]
    Io(#[from] io::Error),
    #[error("not a zip archive: no end-of-directory record")]
    NotZip,
    #[error("damaged wheel: {0}")]
    Damaged(&'static str),
    #[error("the wheel has no member `{0}`")]
    NoMember(String),
    #[error("member `{member}` {fault}")]
    Unsupported { member: String, fault: String },
}

/// Opens `member` for reading. Fails if it claims more than `max` bytes.
pub(super) fn open_member<R: Read + Seek>(mut from: R, member: &str, max: u64) -> Result<Member<R>, WheelError> {
    let len = from.seek(SeekFrom::End(0))?;
    let (offset, size) = find_directory(&mut from, len)?;
    from.seek(SeekFrom::Start(offset))?;
    let mut directory = vec![0; usize::try_from(size).ok().ok_or(WheelError::Damaged("directory size"))?];
    from.read_exact(&mut directory)?;
    let entry = find_entry(&directory, member)?;
    let unsupported = |fault: String| WheelError::Unsupported { member: member.to_owned(), fault };
    if entry.flags & 1 != 0 {
        return Err(unsupported("is encrypted".to_owned()));
    }
    if entry.compressed == u32::MAX || entry.size == u32::MAX || entry.offset == u32::MAX {
        return Err(unsupported("needs ZIP64, which is not supported".to_owned()));
    }
    if u64::from(entry.size) > max {
        return Err(unsupported(format!("has {} bytes, at most {max} expected", entry.size)));
    }
    from.seek(SeekFrom::Start(u64::from(entry.offset)))?;
    let mut local = [0; LOCAL_LEN];
    from.read_exact(&mut local)?;
    if u32_at(&local, 0) != Some(LOCAL_HEADER) {
        return Err(WheelError::Damaged("local header"));
    }
    let skip = u64::from(u16_at(&local, 26).unwrap_or(0)) + u64::from(u16_at(&local, 28).unwrap_or(0));
    let data = u64::from(entry.offset) + LOCAL_LEN as u64 + skip;
    if data.checked_add(u64::from(entry.compressed)).is_none_or(|end| end > len) {
        return Err(WheelError::Damaged("member reaches past the end"));
    }
    from.seek(SeekFrom::Start(data))?;
    let packed = from.take(u64::from(entry.compressed));
    let body = match entry.method {
        0 => Body::Stored(packed),
        8 => Body::Deflated(Box::new(DeflateDecoder::new(packed))),
        other => return Err(unsupported(format!("uses compression method {other}, which is not supported"))),
    };
    let size = u64::from(entry.size);
    Ok(Member { body, crc: Crc::new(), expected_crc: entry.crc, size, left: size, checked: false })
}

/// A member being read. Ends with an error if it is shorter or longer than the directory says, or its CRC differs.
#[derive(Debug)]
pub(super) struct Member<R: Read> {
    body: Body<R>,
    crc: Crc,
    expected_crc: u32,
    size: u64,
    left: u64,
    checked: bool,
}

#[derive(Debug)]
enum Body<R: Read> {
    Stored(Take<R>),
    Deflated(Box<DeflateDecoder<Take<R>>>),
}

impl<R: Read> Member<R> {
    /// Size the directory claims.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.body {
            Body::Stored(body) => body.read(buffer),
            Body::Deflated(body) => body.read(buffer),
        }
    }
}

impl<R: Read> Read for Member<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let damaged = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, WheelError::Damaged(what));
        if buffer.is_empty() || self.checked {
            return Ok(0);
        }
        if self.left == 0 {
            if self.read_body(&mut [0])? != 0 {
                return Err(damaged("member is longer than its directory entry says"));
            }
            if self.crc.sum() != self.expected_crc {
                return Err(damaged("CRC-32 of the member differs"));
            }
            self.checked = true;
            return Ok(0);
        }
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.read_body(&mut buffer[..want])?;
        if n == 0 {
            return Err(damaged("member is shorter than its directory entry says"));
        }
        self.crc.update(&buffer[..n]);
        self.left -= n as u64;
        Ok(n)
    }
}

/// Offset and size of the central directory.
fn find_directory<R: Read + Seek>(from: &mut R, len: u64) -> Result<(u64, u64), WheelError> {
    // The record is the last thing in the file but for a comment of at most 65,535 bytes.
    let tail_len = len.min(END_LEN as u64 + u64::from(u16::MAX));
    from.seek(SeekFrom::Start(len - tail_len))?;
    let mut tail = vec![0; usize::try_from(tail_len).ok().ok_or(WheelError::NotZip)?];
    from.read_exact(&mut tail)?;
    let last = tail.len().checked_sub(END_LEN).ok_or(WheelError::NotZip)?;
    let at = (0..=last)
        .rev()
        .find(|&at| {
            u32_at(&tail, at) == Some(END_OF_DIRECTORY)
                && u16_at(&tail, at + 20).is_some_and(|comment| at + END_LEN + usize::from(comment) == tail.len())
        })
        .ok_or(WheelError::NotZip)?;
    let disks = (u16_at(&tail, at + 4), u16_at(&tail, at + 6));
    if disks != (Some(0), Some(0)) {
        return Err(WheelError::Damaged("spans several disks"));
    }
    let size = u64::from(u32_at(&tail, at + 12).ok_or(WheelError::NotZip)?);
    let offset = u64::from(u32_at(&tail, at + 16).ok_or(WheelError::NotZip)?);
    let end = len - tail_len + at as u64;
    if size > MAX_DIRECTORY || offset.checked_add(size).is_none_or(|directory_end| directory_end > end) {
        return Err(WheelError::Damaged("directory lies outside the file or is too large"));
    }
    Ok((offset, size))
}

#[derive(Debug)]
struct Entry {
    flags: u16,
    method: u16,
    crc: u32,
    compressed: u32,
    size: u32,
    offset: u32,
}

fn find_entry(directory: &[u8], member: &str) -> Result<Entry, WheelError> {
    let mut rest = directory;
    while rest.len() >= ENTRY_LEN && u32_at(rest, 0) == Some(DIRECTORY_ENTRY) {
        let short = |at| u16_at(rest, at).ok_or(WheelError::Damaged("directory entry"));
        let long = |at| u32_at(rest, at).ok_or(WheelError::Damaged("directory entry"));
        let (name_len, extra_len, comment_len) = (short(28)?, short(30)?, short(32)?);
        let name_end = ENTRY_LEN + usize::from(name_len);
        let name = rest.get(ENTRY_LEN..name_end).ok_or(WheelError::Damaged("directory entry"))?;
        if name == member.as_bytes() {
            return Ok(Entry {
                flags: short(8)?,
                method: short(10)?,
                crc: long(16)?,
                compressed: long(20)?,
                size: long(24)?,
                offset: long(42)?,
            });
        }
        let next = name_end + usize::from(extra_len) + usize::from(comment_len);
        rest = rest.get(next..).ok_or(WheelError::Damaged("directory entry"))?;
    }
    Err(WheelError::NoMember(member.to_owned()))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use flate2::Compression;
    use flate2::write::DeflateEncoder;
    use proptest::prelude::*;

    use super::*;

    /// A zip archive as Python's `zipfile` writes it.
    fn zip(members: &[(&str, &[u8], bool)]) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for (name, contents, deflate) in members {
            let packed = if *deflate {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(contents).unwrap();
                encoder.finish().unwrap()
            } else {
                contents.to_vec()
            };
            let mut crc = Crc::new();
            crc.update(contents);
            let offset = u32::try_from(out.len()).unwrap();
            let mut common = Vec::new();
            for short in [20, 0, if *deflate { 8 } else { 0 }, 0, 0] {
                common.extend_from_slice(&u16::to_le_bytes(short));
            }
            for long in [crc.sum(), packed.len() as u32, contents.len() as u32] {
                common.extend_from_slice(&long.to_le_bytes());
            }
            common.extend_from_slice(&(name.len() as u16).to_le_bytes());
            out.extend_from_slice(&LOCAL_HEADER.to_le_bytes());
            out.extend_from_slice(&common);
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&packed);
            directory.extend_from_slice(&DIRECTORY_ENTRY.to_le_bytes());
            directory.extend_from_slice(&[20, 0]);
            directory.extend_from_slice(&common);
            directory.extend_from_slice(&[0; 12]);
            directory.extend_from_slice(&offset.to_le_bytes());
            directory.extend_from_slice(name.as_bytes());
        }
        let offset = out.len() as u32;
        let count = (members.len() as u16).to_le_bytes();
        out.extend_from_slice(&directory);
        out.extend_from_slice(&END_OF_DIRECTORY.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&count);
        out.extend_from_slice(&count);
        out.extend_from_slice(&(directory.len() as u32).to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out
    }

    fn read(archive: &[u8], member: &str, max: u64) -> Result<Vec<u8>, String> {
        let mut contents = Vec::new();
        open_member(Cursor::new(archive), member, max)
            .map_err(|error| error.to_string())?
            .read_to_end(&mut contents)
            .map_err(|error| error.to_string())?;
        Ok(contents)
    }

    #[test]
    fn stored_and_deflated_members_are_read_by_name() {
        let long = b"weights ".repeat(10_000);
        let archive = zip(&[("a/METADATA", b"x", true), ("a/m.gguf", &long, true), ("b", b"stored", false)]);
        assert_eq!(read(&archive, "a/m.gguf", u64::MAX).unwrap(), long);
        assert_eq!(read(&archive, "b", 6).unwrap(), b"stored");
        assert_eq!(read(&archive, "c", 6).unwrap_err(), "the wheel has no member `c`");
        assert!(read(&archive, "b", 5).unwrap_err().contains("has 6 bytes, at most 5 expected"));
    }

    #[test]
    fn a_changed_byte_or_a_false_length_is_found() {
        let good = zip(&[("b", b"stored", false)]);
        let mut flipped = good.clone();
        flipped[LOCAL_LEN + 1] ^= 1;
        assert!(read(&flipped, "b", 6).unwrap_err().contains("CRC-32"));
        let entry = good.len() - END_LEN - ENTRY_LEN - 1;
        for (claim, fault) in [(5u32, "longer"), (7, "shorter")] {
            let mut lied = good.clone();
            lied[entry + 24..entry + 28].copy_from_slice(&claim.to_le_bytes());
            assert!(read(&lied, "b", 99).unwrap_err().contains(fault));
        }
        assert!(read(&good[..good.len() - 1], "b", 6).unwrap_err().contains("not a zip archive"));
        assert!(read(b"", "b", 6).unwrap_err().contains("not a zip archive"));
    }

    proptest! {
        #[test]
        fn any_member_is_read_back(contents in proptest::collection::vec(any::<u8>(), 0..2000), deflate in any::<bool>()) {
            let archive = zip(&[("first", b"1", !deflate), ("m", &contents, deflate)]);
            prop_assert_eq!(read(&archive, "m", u64::MAX).unwrap(), contents);
        }

        #[test]
        fn no_damage_panics_or_passes_as_other_contents(
            edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let contents = b"weights ".repeat(40);
            let mut archive = zip(&[("first", b"1", false), ("m", &contents, true)]);
            for (at, byte) in edits {
                let at = at.index(archive.len());
                archive[at] = byte;
            }
            if let Ok(read) = read(&archive, "m", 4096) {
                prop_assert_eq!(&read, &contents);
            }
            archive.truncate(cut.index(archive.len()));
            let _ = super::tests::read(&archive, "m", 4096);
        }

        #[test]
        fn noise_is_refused_without_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(read(&noise, "m", 4096).is_err());
        }
    }
}
