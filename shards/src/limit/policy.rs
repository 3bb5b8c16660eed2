//! Which buckets have a rate of their own, whatever their callers say.
//!
//! Owns the limits' names and rates as published together: immutable, replaced as a whole. A
//! bucket belongs to a limit when it is called by its name, or by NAME:VALUE[:VALUE].

#![forbid(unsafe_code)]

use super::rate::Rate;
use super::table::LONGEST_NAME;

/// See the module's text. `Default` has none.
#[derive(Clone, Debug, Default)]
pub struct Policies(Box<[(Box<[u8]>, Rate)]>);

/// Why limits do not go together. The configuration is to blame; the name says where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// A name is empty, longer than [`LONGEST_NAME`], or has a colon in it.
    Name(Box<[u8]>),
    /// Two limits have the same name.
    Twice(Box<[u8]>),
}

impl Policies {
    /// Limits by name, in any order.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn new(mut limits: Vec<(Box<[u8]>, Rate)>) -> Result<Self, PolicyError> {
        let wrong =
            |name: &[u8]| name.is_empty() || name.len() > LONGEST_NAME || name.contains(&b':');
        if let Some((name, _)) = limits.iter().find(|(name, _)| wrong(name)) {
            return Err(PolicyError::Name(name.clone()));
        }
        limits.sort_by(|(a, _), (b, _)| a.cmp(b));
        if let Some(pair) = limits.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(PolicyError::Twice(pair[0].0.clone()));
        }
        Ok(Self(limits.into()))
    }

    /// The rate of the limit that a bucket belongs to.
    #[inline]
    pub fn rate_of(&self, bucket: &[u8]) -> Option<&Rate> {
        if self.0.is_empty() {
            return None;
        }
        let colon = bucket.iter().position(|byte| *byte == b':');
        let limit = &bucket[..colon.unwrap_or(bucket.len())];
        let found = self.0.binary_search_by(|(name, _)| (**name).cmp(limit)).ok()?;
        Some(&self.0[found].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Tokens;
    use crate::time::Nanos;

    fn named(names: &[&str]) -> Result<Policies, PolicyError> {
        let rate = |n: usize| Rate::new(n as u64 + 1, Nanos::SECOND, Tokens(1)).unwrap();
        Policies::new(
            names.iter().enumerate().map(|(n, s)| (s.as_bytes().into(), rate(n))).collect(),
        )
    }

    #[test]
    fn a_bucket_belongs_to_the_limit_before_the_first_colon() {
        let policies = named(&["per-client", "all", "per"]).unwrap();
        let second = |n| Rate::new(n, Nanos::SECOND, Tokens(1)).unwrap();
        for (bucket, expect) in [
            ("per-client", Some(1)),
            ("per-client:192.0.2.7", Some(1)),
            ("per-client:", Some(1)),
            ("all:a:b", Some(2)),
            ("per:", Some(3)),
            ("per-clients:x", None),
            ("per-clien", None),
            (":all", None),
            ("", None),
        ] {
            let rate = policies.rate_of(bucket.as_bytes()).copied();
            assert_eq!(rate, expect.map(second), "{bucket}");
        }
        assert_eq!(Policies::default().rate_of(b"all"), None);
    }

    #[test]
    fn names_that_mean_nothing_or_two_things_are_errors() {
        assert!(matches!(named(&["a", ""]), Err(PolicyError::Name(_))));
        assert!(matches!(named(&["a:b"]), Err(PolicyError::Name(_))));
        assert!(matches!(named(&[&"x".repeat(LONGEST_NAME + 1)]), Err(PolicyError::Name(_))));
        assert_eq!(named(&["b", "a", "b"]).unwrap_err(), PolicyError::Twice((*b"b").into()));
    }
}
