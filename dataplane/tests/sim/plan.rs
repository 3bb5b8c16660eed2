//! What a seed decides before the run: the node, its clients, and which faults must happen.

use super::roles;
use dataplane::runtime::sim::{Rng, Rules};
use shards::settings::{OutputLimit, Settings};
use shards::store::EvictionPolicy;

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A receive brings part of what has arrived.
    CutRead,
    /// A send takes part of what there is.
    ShortSend,
    /// Bytes arrive after receiving was stopped.
    LateRead,
    /// All receive buffers are filled.
    Starved,
    /// What is on a wire stays there for a while.
    Delay,
    /// A client breaks its connection.
    Reset,
    /// A client says that it will send no more, amid its requests.
    HalfClose,
    /// A shard does not run for a while.
    Stall,
    /// All parcels are away.
    FullRings,
    /// The wall clock is set.
    WallJump,
    /// The system refuses memory.
    NoMemory,
    /// The node's own limit of memory is reached.
    SmallMemory,
    /// A client closes another.
    Kill,
    /// A shard wakes for nothing.
    Spurious,
    /// There are more clients than the node takes.
    Crowd,
}

/// All of them.
pub const FAULTS: [Fault; 15] = [
    Fault::CutRead,
    Fault::ShortSend,
    Fault::LateRead,
    Fault::Starved,
    Fault::Delay,
    Fault::Reset,
    Fault::HalfClose,
    Fault::Stall,
    Fault::FullRings,
    Fault::WallJump,
    Fault::NoMemory,
    Fault::SmallMemory,
    Fault::Kill,
    Fault::Spurious,
    Fault::Crowd,
];

/// What a shard needs for a database with one key.
const DATABASE_BYTES: usize = 263_000;

/// See the module's text.
pub struct Plan {
    pub shards: u16,
    pub parcels: usize,
    pub clients: usize,
    /// Kinds of clients that there are: few, so that they get in each other's way, or all.
    pub roles: Vec<usize>,
    pub settings: Settings,
    pub rules: Rules,
    /// Each happens at least once, or the run has failed.
    pub faults: Vec<Fault>,
    /// Steps of all clients together before the node is healed.
    pub requests: usize,
}

impl Plan {
    pub fn of(rng: &mut Rng) -> Self {
        let shards = *rng.pick(&[1, 2, 2, 2, 3, 3, 4]);
        let clients = rng.between(2, 8);
        let mut faults: Vec<Fault> = FAULTS.into_iter().filter(|_| rng.chance(35)).collect();
        if rng.chance(15) {
            faults.clear(); // all must be well without any, too
        }
        let needy = [Fault::Kill, Fault::NoMemory, Fault::LateRead, Fault::FullRings];
        let alike = !needy.iter().any(|fault| faults.contains(fault));
        let late = faults.contains(&Fault::LateRead);
        let crowd = clients > 4 && alike && faults.contains(&Fault::Crowd);
        faults.retain(|fault| match fault {
            // Clients are stopped for long replies, which then there are none of.
            Fault::SmallMemory => !late && !crowd,
            Fault::FullRings => shards > 1 && clients > 3,
            // Those that others need might be kept out.
            Fault::Crowd => crowd,
            // Two of one shard have to send at a time.
            Fault::Starved => clients >= 2 * usize::from(shards),
            _ => true,
        });
        let has = |fault| faults.contains(&fault);
        let parcels = if has(Fault::FullRings) { 1 } else { *rng.pick(&[1, 2, 8]) };
        let rules = Rules {
            window: *rng.pick(&[2 << 10, 16 << 10, 128 << 10]),
            buffers: if has(Fault::Starved) { 1 } else { 256 },
            cut_reads: if has(Fault::CutRead) { rng.between(1, 80) } else { 0 },
            cut_sends: if has(Fault::ShortSend) { rng.between(1, 80) } else { 0 },
            late_reads: if has(Fault::LateRead) { 80 } else { 0 },
            sends_at_once: rng.chance(50),
        };
        let mut settings = Settings::default();
        if has(Fault::LateRead) || rng.chance(30) {
            // So little that clients are stopped now and then.
            let most = if has(Fault::LateRead) { 300 } else { 4_000 };
            let soft = rng.between(50, most) as u64;
            settings.output_limit = OutputLimit { hard: 0, soft, soft_seconds: 10 };
        }
        if has(Fault::SmallMemory) {
            let policies = [EvictionPolicy::NoEviction, EvictionPolicy::VolatileLru];
            settings.policy = *rng.pick(&policies);
            let empty = usize::from(shards) * DATABASE_BYTES;
            settings.maxmemory = (empty + rng.between(500, 10_000)) as u64;
        }
        if has(Fault::Crowd) {
            settings.maxclients = clients as u32; // and there is one more, who came first
        }
        let requests = rng.between(300, 2_000);
        let few = rng.between(1, 3);
        let roles = if rng.chance(60) {
            (0..few).map(|_| rng.below(roles::KINDS)).collect()
        } else {
            (0..roles::KINDS).collect()
        };
        Self { shards, parcels, clients, roles, settings, rules, faults, requests }
    }

    /// One for a scene: no faults, no clients, and whatever a kernel may do.
    pub fn quiet(shards: u16, rng: &mut Rng) -> Self {
        let all_well = Self::of(rng);
        let rules =
            Rules { buffers: 256, late_reads: 0, cut_sends: 0, cut_reads: 0, ..all_well.rules };
        let settings = Settings::default();
        Self { shards, clients: 0, faults: Vec::new(), rules, settings, ..all_well }
    }

    /// Which kind of client the planned faults need, by the client's number.
    pub fn role_of(&self, client: usize, rng: &mut Rng) -> usize {
        let long = [Fault::NoMemory, Fault::SmallMemory, Fault::LateRead];
        let writes_much = long.iter().any(|fault| self.has(*fault));
        match client {
            0 if writes_much => roles::BLOBS,
            1 if self.has(Fault::Kill) => roles::NOISE,
            last if last + 2 >= self.clients && self.has(Fault::FullRings) => roles::REGISTERS,
            _ => *rng.pick(&self.roles),
        }
    }

    /// Whether a client has to ask for much at a time.
    pub fn asks_much(&self, client: usize) -> bool {
        client == 0 && self.has(Fault::LateRead) || self.has(Fault::FullRings)
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}
