//! A simulated client: a connection, what it has asked, and whether the answers come in order.
//!
//! Owns the bytes in both directions. What is asked, and what an answer means, is its role's.

use std::collections::VecDeque;

use dataplane::runtime::sim::{Net, Read, Rng};

use super::checks::Checks;
use super::resp::{self, Value};
use super::trace::{Trace, shown};

/// One request of a role; the role knows it by its tag.
pub struct Request {
    pub args: Vec<Vec<u8>>,
    pub tag: u32,
    /// Whether no reply will come (CLIENT REPLY).
    pub silent: bool,
    /// Whether the server closes once it has answered (QUIT).
    pub last: bool,
}

impl Request {
    pub fn new(tag: u32, args: &[&[u8]]) -> Self {
        Self {
            args: args.iter().map(|arg| arg.to_vec()).collect(),
            tag,
            silent: false,
            last: false,
        }
    }

    pub fn of(tag: u32, words: &str) -> Self {
        let args = words.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        Self { args, tag, silent: false, last: false }
    }

    pub fn last(self) -> Self {
        Self { last: true, ..self }
    }

    pub fn silent(self) -> Self {
        Self { silent: true, ..self }
    }
}

/// What a role sees of the run.
pub struct Desk<'a> {
    pub rng: &'a mut Rng,
    pub checks: &'a mut Checks,
    /// Which client, and which connection of the run.
    pub client: usize,
    pub connection: usize,
    /// Counts the steps of the run: the order of calls and replies.
    pub at: u64,
    /// The wall clock in microseconds.
    pub wall_us: u64,
}

/// What a client does with its connection.
pub trait Role {
    fn name(&self) -> &'static str;

    /// What to ask next; nothing while it waits for answers.
    fn next(&mut self, desk: &mut Desk<'_>) -> Vec<Request>;

    /// An answer has come.
    fn answered(&mut self, desk: &mut Desk<'_>, tag: u32, value: &Value) -> Result<(), String>;

    /// The connection has gone before the answer.
    fn lost(&mut self, desk: &mut Desk<'_>, tag: u32);

    /// The connection has gone, and with it what the server knew of it.
    fn departed(&mut self) {}
}

/// Tags of the client's own requests.
const ECHO: u32 = u32::MAX;
const HELLO: u32 = u32::MAX - 1;
const ID: u32 = u32::MAX - 2;

struct Awaited {
    tag: u32,
    /// Where its last byte lies in all that was queued on this connection.
    end: usize,
    /// What an ECHO has to say.
    echo: u64,
    last: bool,
}

/// See the module's text.
pub struct Client {
    pub number: usize,
    pub role: Box<dyn Role>,
    pub link: Option<usize>,
    pub resp3: bool,
    /// What was queued on this connection, and how much of it is written.
    out: Vec<u8>,
    written: usize,
    inbox: Vec<u8>,
    awaited: VecDeque<Awaited>,
    echoes: u64,
    id: Option<i64>,
    /// Whether it has said that it will send no more.
    pub finished: bool,
    /// Whether the server has told why it closes.
    told_why: bool,
    /// Whether QUIT was answered, after which nothing comes.
    ended_by_quit: bool,
    /// Requests that it asks at a time.
    pub depth: usize,
    /// How eagerly it reads, of a hundred.
    appetite: usize,
}

/// What a client's step did, for the trace.
pub type Done = Result<(), String>;

impl Client {
    pub fn new(number: usize, role: Box<dyn Role>, rng: &mut Rng) -> Self {
        Self {
            number,
            role,
            link: None,
            resp3: rng.chance(50),
            out: Vec::new(),
            written: 0,
            inbox: Vec::new(),
            awaited: VecDeque::new(),
            echoes: 0,
            id: None,
            finished: false,
            told_why: false,
            ended_by_quit: false,
            depth: *rng.pick(&[1, 2, 8, 30]),
            appetite: *rng.pick(&[5, 50, 90]),
        }
    }

    /// Whether it waits for an answer.
    pub fn waits(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Whether it could do anything now.
    pub fn can_act(&self, net: &Net, asks: bool) -> bool {
        let Some(link) = self.link else { return asks };
        net.has_news(link) || self.can_write(net) || asks && self.may_ask()
    }

    fn can_write(&self, net: &Net) -> bool {
        let room = self.link.is_some_and(|link| net.room(link) > 0);
        room && !self.finished && self.written < self.out.len()
    }

    fn may_ask(&self) -> bool {
        !self.finished && self.awaited.len() < self.depth
    }

    /// Connects; nothing happens when nobody listens.
    pub fn connect(&mut self, net: &mut Net) {
        self.link = net.connect();
        self.out.clear();
        self.written = 0;
        self.inbox.clear();
        (self.id, self.finished) = (None, false);
        (self.told_why, self.ended_by_quit) = (false, false);
        if self.link.is_some() {
            if self.resp3 {
                self.queue(&Request::of(HELLO, "HELLO 3"), 0);
            }
            self.queue(&Request::of(ID, "CLIENT ID"), 0);
        }
    }

    fn queue(&mut self, request: &Request, echo: u64) {
        self.out.extend(resp::request(&request.args));
        if !request.silent {
            let end = self.out.len();
            self.awaited.push_back(Awaited { tag: request.tag, end, echo, last: request.last });
        }
    }

    /// Does one thing of those that it can.
    pub fn act(
        &mut self,
        net: &mut Net,
        trace: &mut Trace,
        desk: &mut Desk<'_>,
        asks: bool,
    ) -> Done {
        let Some(link) = self.link else {
            if desk.checks.crowded && !desk.rng.chance(2) {
                return Ok(()); // who was refused waits before he tries again
            }
            self.connect(net);
            trace.tell(format_args!("client {} connects: {:?}", self.number, self.link));
            return Ok(());
        };
        desk.connection = link;
        let reads = net.has_news(link) && desk.rng.chance(self.appetite);
        if reads || !(self.can_write(net) || asks && self.may_ask()) {
            return self.read(net, trace, desk);
        }
        if asks && self.may_ask() && (!self.can_write(net) || desk.rng.chance(50)) {
            self.ask(trace, desk);
        } else if self.can_write(net) {
            let left = self.out.len() - self.written;
            let most = if desk.rng.chance(70) { left } else { desk.rng.between(1, left) };
            let n = net.write(link, &self.out[self.written..self.written + most]);
            self.written += n;
            trace.tell(format_args!("client {} writes {n} of {left}", self.number));
            trace.mix(&[n as u64]);
        }
        Ok(())
    }

    fn ask(&mut self, trace: &mut Trace, desk: &mut Desk<'_>) {
        let requests = self.role.next(desk);
        for request in &requests {
            trace.tell(format_args!(
                "client {} ({}) asks {}",
                self.number,
                self.role.name(),
                shown(&request.args.join(&b' '))
            ));
            self.queue(request, 0);
        }
        if desk.rng.chance(15) {
            self.echoes += 1;
            let echo = self.echoes * 1_000 + self.number as u64;
            self.queue(&Request::of(ECHO, &format!("ECHO {echo}")), echo);
        }
    }

    fn read(&mut self, net: &mut Net, trace: &mut Trace, desk: &mut Desk<'_>) -> Done {
        let Some(link) = self.link else { return Ok(()) };
        let most = if desk.rng.chance(70) { usize::MAX } else { desk.rng.between(1, 200) };
        let before = self.inbox.len();
        let end = net.read(link, most, &mut self.inbox);
        trace.mix_bytes(&self.inbox[before..]);
        trace.tell(format_args!(
            "client {} reads {} ({end:?})",
            self.number,
            shown(&self.inbox[before..])
        ));
        let mut used = 0;
        while let Some((value, len)) = resp::parse(&self.inbox[used..]) {
            used += len;
            self.take(desk, &value)?;
        }
        self.inbox.drain(..used);
        match end {
            Read::Open => Ok(()),
            Read::Ended | Read::Reset => {
                let whole = self.inbox.is_empty();
                self.gone(net, desk, end, whole)
            }
        }
    }

    /// One reply, which is the answer to the oldest request.
    fn take(&mut self, desk: &mut Desk<'_>, value: &Value) -> Done {
        if self.ended_by_quit {
            return Err(format!("a reply behind QUIT's: {}", resp::render(value)));
        }
        if is_refusal(value) && self.id.is_none() {
            self.told_why = true; // whatever it wanted
            return Ok(());
        }
        let Some(awaited) = self.awaited.pop_front() else {
            return Err(format!("a reply to nothing: {}", resp::render(value)));
        };
        if matches!(value, Value::Error(text) if is_last_word(text)) {
            self.told_why = true;
        }
        self.ended_by_quit = awaited.last;
        self.told_why |= awaited.last;
        match awaited.tag {
            ECHO => match value {
                Value::Bulk(text) if *text == awaited.echo.to_string().into_bytes() => Ok(()),
                Value::Error(_) if self.told_why => Ok(()),
                _ => Err(format!("out of order: {} for {}", resp::render(value), awaited.echo)),
            },
            HELLO => match value {
                Value::Map(_) => Ok(()),
                _ => Err(format!("HELLO 3: {}", resp::render(value))),
            },
            ID => {
                let Value::Int(id) = value else {
                    return Err(format!("CLIENT ID: {}", resp::render(value)));
                };
                self.id = Some(*id);
                desk.checks.connected(desk.client, *id)
            }
            tag => self.role.answered(desk, tag, value),
        }
    }

    /// The server has closed: it must have had a reason, and have answered what it read.
    fn gone(&mut self, net: &mut Net, desk: &mut Desk<'_>, end: Read, whole: bool) -> Done {
        let killed = self.id.is_some_and(|id| desk.checks.killed.contains(&id));
        // Who is refused may lose the reason, as he has sent what nobody reads.
        let refused = desk.checks.crowded && self.id.is_none();
        let excused = killed || refused || self.told_why || desk.checks.draining;
        if !excused {
            if !self.finished || end == Read::Reset {
                return Err(format!("closed without a reason ({end:?})"));
            }
            if !whole {
                return Err(format!("ended amid a reply: {}", shown(&self.inbox)));
            }
            if let Some(lost) = self.awaited.iter().find(|awaited| awaited.end <= self.written) {
                return Err(format!("half-closed, and not answered: tag {}", lost.tag));
            }
        }
        self.leave(net, desk);
        Ok(())
    }

    /// Lets go of the connection; what was not answered is lost.
    fn leave(&mut self, net: &mut Net, desk: &mut Desk<'_>) {
        if let Some(link) = self.link.take() {
            desk.connection = link;
            net.finish(link);
            if let Some(id) = self.id {
                desk.checks.departed(id);
            }
            for awaited in std::mem::take(&mut self.awaited) {
                if !matches!(awaited.tag, ECHO | HELLO | ID) {
                    self.role.lost(desk, awaited.tag);
                }
            }
            self.role.departed();
        }
    }

    /// Queues all that its role wants to ask, however much it is.
    pub fn ask_all(&mut self, desk: &mut Desk<'_>) {
        for request in self.role.next(desk) {
            self.queue(&request, 0);
        }
    }

    /// Writes all that is queued, as far as there is room.
    pub fn write_all(&mut self, net: &mut Net) {
        if let Some(link) = self.link {
            self.written += net.write(link, &self.out[self.written..]);
        }
    }

    /// Breaks the connection.
    pub fn reset(&mut self, net: &mut Net, desk: &mut Desk<'_>) {
        if let Some(link) = self.link {
            let lose = desk.rng.chance(50);
            net.reset(link, lose);
            self.leave(net, desk);
        }
    }

    /// Says that it will send no more, maybe amid a request.
    pub fn finish(&mut self, net: &mut Net) {
        if let Some(link) = self.link {
            net.finish(link);
            self.finished = true;
        }
    }
}

/// What a client is told that there is no room for.
fn is_refusal(value: &Value) -> bool {
    matches!(value, Value::Error(text) if text == b"ERR max number of clients reached")
}

/// Errors after which the server closes.
fn is_last_word(text: &[u8]) -> bool {
    text.starts_with(b"OOM the system has no memory left")
}
