//! The field names that mean something here.
//!
//! Owns which of them are hop-by-hop, which may never be called so, and which must not come
//! in a trailer.

/// Hop-by-hop: never forwarded as received (RFC 9110 section 7.6.1).
const HOP: u8 = 1;
/// For all recipients: a Connection field that names it is not obeyed (same section: a sender
/// MUST NOT name such a field there), or it would take away what frames, routes, authenticates
/// or dates the message.
const KEPT: u8 = 2;
/// Not to be taken from a trailer (RFC 9110 section 6.5.1): framing, routing, request
/// modifiers, authentication, response control, content format.
const NO_TRAILER: u8 = 4;

macro_rules! names {
    ($($variant:ident $name:literal $traits:expr;)*) => {
        /// A field name that the codec or the proxy knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "each is the name it stands for")]
        pub enum Known {
            /// Any other name.
            Other,
            $($variant,)*
        }

        impl Known {
            /// All but `Other`, with their names in lower case.
            pub(super) const ALL: &[(Known, &'static str)] = &[$((Known::$variant, $name),)*];

            const fn traits(self) -> u8 {
                match self {
                    Known::Other => 0,
                    $(Known::$variant => $traits,)*
                }
            }
        }
    };
}

names! {
    Host "host" KEPT | NO_TRAILER;
    ContentLength "content-length" KEPT | NO_TRAILER;
    TransferEncoding "transfer-encoding" HOP | NO_TRAILER;
    Connection "connection" HOP | NO_TRAILER;
    KeepAlive "keep-alive" HOP | NO_TRAILER;
    ProxyConnection "proxy-connection" HOP | NO_TRAILER;
    Te "te" HOP | NO_TRAILER;
    Trailer "trailer" HOP | NO_TRAILER;
    Upgrade "upgrade" HOP | NO_TRAILER;
    ProxyAuthenticate "proxy-authenticate" HOP | NO_TRAILER;
    ProxyAuthorization "proxy-authorization" HOP | NO_TRAILER;
    Expect "expect" KEPT | NO_TRAILER;
    MaxForwards "max-forwards" KEPT | NO_TRAILER;
    Via "via" KEPT | NO_TRAILER;
    Forwarded "forwarded" KEPT | NO_TRAILER;
    XForwardedFor "x-forwarded-for" KEPT | NO_TRAILER;
    XForwardedProto "x-forwarded-proto" KEPT | NO_TRAILER;
    XForwardedHost "x-forwarded-host" KEPT | NO_TRAILER;
    XForwardedPort "x-forwarded-port" KEPT | NO_TRAILER;
    XRealIp "x-real-ip" KEPT | NO_TRAILER;
    XRequestId "x-request-id" KEPT | NO_TRAILER;
    Authorization "authorization" KEPT | NO_TRAILER;
    Cookie "cookie" KEPT | NO_TRAILER;
    SetCookie "set-cookie" KEPT | NO_TRAILER;
    WwwAuthenticate "www-authenticate" KEPT | NO_TRAILER;
    CacheControl "cache-control" KEPT | NO_TRAILER;
    Date "date" KEPT | NO_TRAILER;
    Age "age" KEPT | NO_TRAILER;
    Vary "vary" KEPT | NO_TRAILER;
    Location "location" KEPT | NO_TRAILER;
    RetryAfter "retry-after" KEPT | NO_TRAILER;
    Range "range" KEPT | NO_TRAILER;
    ContentType "content-type" KEPT | NO_TRAILER;
    ContentEncoding "content-encoding" KEPT | NO_TRAILER;
    ContentRange "content-range" KEPT | NO_TRAILER;
    IfMatch "if-match" KEPT | NO_TRAILER;
    IfNoneMatch "if-none-match" KEPT | NO_TRAILER;
    IfModifiedSince "if-modified-since" KEPT | NO_TRAILER;
    IfUnmodifiedSince "if-unmodified-since" KEPT | NO_TRAILER;
    IfRange "if-range" KEPT | NO_TRAILER;
    UserAgent "user-agent" 0;
}

const _: () = assert!(Known::ALL.len() < 64, "one bit each, and one for the others");

/// Length of the longest name.
const LONGEST: usize = 19;
/// Places of the table; more than names, so that a multiplier without collisions is soon found.
const PLACES: usize = 256;

/// A name as it is compared: its first and its last eight bytes, with bit 5 set in each.
#[derive(Clone, Copy)]
struct Entry {
    known: Known,
    len: u8,
    first: u64,
    last: u64,
}

/// The multiplier, and each name at the place that it leads to.
const TABLE: (u64, [Entry; PLACES]) = {
    let mut multiplier = 0x9e37_79b9_7f4a_7c15;
    loop {
        if let Some(table) = table(multiplier) {
            break (multiplier, table);
        }
        multiplier = multiplier.wrapping_mul(0xd134_2543_de82_ef95) | 1;
    }
};
static PLACE: [Entry; PLACES] = TABLE.1;

/// A table without collisions, if the multiplier makes one.
const fn table(multiplier: u64) -> Option<[Entry; PLACES]> {
    let mut table = [Entry { known: Known::Other, len: 0, first: 0, last: 0 }; PLACES];
    let mut at = 0;
    while at < Known::ALL.len() {
        let (known, name) = Known::ALL[at];
        let name = name.as_bytes();
        assert!(name.len() <= LONGEST, "no name is longer than the longest");
        let (first, last) = (lower_word(name, 0), lower_word(name, name.len().saturating_sub(8)));
        let place = place(multiplier, first, last, name.len());
        if table[place].len != 0 {
            return None;
        }
        table[place] = Entry { known, len: name.len() as u8, first, last };
        at += 1;
    }
    Some(table)
}

/// Up to eight bytes from `at` on, with bit 5 set: letters in lower case.
const fn lower_word(name: &[u8], at: usize) -> u64 {
    let (mut word, mut nth) = (0, 0);
    while nth < 8 && at + nth < name.len() {
        word |= (name[at + nth] as u64 | 0x20) << (8 * nth);
        nth += 1;
    }
    word
}

#[inline(always)]
const fn place(multiplier: u64, first: u64, last: u64, len: usize) -> usize {
    let mixed = (first ^ last.rotate_left(23) ^ len as u64).wrapping_mul(multiplier);
    (mixed >> (64 - PLACES.ilog2())) as usize
}

impl Known {
    /// Which one the token from `at` to before `end` is, in any case.
    ///
    /// With bit 5 set, the letters and the dash of the names known come from the same letter in
    /// either case, from the dash, and from CR, which no token has.
    #[inline(always)]
    pub(super) fn of(window: &[u8], at: usize, end: usize) -> Self {
        const LOWER: u64 = 0x2020_2020_2020_2020;
        let (name, len) = (&window[at..end], end - at);
        let (first, last) = match (window[at..].first_chunk::<8>(), name.last_chunk::<8>()) {
            (Some(first), Some(last)) => {
                (u64::from_le_bytes(*first) | LOWER, u64::from_le_bytes(*last) | LOWER)
            }
            (Some(first), None) => {
                // `len` is below 8, and the rest belongs to the value.
                let kept = (1 << (8 * len)) - 1;
                let word = (u64::from_le_bytes(*first) | LOWER) & kept;
                (word, word)
            }
            (None, _) => (lower_word(name, 0), lower_word(name, len.saturating_sub(8))),
        };
        let entry = &PLACE[place(TABLE.0, first, last, len)];
        let same = entry.first == first && entry.last == last && usize::from(entry.len) == len;
        if same && (len <= 16 || name[8..len - 8].eq_ignore_ascii_case(entry.middle())) {
            entry.known
        } else {
            Self::Other
        }
    }

    /// Which one a name would be for a server that takes `_` for `-`, or either for nothing, of
    /// those that mean something to more than a log.
    #[cold]
    pub(super) fn twin_of(name: &[u8]) -> Self {
        let mut names = Self::ALL.iter().filter(|(known, _)| known.is_hop() || known.is_kept());
        let twin = names.find(|(_, text)| letters(text.as_bytes()).eq(letters(name)));
        twin.map_or(Self::Other, |(known, _)| *known)
    }

    #[inline(always)]
    pub(super) const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// Hop-by-hop by itself.
    #[inline(always)]
    pub(super) const fn is_hop(self) -> bool {
        self.traits() & HOP != 0
    }

    /// Whether Connection cannot make it hop-by-hop.
    pub(super) const fn is_kept(self) -> bool {
        self.traits() & KEPT != 0
    }

    /// Whether it may come in a trailer.
    pub(super) const fn in_trailer(self) -> bool {
        self.traits() & NO_TRAILER == 0
    }
}

impl Entry {
    /// What lies between the first and the last eight bytes of a long name.
    #[cold]
    fn middle(&self) -> &'static [u8] {
        let name = Known::ALL[self.known as usize - 1].1.as_bytes();
        &name[8..name.len() - 8]
    }
}

/// The letters of a name, in lower case.
fn letters(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().filter(|byte| !matches!(byte, b'-' | b'_')).map(u8::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each name in both cases, alone and with bytes behind it; and with one byte changed or
    /// more, it is another.
    #[test]
    fn names_are_found_and_no_others() {
        for (known, name) in Known::ALL {
            for mut text in [name.to_string(), name.to_uppercase()] {
                let len = text.len();
                assert_eq!(Known::of(text.as_bytes(), 0, len), *known, "{text}");
                assert_eq!(Known::of(text.as_bytes(), 0, len - 1), Known::Other, "{text}");
                text.push_str(": and a value behind it");
                assert_eq!(Known::of(text.as_bytes(), 0, len), *known, "{text}");
                for at in 0..len {
                    let mut bytes = text.clone().into_bytes();
                    bytes[at] = if bytes[at] == b'~' { b'z' } else { b'~' };
                    assert_eq!(Known::of(&bytes, 0, len), Known::Other, "{text} at {at}");
                }
            }
        }
        assert_eq!(Known::of(b"X-Forwarded-Server", 0, 18), Known::Other);
        assert_eq!(Known::of(b"X-Forwarded-Protocol", 0, 20), Known::Other);
    }

    #[test]
    fn twins() {
        for (twin, known) in [
            ("content_length", Known::ContentLength),
            ("TRANSFER_Encoding", Known::TransferEncoding),
            ("_host", Known::Host),
            ("X_Forwarded_For", Known::XForwardedFor),
            ("x_trace", Known::Other),
            ("user_agent", Known::Other),
        ] {
            assert_eq!(Known::twin_of(twin.as_bytes()), known, "{twin}");
        }
    }
}
