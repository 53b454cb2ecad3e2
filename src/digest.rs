//! Names of bytes: OCI digests and npm integrity values.

use std::fmt;
use std::io::Read;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A sha256 digest as OCI writes it: `sha256:` and 64 hexadecimal digits, lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^sha256:[0-9a-f]{64}$"))]
pub struct Digest(String);

/// A text that is not a [`Digest`] or [`Integrity`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct NotADigest {
    text: String,
    expected: &'static str,
}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_sha256(Sha256::digest(bytes).into())
    }

    /// The digest with this sha256 value.
    #[must_use]
    pub fn from_sha256(value: [u8; 32]) -> Self {
        Self(format!("sha256:{}", hex::encode(value)))
    }

    /// `sha256:…`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hexadecimal digits alone: the file name of a blob in an OCI layout.
    #[must_use]
    pub fn hex(&self) -> &str {
        self.0.strip_prefix("sha256:").unwrap_or(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let valid = text
            .strip_prefix("sha256:")
            .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotADigest { text: text.to_owned(), expected: "`sha256:` and 64 hexadecimal digits" })
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// An integrity value as npm and RHDH's installers take it (subresource integrity): `sha512-` and padded base64.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^sha(256|384|512)-[A-Za-z0-9+/]+=*$"))]
pub struct Integrity(String);

impl Integrity {
    /// The integrity with this sha512 value.
    #[must_use]
    pub fn from_sha512(value: [u8; 64]) -> Self {
        Self(format!("sha512-{}", STANDARD.encode(value)))
    }

    /// `sha512-…`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for Integrity {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        let value = text.strip_prefix("sha512-").and_then(|base64| STANDARD.decode(base64).ok());
        if value.is_some_and(|value| value.len() == 64) {
            Ok(Self(text))
        } else {
            Err(NotADigest { text, expected: "`sha512-` and the padded base64 of 64 bytes" })
        }
    }
}

impl From<Integrity> for String {
    fn from(integrity: Integrity) -> Self {
        integrity.0
    }
}

/// An integrity value that somebody else wrote down. RHDH's installers take one of three algorithms, and nothing else
/// of subresource integrity: no list, no options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedIntegrity {
    text: String,
    algorithm: Algorithm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl ExpectedIntegrity {
    /// The integrity of `bytes`, by the same algorithm.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn of(&self, bytes: &mut impl Read) -> std::io::Result<String> {
        fn hash<Hash: sha2::Digest>(bytes: &mut impl Read) -> std::io::Result<String> {
            let mut hasher = Hash::new();
            let mut piece = vec![0; 64 << 10];
            loop {
                match bytes.read(&mut piece)? {
                    0 => return Ok(STANDARD.encode(hasher.finalize())),
                    read => hasher.update(&piece[..read]),
                }
            }
        }
        Ok(match self.algorithm {
            Algorithm::Sha256 => format!("sha256-{}", hash::<Sha256>(bytes)?),
            Algorithm::Sha384 => format!("sha384-{}", hash::<Sha384>(bytes)?),
            Algorithm::Sha512 => format!("sha512-{}", hash::<Sha512>(bytes)?),
        })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ExpectedIntegrity {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let algorithms = [
            ("sha256-", Algorithm::Sha256, 32),
            ("sha384-", Algorithm::Sha384, 48),
            ("sha512-", Algorithm::Sha512, 64),
        ];
        let found = algorithms.into_iter().find_map(|(prefix, algorithm, length)| {
            let value = STANDARD.decode(text.strip_prefix(prefix)?).ok()?;
            (value.len() == length).then_some(algorithm)
        });
        let expected = "one integrity value: `sha512-`, `sha384-` or `sha256-`, and the padded base64 of the hash";
        found
            .map(|algorithm| Self { text: text.to_owned(), algorithm })
            .ok_or_else(|| NotADigest { text: text.to_owned(), expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_lower_case_hexadecimal() {
        let digest = Digest::of(b"");
        assert_eq!(digest.as_str(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(digest.as_str().parse(), Ok(digest.clone()));
        assert!(digest.as_str().to_uppercase().parse::<Digest>().is_err());
        assert!("sha256:00".parse::<Digest>().is_err());
    }

    #[test]
    fn expected_integrities_are_those_that_installers_take() {
        // `printf x | openssl dgst -sha384 -binary | base64`
        for text in [
            "sha256-LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=",
            "sha384-11LCxR+6DimqGQVwqdQlPkQHegWNMpf6OlYw1b0BJiL5fCisrtMTtcg7uZDKp9qF",
        ] {
            assert_eq!(text.parse::<ExpectedIntegrity>().unwrap().of(&mut &b"x"[..]).unwrap(), text);
        }
        let right = Integrity::from_sha512(Sha512::digest(b"x").into()).to_string();
        assert_eq!(right.parse::<ExpectedIntegrity>().unwrap().of(&mut &b"x"[..]).unwrap(), right);
        for wrong in [
            "sha1-AAAA",
            "SHA512-AAAA",
            "sha256-AAAA",
            "sha256-abc",
            &format!("{right} {right}"),
            &format!("{right}?x"),
        ] {
            assert!(wrong.parse::<ExpectedIntegrity>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_integrity_has_64_bytes() {
        let integrity = Integrity::from_sha512([7; 64]);
        assert_eq!(Integrity::try_from(integrity.to_string()), Ok(integrity));
        assert!(Integrity::try_from("sha512-AAAA".to_owned()).is_err());
        assert!(Integrity::try_from("sha1-AAAA".to_owned()).is_err());
    }
}
