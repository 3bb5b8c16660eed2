//! How a server's connection ends, or goes over to another protocol.

use dataplane::runtime::sim::{Net, Read};

use super::super::answer::{Deed, Dice};
use super::super::book::{Book, DOWN, End, content};
use super::super::plan::Event;
use super::{Conn, tunnelled};

impl Conn {
    /// The proxy has ended the connection.
    pub(super) fn proxy_left(&mut self, net: &mut Net, book: &mut Book, state: Read) {
        let tunnel = self.tunnel.is_some() && state == Read::Ended;
        if tunnel && (self.unwritten() || !self.finished) {
            if !self.unwritten() {
                net.finish(self.link);
                self.finished = true;
            }
            return;
        }
        if let Some((n, a)) = self.at.take() {
            let attempt = &mut book.entries[n].attempts[a];
            if attempt.end == End::Open {
                attempt.end = End::Left;
            }
        }
        net.finish(self.link);
        self.gone = true;
    }

    pub(super) fn begin_tunnel(&mut self, book: &mut Book) {
        let Some((n, _)) = self.at.take() else { return };
        book.note(Event::Upgrade);
        self.tunnel = Some(n);
        let mut answer = self.answer.take().expect("it has been given");
        answer.bytes = content(n, DOWN, tunnelled(n));
        (self.answer, self.written) = (Some(answer), 0);
    }

    /// Ends the connection, or breaks it.
    pub(super) fn end(
        &mut self,
        net: &mut Net,
        book: &mut Book,
        dice: &mut Dice<'_>,
        deed: Deed,
        whole: bool,
    ) {
        let reset = deed == Deed::Reset;
        if let Some((n, a)) = self.at.take() {
            let end = if reset { End::Reset } else { End::Closed };
            book.entries[n].attempts[a].end = end;
        }
        if reset || !whole {
            *book.broken.entry(self.server).or_default() += 1;
        }
        book.note(if reset { Event::Resets } else { Event::Closes });
        if reset {
            let lose = dice.rng.chance(50);
            net.reset(self.link, lose);
        } else {
            net.finish(self.link);
        }
        self.gone = true;
    }

    /// What servers do with connections that nobody uses.
    pub(super) fn do_idly(&mut self, net: &mut Net, book: &mut Book, dice: &mut Dice<'_>) {
        book.note(Event::IdleEnd);
        *book.broken.entry(self.server).or_default() += 1;
        match dice.rng.below(3) {
            0 => net.finish(self.link),
            1 => {
                // It may take the last answer along.
                if let Some((n, a)) = self.before {
                    book.entries[n].attempts[a].end = End::Reset;
                }
                let lose = dice.rng.chance(50);
                net.reset(self.link, lose);
            }
            _ => {
                *book.junk.entry(self.server).or_default() += 1;
                net.write(self.link, b"junk\r\n\r\n");
                net.finish(self.link);
            }
        }
        self.gone = true;
    }
}
