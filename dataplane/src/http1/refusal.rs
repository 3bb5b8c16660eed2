//! Why a message is refused: one reason each, with the status that answers it.

use std::fmt;

macro_rules! refusals {
    ($($variant:ident $status:literal $name:literal $text:literal;)*) => {
        /// Why a message is refused. The peer is to blame; the connection is closed after the
        /// answer, since nobody can say where the next message begins.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Refusal {
            $(#[doc = $text] $variant,)*
        }

        impl Refusal {
            /// All of them, in the order of [`Refusal::index`].
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// What a client is answered whose request is refused. A refused response is
            /// answered 502 whatever this says.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// A name for counting.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What was expected, and which section of which RFC says so.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

refusals! {
    HeadTooLarge 431 "head_too_large" "a head of at most 32 KiB (RFC 6585 section 5)";
    TooManyFields 431 "too_many_fields" "at most 100 field lines (RFC 6585 section 5)";
    LineTooLong 414 "line_too_long" "a start line of at most 8 KiB (RFC 9112 section 3)";
    BareLf 400 "bare_lf" "CRLF at the end of a line, not LF alone (RFC 9112 section 2.2)";
    BareCr 400 "bare_cr" "CR only before LF (RFC 9112 section 2.2)";
    RequestLine 400 "request_line"
        "a method, a target and a version with one space between each (RFC 9112 section 3)";
    Method 400 "method" "a token as method (RFC 9110 section 9.1)";
    MethodTooLong 501 "method_too_long" "a method of at most 32 bytes (RFC 9112 section 3)";
    EmptyTarget 400 "empty_target" "a target (RFC 9112 section 3.2)";
    Target 400 "target"
        "a target in one of the four forms, of visible ASCII, without a backslash in its path \
         (RFC 9112 section 3.2)";
    Fragment 400 "fragment" "a target without a fragment (RFC 9112 section 3.2)";
    PercentEncoding 400 "percent_encoding"
        "two hexadecimal digits after a % in the path (RFC 3986 section 2.1)";
    PathNul 400 "path_nul" "a path without %00 (RFC 3986 section 7.3)";
    PathAboveRoot 400 "path_above_root" "no more .. than segments before it (RFC 3986 section 5.2.4)";
    HiddenDots 400 "hidden_dots"
        "no . or .. beside an encoded slash or with a parameter (RFC 3986 section 3.3)";
    VersionSyntax 400 "version_syntax" "HTTP/ and two digits as version (RFC 9112 section 2.3)";
    VersionUnsupported 505 "version_unsupported" "HTTP/1.1 or HTTP/1.0 (RFC 9110 section 15.6.6)";
    StatusLine 502 "status_line"
        "a version, a status and a reason with one space between each (RFC 9112 section 4)";
    Status 502 "status" "a status from 100 to 599 (RFC 9110 section 15)";
    Reason 502 "reason" "a reason without control bytes (RFC 9112 section 4)";
    ObsFold 400 "obs_fold" "field lines that do not begin with white space (RFC 9112 section 5.2)";
    NoColon 400 "no_colon" "a colon in every field line (RFC 9112 section 5)";
    EmptyName 400 "empty_name" "a name before the colon of a field line (RFC 9110 section 5.1)";
    SpaceBeforeColon 400 "space_before_colon"
        "no white space between a field's name and its colon (RFC 9112 section 5.1)";
    FieldName 400 "field_name" "a token as field name (RFC 9110 section 5.1)";
    FieldValue 400 "field_value" "a field value without control bytes (RFC 9110 section 5.5)";
    UnderscoreTwin 400 "underscore_twin"
        "no field name that a server could take for one that frames, routes or authenticates \
         (RFC 9110 section 17.10)";
    HostMissing 400 "host_missing" "a Host field in a request of HTTP/1.1 (RFC 9112 section 3.2)";
    HostTwice 400 "host_twice" "no more than one Host field (RFC 9112 section 3.2)";
    Host 400 "host"
        "a host name or an address, and a port from 1 to 65535 if any, without user information \
         (RFC 9112 section 3.2, RFC 9110 section 4.2.4)";
    LengthTwice 400 "length_twice" "one Content-Length of one number (RFC 9110 section 8.6)";
    Length 400 "length" "digits only as Content-Length (RFC 9110 section 8.6)";
    LengthTooLarge 400 "length_too_large" "a Content-Length below 2^64 (RFC 9110 section 8.6)";
    LengthWithCoding 400 "length_with_coding"
        "Content-Length or Transfer-Encoding, not both (RFC 9112 section 6.1)";
    CodingInOld 400 "coding_in_old" "no Transfer-Encoding in HTTP/1.0 (RFC 9112 section 6.1)";
    CodingTwice 400 "coding_twice"
        "one Transfer-Encoding, and chunked once in it (RFC 9112 section 6.1)";
    CodingNotChunked 400 "coding_not_chunked"
        "chunked, without parameters, as the last transfer coding (RFC 9112 section 6.3)";
    CodingUnknown 501 "coding_unknown" "no transfer coding but chunked (RFC 9112 section 6.1)";
    Connection 400 "connection" "at most 32 tokens as connection options (RFC 9110 section 7.6.1)";
    Expectation 417 "expectation" "no expectation but 100-continue (RFC 9110 section 10.1.1)";
    MaxForwards 400 "max_forwards" "one decimal number as Max-Forwards (RFC 9110 section 7.6.2)";
    SwitchUnasked 502 "switch_unasked"
        "status 101 only for a request with Upgrade (RFC 9110 section 7.8)";
    ChunkSize 400 "chunk_size"
        "hexadecimal digits as the size of a chunk, and CRLF or an extension after it \
         (RFC 9112 section 7.1)";
    ChunkSizeTooLarge 400 "chunk_size_too_large"
        "at most 16 digits as the size of a chunk (RFC 9112 section 7.1)";
    ChunkExtension 400 "chunk_extension"
        "chunk extensions of names and values (RFC 9112 section 7.1.1)";
    ChunkExtensionsTooLarge 400 "chunk_extensions_too_large"
        "chunk extensions of at most 32 KiB in all (RFC 9112 section 7.1.1)";
    ChunkEnd 400 "chunk_end" "CRLF after a chunk's data (RFC 9112 section 7.1)";
    TrailersTooLarge 431 "trailers_too_large"
        "trailers of at most 32 KiB in all (RFC 9112 section 7.1.2)";
}

impl Refusal {
    /// Its place in [`Refusal::ALL`], for counters.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.text())
    }
}

impl std::error::Error for Refusal {}
