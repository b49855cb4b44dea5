//! The reader against files it must understand and files it must refuse.

use proptest::prelude::*;

use super::*;

/// A small valid file with one of everything: scalars of all types, arrays of all kinds, two tensors.
fn sample() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.put("general.architecture", Value::Str("llama"));
    writer.put("general.file_type", Value::U32(2));
    writer.put("a.u8", Value::U8(7));
    writer.put("a.i8", Value::I8(-7));
    writer.put("a.u16", Value::U16(700));
    writer.put("a.i16", Value::I16(-700));
    writer.put("a.i32", Value::I32(-7));
    writer.put("a.f32", Value::F32(0.5));
    writer.put("a.bool", Value::Bool(true));
    writer.put("a.u64", Value::U64(1 << 40));
    writer.put("a.i64", Value::I64(-1));
    writer.put("a.f64", Value::F64(0.25));
    writer.put_strs("a.strs", &["one", "", "drei ✓"]);
    writer.put_f32s("a.f32s", &[1.0, -2.0]);
    writer.put_i32s("a.i32s", &[1, 2, 3]);
    writer.declare("w", &[32, 2], GgmlType::Q4_0).unwrap();
    writer.declare("norm", &[3], GgmlType::F32).unwrap();
    let w: Vec<u8> = (0..36).collect();
    writer.to_bytes(&[&w, &[1; 12]]).unwrap()
}

fn open(bytes: &[u8]) -> Result<Gguf, GgufError> {
    Gguf::from_bytes("sample.gguf", bytes.to_vec())
}

/// Reads everything a file offers, as later rooms do.
fn touch(gguf: &Gguf) -> usize {
    let nested = |array: Array<'_>| array.iter().map(|v| v.as_array().map_or(1, |a| a.iter().count())).sum::<usize>();
    let values: usize = gguf.entries().map(|(_, v)| v.as_array().map_or(1, nested)).sum();
    let data: usize =
        gguf.tensors.iter().map(|t| gguf.tensor_data(t).iter().map(|&b| usize::from(b)).sum::<usize>()).sum();
    values + data + gguf.n_params() as usize
}

#[test]
fn what_is_written_reads_back() {
    let gguf = open(&sample()).unwrap();
    assert_eq!((gguf.version(), gguf.arch().unwrap(), gguf.level()), (3, "llama", Some(Level::Q4_0)));
    assert_eq!(gguf.get("a.i8"), Some(Value::I8(-7)));
    assert_eq!(gguf.u32("a.u8"), Some(7));
    assert_eq!((gguf.u32("a.i8"), gguf.u32("a.u64"), gguf.u64("a.u64")), (None, None, Some(1 << 40)));
    assert_eq!((gguf.f32("a.f32"), gguf.f32("a.f64"), gguf.bool("a.bool")), (Some(0.5), Some(0.25), Some(true)));
    assert_eq!(gguf.strs("a.strs").unwrap().collect::<Vec<_>>(), ["one", "", "drei ✓"]);
    assert_eq!(gguf.f32s("a.f32s").unwrap(), [1.0, -2.0]);
    assert_eq!(gguf.i32s("a.i32s").unwrap(), [1, 2, 3]);
    let w = gguf.tensor("w").unwrap();
    assert_eq!((w.row_len(), w.n_rows(), w.n_elements(), w.ty, w.bytes), (32, 2, 64, GgmlType::Q4_0, 36));
    assert_eq!(gguf.tensor_data(w), (0..36).collect::<Vec<u8>>());
    assert_eq!(gguf.tensor_data(gguf.tensor("norm").unwrap()), [1; 12]);
    assert_eq!((gguf.n_params(), gguf.tensor_bytes(), gguf.entries().count()), (67, 48, 15));
}

#[test]
fn candle_reads_what_is_written() {
    use candle_core::quantized::gguf_file::{Content, Value as V};
    let content = Content::read(&mut std::io::Cursor::new(sample())).unwrap();
    assert_eq!(content.metadata["a.u16"].to_u16().unwrap(), 700);
    assert!(matches!(&content.metadata["a.strs"], V::Array(strs) if strs.len() == 3));
    assert_eq!(content.tensor_infos["w"].shape.dims(), [2, 32]);
}

#[test]
fn a_key_set_twice_keeps_its_place_and_the_last_value() {
    let mut writer = Writer::new();
    writer.put("x", Value::U32(1));
    writer.put("y", Value::U32(2));
    writer.put("x", Value::Str("new"));
    let gguf = open(&writer.to_bytes(&[]).unwrap()).unwrap();
    assert_eq!(gguf.entries().collect::<Vec<_>>(), [("x", Value::Str("new")), ("y", Value::U32(2))]);
}

#[test]
fn the_writer_refuses_partial_blocks_and_wrong_sizes() {
    let mut writer = Writer::new();
    assert!(writer.declare("w", &[16, 2], GgmlType::Q4_0).is_err(), "32 weights, but rows of half a block");
    assert_eq!(writer.declare("w", &[32], GgmlType::Q4_0).unwrap(), 18);
    assert!(writer.to_bytes(&[&[0; 17]]).is_err());
    assert!(writer.to_bytes(&[&[0; 19]]).is_err());
    assert!(writer.to_bytes(&[&[0; 18]]).is_ok());
}

#[test]
fn every_truncation_is_refused_by_name() {
    let whole = sample();
    // The file ends with padding behind the last tensor; up to there nothing may be missing.
    let end = open(&whole).unwrap().tensors.iter().map(|t| t.offset + t.bytes).max().unwrap() as usize;
    for len in 0..end {
        let message = open(&whole[..len]).expect_err("a truncated file").to_string();
        assert!(message.starts_with("sample.gguf: ") && message.lines().count() == 1, "{message}");
    }
    assert!(open(&whole[..end]).is_ok());
}

/// Overwrites bytes behind the first occurrence of `after`.
fn patched(after: &[u8], skip: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = sample();
    let at = bytes.windows(after.len()).position(|w| w == after).unwrap() + after.len() + skip;
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

fn message(bytes: &[u8]) -> String {
    open(bytes).expect_err("a corrupt file").to_string()
}

#[test]
fn hostile_headers_are_refused_in_one_line() {
    let huge = u64::MAX.to_le_bytes();
    let mut bytes = sample();
    bytes[..4].copy_from_slice(b"PK\x03\x04");
    assert!(message(&bytes).contains("not a GGUF file"));
    for (version, says) in [(1_u32, "version 1"), (9, "version 9"), (3_u32.swap_bytes(), "big-endian")] {
        let mut bytes = sample();
        bytes[4..8].copy_from_slice(&version.to_le_bytes());
        assert!(message(&bytes).contains(says));
    }
    for at in [8, 16] {
        let mut bytes = sample();
        bytes[at..at + 8].copy_from_slice(&huge);
        assert!(message(&bytes).contains("the number of"), "{}", message(&bytes));
    }
    // The array length follows key, value type and element type.
    assert!(message(&patched(b"a.f32s", 8, &huge)).contains("array length of key `a.f32s`"));
    assert!(message(&patched(b"a.strs", 8, &(1_u64 << 40).to_le_bytes())).contains("array length of key `a.strs`"));
    assert!(message(&patched(b"a.strs", 16, &huge)).contains("truncated: a.strs"));
    assert!(message(&patched(b"a.bool", 4, &[2])).contains("`a.bool`"));
    assert!(message(&patched(b"a.u8", 0, &99_u32.to_le_bytes())).contains("unknown value type 99"));
    assert!(message(&patched(b"one", 0, &huge)).contains("truncated"));
    // Tensor: name, n_dims, dims, type, offset.
    assert!(message(&patched(b"norm", 0, &5_u32.to_le_bytes())).contains("dimensions of tensor `norm`"));
    assert!(message(&patched(b"norm", 4, &0_u64.to_le_bytes())).contains("impossible shape"));
    assert!(message(&patched(b"norm", 4, &huge)).contains("impossible shape"));
    assert!(message(&patched(b"norm", 4, &(1_u64 << 40).to_le_bytes())).contains("truncated: tensor `norm`"));
    assert!(message(&patched(b"norm", 16, &31_u64.to_le_bytes())).contains("not aligned"));
    assert!(message(&patched(b"norm", 16, &0_u64.to_le_bytes())).contains("overlaps"));
    assert!(message(&patched(b"norm", 16, &(u64::MAX - 31).to_le_bytes())).contains("outside any file"));
    assert!(message(&patched(b"norm", 12, &12_u32.to_le_bytes())).contains("whole blocks of 256 for Q4_K"));
}

#[test]
fn duplicates_alignment_and_splits_are_refused() {
    assert!(message(&patched(b"a.", 0, b"i")).contains("key `a.i8` occurs twice"));
    let mut writer = Writer::new();
    for _ in 0..2 {
        writer.declare("w", &[1], GgmlType::F32).unwrap();
    }
    assert!(message(&writer.to_bytes(&[&[0; 4], &[0; 4]]).unwrap()).contains("tensor `w` occurs twice"));
    for bad in [Value::U32(0), Value::U32(24), Value::U64(1 << 40), Value::Str("32")] {
        let mut writer = Writer::new();
        writer.put("general.alignment", bad);
        assert!(message(&writer.to_bytes(&[]).unwrap_or_default()).contains("general.alignment"), "{bad:?}");
    }
    let mut writer = Writer::new();
    writer.put("split.no", Value::U16(1));
    writer.put("split.count", Value::U16(3));
    assert!(message(&writer.to_bytes(&[]).unwrap()).contains("part 2 of 3"));
}

#[test]
fn unknown_formats_are_kept_and_named() {
    let gguf = open(&patched(b"norm", 12, &77_u32.to_le_bytes())).unwrap();
    let norm = gguf.tensor("norm").unwrap();
    assert_eq!((norm.ty, norm.ty.to_string()), (GgmlType::Unknown(77), "type 77".to_owned()));
    assert_eq!(norm.offset + norm.bytes, gguf.file_bytes());
    let mxfp4 = GgmlType::from_number(39);
    assert_eq!((mxfp4.to_string(), mxfp4.is_supported()), ("MXFP4".to_owned(), false));
}

#[test]
fn deeply_nested_arrays_end_at_the_limit() {
    // key → array of array of … : every level is 12 bytes, the stack must not be what stops it.
    let mut bytes = Vec::new();
    bytes.extend(b"GGUF");
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(1_u64.to_le_bytes());
    bytes.push(b'k');
    bytes.extend(9_u32.to_le_bytes());
    for _ in 0..100_000 {
        bytes.extend(9_u32.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
    }
    assert!(message(&bytes).contains("nesting"));
}

#[test]
fn a_missing_or_mistyped_key_is_named() {
    let gguf = open(&sample()).unwrap();
    assert_eq!(gguf.need_u32("nope").unwrap_err().to_string(), "sample.gguf: key `nope` is missing");
    let message = gguf.need_f32("a.strs").unwrap_err().to_string();
    assert_eq!(message, "sample.gguf: key `a.strs` is array of string, expected a float");
    assert!(gguf.need_tensor("output.weight").unwrap_err().to_string().contains("`output.weight`"));
}

#[test]
fn files_that_are_no_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Gguf::open(dir.path()).is_err());
    assert!(Gguf::open(&dir.path().join("none.gguf")).unwrap_err().to_string().contains("none.gguf"));
    let empty = dir.path().join("empty.gguf");
    std::fs::write(&empty, b"").unwrap();
    assert!(Gguf::open(&empty).unwrap_err().to_string().contains("not a GGUF file"));
    let path = dir.path().join("good.gguf");
    std::fs::write(&path, sample()).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    let w = gguf.tensor("w").unwrap();
    let before = gguf.tensor_data(w).to_vec();
    gguf.release(w);
    assert_eq!(gguf.tensor_data(w), before);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(tail in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tail);
        if let Ok(gguf) = open(&bytes) { touch(&gguf); }
    }

    #[test]
    fn flipped_bits_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..6)) {
        let mut bytes = sample();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Ok(gguf) = open(&bytes) { touch(&gguf); }
    }

    #[test]
    fn overwritten_words_never_panic(at in any::<prop::sample::Index>(), word in prop_oneof![any::<u64>(), 0_u64..64]) {
        let mut bytes = sample();
        let at = at.index(bytes.len() - 8);
        bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        if let Ok(gguf) = open(&bytes) { touch(&gguf); }
    }
}
