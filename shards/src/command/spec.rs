//! What is known of a command besides its code: one definition each.
//!
//! COMMAND, COMMAND DOCS, the reference page, arity checks and key positions all read
//! these; nothing about a command is written down twice.

#![forbid(unsafe_code)]

use super::spread::Spread;
use super::{COMMANDS, CommandError, Context};

/// Properties of a command; names as COMMAND INFO shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u32);

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// May change keys.
    pub const WRITE: Self = Self(1);
    /// Changes nothing.
    pub const READONLY: Self = Self(1 << 1);
    /// May need memory, so is refused when there is none.
    pub const DENYOOM: Self = Self(1 << 2);
    /// For operators.
    pub const ADMIN: Self = Self(1 << 3);
    /// Takes constant time.
    pub const FAST: Self = Self(1 << 4);
    /// Allowed before authentication.
    pub const NO_AUTH: Self = Self(1 << 5);
    /// Allowed while a node loads.
    pub const LOADING: Self = Self(1 << 6);
    /// Allowed on a stale replica.
    pub const STALE: Self = Self(1 << 7);
    /// Not in a transaction.
    pub const NO_MULTI: Self = Self(1 << 8);
    /// Not in scripts.
    pub const NOSCRIPT: Self = Self(1 << 9);
    /// Executed, not queued, between MULTI and EXEC.
    pub const IMMEDIATE: Self = Self(1 << 10);
    /// Has subcommands only.
    pub const CONTAINER: Self = Self(1 << 11);
    /// May go on for longer than a turn: nothing of the same client runs meanwhile.
    pub const LONG: Self = Self(1 << 12);
    /// Among the dangerous ones of the access lists.
    pub const DANGEROUS: Self = Self(1 << 13);
    /// Not counted and not shown in slow logs.
    pub const SKIP_SLOWLOG: Self = Self(1 << 14);
    /// Allowed while a script holds the server up.
    pub const ALLOW_BUSY: Self = Self(1 << 15);
    /// Not shown to monitors.
    pub const SKIP_MONITOR: Self = Self(1 << 16);
    /// Known to sentinels.
    pub const SENTINEL: Self = Self(1 << 17);
    /// Among those about keys in general of the access lists.
    pub const KEYSPACE: Self = Self(1 << 18);
    /// Keys are where the options say.
    pub const MOVABLEKEYS: Self = Self(1 << 19);

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Names of the flags that clients know.
    pub fn names(self) -> Vec<&'static str> {
        [
            (Self::WRITE, "write"),
            (Self::READONLY, "readonly"),
            (Self::DENYOOM, "denyoom"),
            (Self::ADMIN, "admin"),
            (Self::NOSCRIPT, "noscript"),
            (Self::LOADING, "loading"),
            (Self::STALE, "stale"),
            (Self::SKIP_MONITOR, "skip_monitor"),
            (Self::SKIP_SLOWLOG, "skip_commandlog"),
            (Self::FAST, "fast"),
            (Self::NO_AUTH, "no_auth"),
            (Self::NO_MULTI, "no_multi"),
            (Self::ALLOW_BUSY, "allow_busy"),
            (Self::SENTINEL, "sentinel"),
            (Self::MOVABLEKEYS, "movablekeys"),
        ]
        .into_iter()
        .filter(|(flag, _)| self.has(*flag))
        .map(|(_, name)| name)
        .collect()
    }
}

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Any key.
    Generic,
    /// Strings.
    String,
    /// The connection itself.
    Connection,
    /// The node.
    Server,
    /// MULTI and what belongs to it.
    Transactions,
    /// A cluster's nodes and slots.
    Cluster,
    /// Rate limits.
    Limits,
}

impl Group {
    /// As COMMAND DOCS names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Transactions => "transactions",
            Self::Cluster => "cluster",
            Self::Limits => "limits",
        }
    }
}

/// Which arguments are keys: from `first` to `last` (negative from the end), every `step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// 0 for none.
    pub first: i8,
    /// Negative: counted from the last argument, which is -1.
    pub last: i8,
    /// Distance between two.
    pub step: i8,
}

impl Keys {
    /// No keys.
    pub const NONE: Self = Self { first: 0, last: 0, step: 0 };
    /// The first argument.
    pub const ONE: Self = Self { first: 1, last: 1, step: 1 };
    /// The first two.
    pub const TWO: Self = Self { first: 1, last: 2, step: 1 };
    /// All arguments.
    pub const ALL: Self = Self { first: 1, last: -1, step: 1 };
    /// Every second argument.
    pub const PAIRS: Self = Self { first: 1, last: -1, step: 2 };

    /// Numbers of the arguments that are keys in a call of `len` arguments.
    pub fn positions(self, len: usize) -> impl Iterator<Item = usize> {
        let last = if self.last < 0 { len as i64 + i64::from(self.last) } else { self.last.into() };
        let some = self.first > 0;
        (i64::from(self.first)..=last)
            .step_by(self.step.max(1) as usize)
            .filter(move |n| some && *n < len as i64)
            .map(|n| n as usize)
    }
}

/// A command's code.
pub(super) type Handler = fn(&mut Context<'_>) -> Result<(), CommandError>;

/// See the module's text.
pub struct CommandSpec {
    /// In lower case; a subcommand's is `container|name`.
    pub name: &'static str,
    /// Exact number of arguments with the name, or, negative, the least.
    pub arity: i8,
    /// Its properties.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: Keys,
    /// What it is about.
    pub group: Group,
    /// First version of Redis or Valkey that has it; of redis-cell for what is that module's.
    pub since: &'static str,
    /// Cost in the number of whatever it names.
    pub complexity: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Its arguments: `<name>` a value, `WORD` a token, `[..]` optional, `a | b` one of,
    /// `...` repeated.
    pub syntax: &'static str,
    /// What becomes of its keys: one description of all, or one each (`RW access update`).
    pub uses: &'static [&'static str],
    /// Hints for clients of clusters, as in COMMAND INFO.
    pub tips: &'static [&'static str],
    /// Whether it is part of a container.
    pub is_subcommand: bool,
    /// Where it runs on a node of several shards.
    pub spread: Spread,
    /// Its code.
    pub(super) handler: Handler,
}

impl std::fmt::Debug for CommandSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl CommandSpec {
    /// Its place in [`COMMANDS`].
    pub fn number(&'static self) -> usize {
        let start = COMMANDS.as_ptr() as usize;
        (std::ptr::from_ref(self) as usize - start) / size_of::<Self>()
    }

    /// Whether a call may have that many arguments.
    pub const fn takes(&self, args: usize) -> bool {
        if self.arity >= 0 { args == self.arity as usize } else { args >= -self.arity as usize }
    }

    /// Whether it is a subcommand.
    pub fn parent(&self) -> Option<&'static str> {
        self.name.split_once('|').map(|(parent, _)| parent)
    }

    /// Its subcommands.
    pub fn subcommands(&'static self) -> impl Iterator<Item = &'static CommandSpec> {
        let container = self.flags.has(Flags::CONTAINER);
        COMMANDS.iter().filter(move |spec| container && spec.parent() == Some(self.name))
    }

    /// Categories of Redis' access lists, which follow from flags and group.
    pub fn categories(&self) -> Vec<&'static str> {
        let mut categories = Vec::new();
        let mut add = |on: bool, name| {
            if on {
                categories.push(name);
            }
        };
        let dangerous = self.flags.has(Flags::ADMIN) || self.flags.has(Flags::DANGEROUS);
        add(self.flags.has(Flags::KEYSPACE), "@keyspace");
        add(self.flags.has(Flags::READONLY), "@read");
        add(self.flags.has(Flags::WRITE), "@write");
        add(self.group == Group::String, "@string");
        add(self.flags.has(Flags::ADMIN), "@admin");
        add(self.flags.has(Flags::FAST), "@fast");
        add(!self.flags.has(Flags::FAST), "@slow");
        add(dangerous, "@dangerous");
        let of_clients = self.group == Group::Cluster && self.flags.has(Flags::FAST);
        add(self.group == Group::Connection || of_clients, "@connection");
        add(self.group == Group::Transactions, "@transaction");
        categories
    }
}
