//! The fuzz targets on a stable toolchain, in seconds: over the seeds that the fuzzer starts from, and over copies of
//! them that are damaged in a way that comes again.

use std::path::Path;

/// How many damaged copies are made of a target's seeds, all together.
const COPIES: usize = 2_000;

/// Numbers from a seed (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).expect("a small number")
    }

    /// A copy with one to five bytes changed, put in, taken out, or cut off; the new ones are of an alphabet.
    fn damaged(&mut self, whole: &[u8], alphabet: &[u8]) -> Vec<u8> {
        let mut copy = whole.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(copy.len() + 1);
            let byte = alphabet[self.below(alphabet.len())];
            match self.below(4) {
                0 => copy.insert(at, byte),
                1 if at < copy.len() => drop(copy.remove(at)),
                2 if self.below(4) == 0 => copy.truncate(at),
                _ if at < copy.len() => copy[at] = byte,
                _ => copy.push(byte),
            }
        }
        copy
    }
}

/// Runs a target over its seeds, which are in `fuzz/seeds`.
pub fn run(target: fn(&[u8]), name: &str, alphabet: &[u8]) {
    run_from(target, &seeds(name), alphabet);
}

/// As [`run`], over seeds that only a program can make.
pub fn run_from(target: fn(&[u8]), seeds: &[Vec<u8>], alphabet: &[u8]) {
    assert!(!seeds.is_empty(), "there is nothing to start from");
    let mut numbers = Numbers(0x5eed_0fa4_4705);
    for seed in seeds {
        target(seed);
        for _ in 0..COPIES.div_ceil(seeds.len()) {
            target(&numbers.damaged(seed, alphabet));
        }
    }
    for _ in 0..COPIES / 10 {
        let noise: Vec<u8> = (0..numbers.below(64)).map(|_| alphabet[numbers.below(alphabet.len())]).collect();
        target(&noise);
    }
}

/// The seeds of a target, in the order of their names.
pub fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
    let entries = std::fs::read_dir(folder).expect("a folder of seeds");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).expect("a seed")).collect()
}
