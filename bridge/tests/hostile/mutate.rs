//! Makes inputs out of seeds: a few random changes each. No coverage guides it; that is what
//! libFuzzer is for.

/// Pieces that mean something to a parser.
const WORDS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"\\u",
    b"\\ud800",
    b"-",
    b"0",
    b"1e999",
    b"null",
    b"true",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\n",
    b"=",
    b"''",
    b"${A}",
    b"$",
    b"[[",
    b"]]",
    b"#",
    b"\"8MiB\"",
    b"\"-1s\"",
    b"99999999999999999999",
    b"0.1",
    b".",
    b" ",
    b"\xc3\xa4",
    b"=\x10",
    b"=\x0e\x0a\x01",
    b"\\\\",
    b"\\ ",
    b"1i",
    b"7t",
    b"(",
    b")",
    b" and ",
    b" not ",
    b" || ",
    b"cast(a as int)",
    b"case when ",
    b" end",
    b" like '%",
    b"'",
];

/// A stream of inputs, the same for the same seed.
pub struct Mutator {
    random: u64,
}

impl Mutator {
    /// A stream.
    pub fn new(seed: u64) -> Mutator {
        Mutator { random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// The next number below `end`.
    fn below(&mut self, end: usize) -> usize {
        // xorshift64: scatter is all that is asked of it.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as usize % end.max(1)
    }

    /// The next input.
    pub fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(6) {
            let other = &seeds[self.below(seeds.len())];
            self.change(&mut input, other);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(input.len() + 1);
        let len = self.below(24).min(input.len() - at);
        match self.below(8) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.below(256) as u8,
            2 => drop(input.drain(at..at + len)),
            3 => {
                let piece = input[at..at + len].to_vec();
                let to = self.below(input.len() + 1);
                drop(input.splice(to..to, piece));
            }
            4 => {
                let from = self.below(other.len());
                let piece = other[from..].iter().take(self.below(40)).copied();
                let piece: Vec<u8> = piece.collect();
                drop(input.splice(at..at, piece));
            }
            5 if self.below(8) == 0 => input.truncate(at),
            _ => {
                let word = WORDS[self.below(WORDS.len())];
                drop(input.splice(at..at, word.iter().copied()));
            }
        }
    }
}
