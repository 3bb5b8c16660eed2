//! Replies as trees.
//!
//! Owns the reading of what our own encoder writes; panics at anything else.

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tree {
    Null,
    /// A simple string, an error or a number, with its first byte.
    Line(Vec<u8>),
    Bulk(Vec<u8>),
    List(Vec<Tree>),
}

impl Tree {
    /// The one reply that these bytes are.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let (tree, rest) = read(bytes);
        assert!(rest.is_empty(), "one reply: {:?}", String::from_utf8_lossy(bytes));
        tree
    }

    pub(super) fn is_error(&self) -> bool {
        matches!(self, Self::Line(line) if line[0] == b'-')
    }

    pub(super) fn list(&self) -> &[Tree] {
        match self {
            Self::List(list) => list,
            other => panic!("a list: {other:?}"),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bulk(bytes) => bytes,
            other => panic!("a string: {other:?}"),
        }
    }

    /// A number, whichever way it is written; -1 for null.
    pub(super) fn number(&self) -> i64 {
        let text = match self {
            Self::Null => return -1,
            Self::Line(line) => line.strip_prefix(b":").unwrap_or(line),
            Self::Bulk(bytes) => bytes,
            other => panic!("a number: {other:?}"),
        };
        std::str::from_utf8(text).unwrap().parse().unwrap()
    }

    pub(super) fn numbers(&self) -> Vec<i64> {
        self.list().iter().map(Tree::number).collect()
    }

    pub(super) fn sorted(mut self) -> Self {
        if let Self::List(list) = &mut self {
            list.sort();
        }
        self
    }
}

fn read(bytes: &[u8]) -> (Tree, &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a line");
    let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
    let len = || std::str::from_utf8(&line[1..]).unwrap().parse::<i64>().unwrap();
    match line[0] {
        b'+' | b'-' | b':' => (Tree::Line(line.to_vec()), rest),
        b'_' => (Tree::Null, rest),
        b'$' | b'*' if len() < 0 => (Tree::Null, rest),
        b'$' => {
            let (text, rest) = rest.split_at(len() as usize);
            (Tree::Bulk(text.to_vec()), rest.strip_prefix(b"\r\n").expect("the end of a string"))
        }
        b'*' => {
            let (mut list, mut rest) = (Vec::new(), rest);
            for _ in 0..len() {
                let (tree, after) = read(rest);
                list.push(tree);
                rest = after;
            }
            (Tree::List(list), rest)
        }
        other => panic!("no reply begins with {:?}", other as char),
    }
}
