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
}

const _: () = assert!(Known::ALL.len() < 64, "one bit each, and one for the others");

/// Of each length, the names of that length: first and past-the-last in `BY_LEN`.
const LONGEST: usize = 19;

/// `Known::ALL` sorted by length, and where each length begins.
const BY_LEN: ([(Known, &str); Known::ALL.len()], [u8; LONGEST + 2]) = {
    let mut sorted = [(Known::Other, ""); Known::ALL.len()];
    let mut starts = [0; LONGEST + 2];
    let (mut len, mut to) = (0, 0);
    while len <= LONGEST {
        starts[len] = to as u8;
        let mut from = 0;
        while from < Known::ALL.len() {
            if Known::ALL[from].1.len() == len {
                sorted[to] = Known::ALL[from];
                to += 1;
            }
            from += 1;
        }
        len += 1;
    }
    starts[LONGEST + 1] = to as u8;
    assert!(to == Known::ALL.len(), "no name is longer than the longest");
    (sorted, starts)
};

impl Known {
    /// Which one a name is, in any case.
    #[inline(always)]
    pub(super) fn of(name: &[u8]) -> Self {
        let len = name.len();
        if len > LONGEST {
            return Self::Other;
        }
        let (from, to) = (BY_LEN.1[len] as usize, BY_LEN.1[len + 1] as usize);
        for (known, text) in &BY_LEN.0[from..to] {
            if text.as_bytes()[0] == name[0] | 0x20 && name.eq_ignore_ascii_case(text.as_bytes()) {
                return *known;
            }
        }
        Self::Other
    }

    /// Which one a name would be for a server that takes `_` for `-`, or either for nothing.
    #[cold]
    pub(super) fn twin_of(name: &[u8]) -> Self {
        let twin = Self::ALL.iter().find(|(_, text)| letters(text.as_bytes()).eq(letters(name)));
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

/// The letters of a name, in lower case.
fn letters(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().filter(|byte| !matches!(byte, b'-' | b'_')).map(u8::to_ascii_lowercase)
}
