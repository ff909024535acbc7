//! Times the lookup argument alone: `cargo run --release -p zktorch-protocol --example lookup -- [log2 of the lookups]`.
//! `RAYON_NUM_THREADS=1` shows the cost on one core.
#![allow(clippy::print_stdout)]

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use zktorch_algebra::{Fr, G1Affine, hash_to_g1, msm::FixedBaseTable};
use zktorch_program::{Builder, Table};
use zktorch_protocol::Witness;
use zktorch_protocol::circuit::{Circuit, Lc, ROW, Wire};
use zktorch_protocol::lookup::lookup_argument;
use zktorch_protocol::party::{Mask, Part, Party, Prover, Verifier};
use zktorch_protocol::{Transcript, VerifyError};

/// Adds up the time between messages by the message that ends it: `.0` before its values are known, `.1` for sending it.
struct Timed<P> {
    party: P,
    last: Instant,
    phases: BTreeMap<&'static str, (usize, Duration, Duration)>,
}

impl<P: Party> Party for Timed<P> {
    fn transcript(&mut self) -> &mut Transcript {
        self.party.transcript()
    }
    fn circuit(&mut self) -> &mut Circuit {
        self.party.circuit()
    }
    fn hidden(&mut self, what: &'static str, n: usize, values: impl FnOnce() -> Vec<Fr>) -> Result<Vec<Wire>, VerifyError> {
        let mut ready = Instant::now();
        let wires = self.party.hidden(what, n, || {
            let values = values();
            ready = Instant::now();
            values
        });
        let phase = self.phases.entry(what).or_default();
        phase.0 += n.div_ceil(ROW);
        phase.1 += ready - self.last;
        self.last = Instant::now();
        phase.2 += self.last - ready;
        wires
    }
    fn point(&mut self, what: &'static str, value: impl FnOnce() -> G1Affine) -> Result<G1Affine, VerifyError> {
        self.party.point(what, value)
    }
    fn scalar(&mut self, what: &'static str, value: impl FnOnce() -> Fr) -> Result<Fr, VerifyError> {
        self.party.scalar(what, value)
    }
    fn raw(
        &mut self,
        what: &'static str,
        shape: (usize, usize),
        values: impl FnOnce(&mut Transcript) -> (Vec<G1Affine>, Vec<Fr>),
    ) -> Result<(Vec<G1Affine>, Vec<Fr>), VerifyError> {
        self.party.raw(what, shape, values)
    }
    fn value(&self, lc: &Lc) -> Option<Fr> {
        self.party.value(lc)
    }
    fn rows(&self) -> &[G1Affine] {
        self.party.rows()
    }
    fn secrets(&self) -> Option<(&[Fr], &[Fr])> {
        self.party.secrets()
    }
    fn mask(&mut self, what: &'static str, n: usize, commit: impl FnOnce(&[Fr], Fr) -> G1Affine) -> Result<Mask, VerifyError> {
        self.party.mask(what, n, commit)
    }
    fn random(&mut self, n: usize) -> Vec<Fr> {
        self.party.random(n)
    }
    fn restart(&mut self, transcript: Transcript) -> Part {
        self.party.restart(transcript)
    }
    fn checks(&self) -> bool {
        self.party.checks()
    }
}

fn main() -> Result<(), VerifyError> {
    let bits: u32 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(18);
    let sites = 1usize << bits;
    let mut b = Builder::new();
    let wide = b.range_table(-(1 << 15), 16);
    let narrow = b.range_table(-128, 8);
    let f = b.function_table("f", -(1 << 15), vec![(0..1 << 16).map(|j: i64| j * j % 257 - 128).collect()]);
    b.column_cells(wide, &[sites / 2]);
    b.column_cells(narrow, &[sites / 4 + 77]);
    b.column_cells(f, &[sites / 8 - 13]);
    let built = b.finish(None);
    let program = &built.program;

    let mut heap = vec![0i64; program.heap_len];
    let mut seed = 1u64;
    for l in &program.lookups {
        let table = &program.tables[l.table.0 as usize];
        let counts = program.regions[program.multiplicities[l.table.0 as usize].0 as usize].base;
        for i in 0..l.columns[0].len() {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let row = (seed >> 33) as usize % table.len();
            heap[counts + row] += 1;
            for (c, column) in l.columns.iter().enumerate() {
                heap[program.absolute_offset(column) + i] = match table {
                    Table::Function { outputs, .. } if c > 0 => outputs[c - 1][row],
                    _ => table.bounds(0).map_or(0, |(lo, _)| lo) + row as i64,
                };
            }
        }
    }

    let bases: Vec<G1Affine> = (0..=ROW as u8).map(|i| hash_to_g1(&[i])).collect();
    let table = FixedBaseTable::new(&bases, 10);
    for run in 0..3 {
        let start = Instant::now();
        let party = Prover::new(Transcript::new(), &table, ChaCha20Rng::seed_from_u64(run));
        let mut prover = Timed { party, last: start, phases: BTreeMap::new() };
        let mut claims = Vec::new();
        let witness = Witness { heap: &heap, parameters: &built.parameters };
        lookup_argument(&mut prover, program, &[], Some(witness), &mut claims)?;
        let total = start.elapsed();
        println!(
            "{} lookups: proved in {total:.1?}, {:.0} ns each",
            program.lookup_count(),
            total.as_nanos() as f64 / program.lookup_count() as f64
        );
        for (what, (rows, before, sending)) in &prover.phases {
            println!("  {what:<18} {rows:>4} rows, {before:>8.1?} before, {sending:>8.1?} to commit");
        }
        let proof = prover.party.proof;
        let start = Instant::now();
        let mut verifier = Verifier::new(Transcript::new(), &proof);
        lookup_argument(&mut verifier, program, &[], None, &mut Vec::new())?;
        let verified = start.elapsed();
        println!(
            "  {} bytes, {} claims, {} constraints, checked in {verified:.1?}",
            proof.len(),
            claims.len(),
            verifier.circuit().constraints.len()
        );
    }
    Ok(())
}
