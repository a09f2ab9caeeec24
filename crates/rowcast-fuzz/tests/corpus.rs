//! The smoke run of every fuzz target: its corpus, and seeded mutations of it.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

use std::path::{Path, PathBuf};

use rowcast_fuzz::TARGETS;

/// Mutations of each corpus.
const MUTATIONS: u64 = 3_000;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|file| (file.clone(), std::fs::read(&file).unwrap()))
        .collect()
}

/// SplitMix64.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as usize
}

/// A few changes of an input: other bytes, less, more, a piece of another input, a piece twice.
fn mutated(inputs: &[(PathBuf, Vec<u8>)], seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut data = inputs[next(&mut state) % inputs.len()].1.clone();
    for _ in 0..=next(&mut state) % 4 {
        let at = next(&mut state) % (data.len() + 1);
        let length = next(&mut state) % 9;
        let end = data.len().min(at + length);
        match next(&mut state) % 6 {
            0 if at < data.len() => data[at] ^= 1 << (next(&mut state) % 8),
            1 if at < data.len() => data[at] = next(&mut state) as u8,
            2 => drop(data.drain(at..end)),
            3 => {
                let more: Vec<u8> = data[at..end].to_vec();
                data.splice(at..at, more);
            }
            4 => {
                let other = &inputs[next(&mut state) % inputs.len()].1;
                let from = next(&mut state) % (other.len() + 1);
                let more = other[from..other.len().min(from + length)].to_vec();
                data.splice(at..at, more);
            }
            _ => {
                let odd: [&[u8]; 8] = [
                    b"\0",
                    b"\xff",
                    b"{{",
                    b"}}",
                    b"\r\n",
                    b"\x1b[",
                    b"\"",
                    &[0x80, 0, 0, 0],
                ];
                let more = odd[next(&mut state) % odd.len()].to_vec();
                data.splice(at..at, more);
            }
        }
    }
    data
}

/// Runs a target on its corpus and on mutations; a panic is told with the input that caused it.
fn smoke(name: &str) {
    let (_, target) = TARGETS.iter().find(|(of, _)| *of == name).unwrap();
    let inputs = corpus(name);
    assert!(inputs.len() >= 3, "the corpus of {name} is too small");
    let run = |what: &str, data: &[u8]| {
        let outcome = std::panic::catch_unwind(|| target(data));
        assert!(outcome.is_ok(), "{name} fails for {what}: {data:?}");
    };
    for (file, data) in &inputs {
        run(&file.display().to_string(), data);
    }
    for seed in 0..MUTATIONS {
        run(&format!("mutation {seed}"), &mutated(&inputs, seed));
    }
}

#[test]
fn fuzz_yaml_any_text_is_read_or_refused_with_its_place() {
    smoke("yaml");
}

#[test]
fn fuzz_template_any_template_is_pure_bounded_and_stays_in_its_place() {
    smoke("template");
}

#[test]
fn fuzz_key_any_key_has_one_text_and_gives_it_back() {
    smoke("key");
}

#[test]
fn fuzz_copy_any_field_is_a_value_or_an_error() {
    smoke("copy");
}

#[test]
fn fuzz_answer_any_answer_gives_one_outcome_for_each_record() {
    smoke("answer");
}

#[test]
fn fuzz_model_any_text_is_cut_once() {
    smoke("model");
}
