//! What a decision of a rate limit costs, in this process and without a network: by handle and
//! by name, with more and more buckets, in an order that no cache can guess.
//!
//! `cargo run --release -p shards --example limit_cost [-- ROUNDS]` (9 by default).

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use shards::limit::{Handle, Limiter, Name, Rate, Tokens, Verdict};
use shards::stats::ShardStats;
use shards::store::Hasher;
use shards::time::Nanos;

const HITS: usize = 2_000_000;

/// A name as routes make it. Made anew each time, since it comes with its request; in words, so
/// that it can be read at once.
fn text(n: usize) -> [u8; 24] {
    let mut text = *b"per-client:10.0.00000000";
    text[16..]
        .copy_from_slice(&(u64::from_le_bytes(*b"@@@@@@@@") + spread(n as u64)).to_le_bytes());
    text
}

/// Four bits in each byte, of a number below 2^32.
fn spread(n: u64) -> u64 {
    let n = n & 0xFFFF | (n >> 16 & 0xFFFF) << 32;
    let n = (n | n << 8) & 0x00FF_00FF_00FF_00FF;
    (n | n << 4) & 0x0F0F_0F0F_0F0F_0F0F
}

/// Numbers below `count`, each as likely as any other.
fn order(count: usize) -> Vec<u32> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..HITS).map(|_| (next() % count as u64) as u32).collect()
}

/// Nanoseconds a hit, and how many were admitted; `now` goes on by 100 ns each.
fn measure(
    mut hit: impl FnMut(usize, Nanos) -> Verdict,
    order: &[u32],
    now: &mut u64,
) -> (f64, usize) {
    let (start, mut admitted) = (Instant::now(), 0);
    for n in order {
        *now += 100;
        admitted += usize::from(black_box(hit(*n as usize, Nanos(*now))) == Verdict::Admit);
    }
    (start.elapsed().as_nanos() as f64 / order.len() as f64, admitted)
}

fn name<'a>(hasher: &Hasher, text: &'a [u8]) -> Name<'a> {
    Name::new(text, hasher.hash(text)).expect("short")
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let rounds: usize = std::env::args().nth(1).map_or(9, |n| n.parse().expect("a number"));
    let rate = Rate::new(100, Nanos::SECOND, Tokens(20)).expect("a rate");
    for count in [1, 1_000, 100_000, 1_000_000] {
        let hasher = Hasher::new(7);
        let mut limiter = Limiter::new(1 << 20, Arc::new(ShardStats::default()));
        let order = order(count);
        let mut now = 1_000;
        let handles: Vec<Handle> = (0..count)
            .map(|n| {
                limiter
                    .hit(name(&hasher, &text(n)), &rate, Tokens(20), Nanos(now))
                    .place
                    .expect("room")
            })
            .collect();
        let [mut known, mut hashed, mut named] = [const { Vec::new() }; 3];
        let (mut admitted, mut all) = (0, 0);
        for _ in 0..rounds {
            let by_handle = |n: usize, now| {
                limiter.hit_at(handles[n], &rate, Tokens(1), now).expect("owes something").verdict
            };
            let (time, some) = measure(by_handle, &order, &mut now);
            known.push(time);
            admitted += some;
            let by_name =
                |n, now| limiter.hit(name(&hasher, &text(n)), &rate, Tokens(1), now).verdict;
            let (time, some) = measure(by_name, &order, &mut now);
            named.push(time);
            admitted += some;
            let hash = |n, _| {
                black_box(name(&hasher, &text(n)));
                Verdict::Never
            };
            hashed.push(measure(hash, &order, &mut now).0);
            all += 2 * order.len();
        }
        let (known, hashed, named) = (median(known), median(hashed), median(named));
        let share = 100.0 * admitted as f64 / all as f64;
        println!(
            "{count:9} buckets, ns: by handle {known:.1}; by name {named:.1}, of which to make and \
             hash it {hashed:.1}; {share:.0} % admitted"
        );
    }
}
