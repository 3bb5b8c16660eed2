//! Whether every number in the archive names a row that is there.
//!
//! rkyv has seen to it by now that the tables lie within the bytes and that texts are UTF-8;
//! this sees to the rest, so that reading never panics and every search ends.

#![forbid(unsafe_code)]

use super::archive::{ArchivedConfig, ArchivedRange, ArchivedSlot, HostKind, NONE};

type Check = Result<(), &'static str>;

impl ArchivedConfig {
    /// # Errors
    /// What leads nowhere.
    pub(super) fn check(&self) -> Check {
        self.check_search()?;
        self.check_rules()?;
        self.check_rest()?;
        table(&self.host_table, self.hosts.len(), "table of hosts")?;
        table(&self.place_table, self.places.len(), "table of places")?;
        table(&self.limit_table, self.limits.len(), "table of limits")
    }

    fn check_search(&self) -> Check {
        for port in self.ports.iter() {
            ensure(port.number.to_native() <= 0xffff, "port")?;
            within(&port.listeners, self.listeners.len(), "port")?;
        }
        for listener in self.listeners.iter() {
            self.text_at(&listener.name)?;
            self.text_at(&listener.hostname)?;
            row(listener.any.to_native(), self.hosts.len(), "listener")?;
            within(&listener.wildcard_lengths, self.lengths.len(), "listener")?;
        }
        for (n, host) in self.hosts.iter().enumerate() {
            ensure((host.listener.to_native() as usize) < self.listeners.len(), "host")?;
            self.text_at(&host.pattern)?;
            row(host.root.to_native(), self.places.len(), "root of a host")?;
            // An earlier row, so that following parents ends.
            row(host.parent.to_native(), n, "parent of a host")?;
            let any = host.kind == HostKind::Any;
            ensure(!any || host.parent.to_native() == NONE, "parent of a host")?;
        }
        for (n, place) in self.places.iter().enumerate() {
            ensure((place.host.to_native() as usize) < self.hosts.len(), "place")?;
            self.text_at(&place.path)?;
            row(place.parent.to_native(), n, "parent of a place")?;
            within(&place.candidates, self.candidates.len(), "place")?;
        }
        for candidate in self.candidates.iter() {
            self.text_at(&candidate.method)?;
            within(&candidate.headers, self.conditions.len(), "candidate")?;
            within(&candidate.params, self.conditions.len(), "candidate")?;
            ensure((candidate.rule.to_native() as usize) < self.rules.len(), "candidate")?;
        }
        for condition in self.conditions.iter() {
            self.text_at(&condition.name)?;
            self.text_at(&condition.value)?;
        }
        Ok(())
    }

    fn check_rules(&self) -> Check {
        for rule in self.rules.iter() {
            self.text_at(&rule.route)?;
            self.text_at(&rule.name)?;
            within(&rule.shares, self.shares.len(), "shares of a rule")?;
            within(&rule.limits, self.rule_limits.len(), "limits of a rule")?;
            let mut last = 0;
            for share in rule.shares.of(&self.shares) {
                ensure(share.upto.to_native() > last, "weights")?;
                last = share.upto.to_native();
            }
        }
        for share in self.shares.iter() {
            row(share.backend.to_native(), self.backends.len(), "share")?;
        }
        for limit in self.rule_limits.iter() {
            ensure((limit.to_native() as usize) < self.limits.len(), "limit of a rule")?;
        }
        Ok(())
    }

    fn check_rest(&self) -> Check {
        for backend in self.backends.iter() {
            self.text_at(&backend.name)?;
            within(&backend.members, self.members.len(), "backend")?;
        }
        for member in self.members.iter() {
            ensure((member.to_native() as usize) < self.endpoints.len(), "member")?;
        }
        for limit in self.limits.iter() {
            self.text_at(&limit.name)?;
            within(&limit.keys, self.keys.len(), "keys of a limit")?;
        }
        for key in self.keys.iter() {
            if let super::archive::ArchivedKey::Header(name) = key {
                self.text_at(name)?;
            }
        }
        Ok(())
    }

    fn text_at(&self, range: &ArchivedRange) -> Check {
        within(range, self.text.len(), "text")?;
        let start = range.start.to_native() as usize;
        let end = start + range.len.to_native() as usize;
        let whole = self.text.is_char_boundary(start) && self.text.is_char_boundary(end);
        ensure(whole, "text")
    }
}

fn ensure(holds: bool, what: &'static str) -> Check {
    if holds { Ok(()) } else { Err(what) }
}

/// A row of a table that long, or none.
fn row(row: u32, len: usize, what: &'static str) -> Check {
    ensure(row == NONE || (row as usize) < len, what)
}

fn within(range: &ArchivedRange, len: usize, what: &'static str) -> Check {
    let end = range.start.to_native().checked_add(range.len.to_native());
    ensure(end.is_some_and(|end| end as usize <= len), what)
}

fn table(slots: &[ArchivedSlot], rows: usize, what: &'static str) -> Check {
    ensure(slots.len().is_power_of_two(), what)?;
    slots.iter().try_for_each(|slot| row(slot.row.to_native(), rows, what))
}
