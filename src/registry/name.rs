//! Names of registries and repositories (OCI distribution spec: pulling manifests). Checked by hand: oci-client's
//! `Reference` compiles a regular expression for it, which takes 47 ms and 18 MB of each run.

use super::error::Error;

/// The longest name of a repository, host included, that registries and clients agree on.
const MAX_LENGTH: usize = 255;

/// The host of a registry and the name of one of its repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// `host[:port]`, where the registry answers.
    pub(super) host: String,
    /// `acme/todo`.
    pub(super) path: String,
}

impl Name {
    /// The repository of the image `image` below `prefix` (`host[:port][/namespace]`).
    pub(super) fn new(prefix: &str, image: &str) -> Result<Self, Error> {
        let text = format!("{prefix}/{image}");
        let wrong = || Error::Name { text: text.clone() };
        let (host, path) = text.split_once('/').ok_or_else(wrong)?;
        if text.len() > MAX_LENGTH || !is_host(host) || !path.split('/').all(is_component) {
            return Err(wrong());
        }
        // Docker Hub answers elsewhere than its name says.
        let host = if host == "docker.io" { "index.docker.io" } else { host };
        Ok(Self { host: host.to_owned(), path: path.to_owned() })
    }
}

/// A host that can be told from a namespace: with a dot, a port, or `localhost`.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("[]", rest.strip_prefix(':').or((!rest.is_empty()).then_some("-")))
        }
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    let legal = |label: &str| {
        let mut characters = label.chars();
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && characters.all(|character| character.is_ascii_alphanumeric() || character == '-')
    };
    let named = name == "[]" || name.split('.').all(legal);
    let told = name == "[]" || name == "localhost" || name.contains('.') || port.is_some();
    named && told && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
    ends && text
        .split(|character: char| character.is_ascii_lowercase() || character.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        for (prefix, image, path) in [
            ("quay.io/acme", "todo", Some("acme/todo")),
            ("127.0.0.1:5000", "todo", Some("todo")),
            ("localhost:5000/a/b", "todo", Some("a/b/todo")),
            ("localhost", "todo", Some("todo")),
            ("[::1]:5000/a", "todo", Some("a/todo")),
            ("registry:5000", "todo", Some("todo")),
            ("quay.io/a__b.c-d---e_f", "t0", Some("a__b.c-d---e_f/t0")),
            ("https://quay.io/acme", "todo", None),
            ("quay.io/Acme", "todo", None),
            ("quay.io/acme", "todo:latest", None),
            ("quay.io/acme", "todo@sha256:00", None),
            ("quay.io/acme", "../todo", None),
            ("quay.io/acme", "a..b", None),
            ("quay.io/acme", "a___b", None),
            ("quay.io/acme", "a-_b", None),
            ("quay.io/acme", "-a", None),
            ("quay.io/acme", "a.", None),
            ("quay.io/acme", "", None),
            ("quay.io//acme", "todo", None),
            ("quay.io:port/acme", "todo", None),
            ("quay.io:0/acme", "todo", None),
            ("ann:pw@quay.io/acme", "todo", None),
            ("acme", "todo", None),
            ("[::1/a", "todo", None),
            ("[::1]5000/a", "todo", None),
        ] {
            let found = Name::new(prefix, image).ok();
            assert_eq!(found.as_ref().map(|name| name.path.as_str()), path, "{prefix} {image}");
        }
        assert_eq!(Name::new("docker.io/acme", "x").map(|name| name.host).ok().as_deref(), Some("index.docker.io"));
        assert!(Name::new("quay.io/acme", &"x".repeat(300)).is_err());
    }
}
