//! Ladder files against llama-quantize's own, made from the same source: the same formats, the same bytes.

mod common;

use std::path::Path;

use assert_cmd::Command;
use common::{SMOLLM2, real_model};
use sha2::{Digest as _, Sha256};
use tierbench::model::Silent;
use tierbench::model::gguf::Gguf;
use tierbench::model::quantize::{REQUANTIZED_FROM, quantize_file};
use tierbench::plan::Level;

/// SHA-256 over all tensors' data in file order, without padding, of what `llama-quantize --allow-requantize` (llama.cpp
/// 0c1e570) makes of SmolLM2-135M-Instruct.Q4_1.gguf.
const LLAMA_CPP: [(Level, &str); 15] = [
    (Level::F16, "a6e4987deeb3b8445eecbcce2fcd7db4b2ce489b66a588a7a361854e490b21c6"),
    (Level::Bf16, "6dcf9d2e0d934a040bc4d094acaa07958dff7e5406ccda8a1c3684af72f2a058"),
    (Level::Q8_0, "9c18da3a300484c463233df8bc1b6b590fd42376c77919c9f938f57791cc6969"),
    (Level::Q6K, "e4d55a4bf5aaf07c30fbd626793b8cdf07893c44201b9bb880d0a3ca6818cbb7"),
    (Level::Q5KM, "080bacf66b29dd0e9556f4a96df45d22ae251c2248c2302763ff8a49d6d8d069"),
    (Level::Q5KS, "9deaaa2deff03357431ffc8b83d4b6a5034a6c8566d093663d5ad30713006a66"),
    (Level::Q5_1, "39eb4effceb51844ee67d34bbbeb37fefbe36d6a3235efbe8bb191f89f291b90"),
    (Level::Q5_0, "b689d5519daa1db217bf6a3b26b64bf3fd8112ae43856286963c3a84d61347ba"),
    (Level::Q4KM, "e263b7745c2eaa6e728c5145f2a505f33442cd076b2d7aec991cbc251fa92630"),
    (Level::Q4KS, "6b836fd7b749cc1b89bab382d9b06a8d837277867c987d7ba25f16c3570443bb"),
    (Level::Q4_1, "19fcef956a1ba6fa61002f0b1bae61997e0744f7ce4225845ee3da48b1a2b903"),
    (Level::Q4_0, "253e0d307467a4a71ef8bab18675aec11421947937d4f2c3b9a455b8fefc1677"),
    (Level::Q3KL, "4054347a41cc5e15168f9831832e138e88597ccd6d5598ab2cf282ad189d052b"),
    (Level::Q3KM, "e7392f718af17add753d2d2d1ae005889a6debfea799970c2e5abc7ef34b0b84"),
    (Level::Q2K, "20275096b8560a855da7a6ba58e87290fc49b86826c70319f5f227e4f9a91b76"),
];

fn data_hash(gguf: &Gguf) -> String {
    let mut hash = Sha256::new();
    gguf.tensors.iter().for_each(|info| hash.update(gguf.tensor_data(info)));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes the file may have more than llama-quantize's: our two keys and padding.
const OUR_KEYS: u64 = 256;

#[test]
fn the_ladder_is_byte_for_byte_llama_quantizes() {
    let Some(source) = real_model(SMOLLM2) else { return };
    let fixture: serde_json::Value = serde_json::from_str(include_str!("fixtures/quantize_types.json")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (level, expected) in LLAMA_CPP {
        let out = dir.path().join("level.gguf");
        let made = quantize_file(&source, &out, level, &mut Silent).unwrap();
        let gguf = Gguf::open(&out).unwrap();
        assert_eq!(data_hash(&gguf), expected, "{level}");
        // At its own level the source is copied, not requantized.
        let from = (level != Level::Q4_1).then_some("q4_1");
        assert_eq!((gguf.level(), gguf.str(REQUANTIZED_FROM)), (Some(level), from));
        let Some(theirs) = fixture["levels"].get(level.name()) else { continue };
        for info in &gguf.tensors {
            assert_eq!(theirs["tensor_types"][&info.name], info.ty.to_string(), "{} at {level}", info.name);
        }
        let theirs = theirs["file_bytes"].as_u64().unwrap();
        assert!((theirs..=theirs + OUR_KEYS).contains(&made.bytes), "{level}: {} bytes, theirs {theirs}", made.bytes);
    }
}

fn quantize(args: &[&str], dir: &Path) -> assert_cmd::assert::Assert {
    Command::cargo_bin("tierbench").expect("the binary").arg("quantize").args(args).arg("--dir").arg(dir).assert()
}

#[test]
fn the_command_makes_the_named_levels_and_prints_what_they_are() {
    let Some(source) = real_model(SMOLLM2) else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = source.to_str().unwrap();
    let run = quantize(&["-m", source, "--level", "q4_0,Q2_K", "-o", "json"], dir.path()).success();
    let rows: serde_json::Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    assert_eq!((rows[0]["level"].as_str(), rows[1]["level"].as_str()), (Some("q4_0"), Some("q2_k")));
    for row in rows.as_array().unwrap() {
        let bytes = std::fs::metadata(row["path"].as_str().unwrap()).unwrap().len();
        assert_eq!((row["bytes"].as_u64(), row["requantized_from"].as_str()), (Some(bytes), Some("q4_1")));
        assert!(
            (4.5..6.0).contains(&row["bits_per_weight"].as_f64().unwrap()) && row["seconds"].as_f64().unwrap() > 0.0
        );
    }
    let again = quantize(&["-m", source, "--level", "q4_0"], dir.path()).failure();
    let message = String::from_utf8_lossy(&again.get_output().stderr).into_owned();
    assert!(message.contains("exists: pass --force"), "{message}");
}

#[test]
fn a_file_that_is_no_model_is_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut hostile = b"GGUF\x03\0\0\0".to_vec();
    hostile.extend([0xff; 64]);
    for (path, level) in [
        (write("hostile.gguf", &hostile), "q4_0"),
        (write("short.gguf", b"GGUF\x03\0\0\0"), "q4_0"),
        (dir.path().join("missing.gguf").to_str().unwrap().to_owned(), "q4_0"),
    ] {
        let run = quantize(&["-m", &path, "--level", level], dir.path()).failure().code(1);
        let message = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        let name = Path::new(&path).file_name().unwrap().to_str().unwrap();
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.starts_with("error: ") && message.contains(name), "{message}");
    }
    quantize(&["-m", "x.gguf", "--level", "q9"], dir.path()).failure().code(2);
}
