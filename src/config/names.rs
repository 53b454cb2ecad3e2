//! What names, references and URLs of the configuration may look like. A text comes in; what goes out is whether it
//! is legal, or the nearest text that is.

use std::net::Ipv6Addr;

use url::Url;

/// Longest id, channel or image name: all become parts of file names.
pub(super) const MAX_NAME: usize = 128;

/// Whether `text` can name a plugin, bundle, registry or channel: `[a-z0-9][a-z0-9._-]*`, as these names become
/// parts of file names and tags.
pub(super) fn is_id(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text.chars().all(|character| is_lower_alphanumeric(character) || matches!(character, '.' | '_' | '-'))
}

/// The id nearest to `text`.
#[must_use]
pub fn to_id(text: &str) -> String {
    let lower = text.trim().trim_start_matches('@').to_ascii_lowercase();
    let legal =
        |character| if is_lower_alphanumeric(character) || matches!(character, '.' | '_') { character } else { '-' };
    let id: String = lower.chars().map(legal).take(MAX_NAME).collect();
    let id = id.trim_matches(|character| !is_lower_alphanumeric(character));
    if id.is_empty() { "name".to_owned() } else { id.to_owned() }
}

/// Whether `text` can name an image: one component of a repository name (OCI distribution spec: letters and digits,
/// separated by `.`, `_`, `__` or any number of `-`). It has no `/`: installers take the name's last component for
/// the folder of the plugin.
#[must_use]
pub fn is_image_name(text: &str) -> bool {
    text.len() <= MAX_NAME && is_component(text)
}

/// Whether `text` can be named to the RHDH CLI as a package: it would take others for its own options.
#[must_use]
pub fn is_package(text: &str) -> bool {
    !text.trim().is_empty() && !text.starts_with('-') && !text.contains(char::is_control)
}

/// The image that a package has by default: `@acme/plugin-todo-dynamic` is `acme-plugin-todo`.
#[must_use]
pub fn package_image_name(package: &str) -> String {
    let name = package.trim_start_matches('@');
    name.strip_suffix("-dynamic").unwrap_or(name).replace('/', "-")
}

/// The image name nearest to `text`.
#[must_use]
pub fn to_image_name(text: &str) -> String {
    let mut name = String::new();
    for character in to_id(text).chars() {
        let separates = |character: char| !is_lower_alphanumeric(character);
        if !(separates(character) && name.ends_with(separates)) {
            name.push(character);
        }
    }
    name
}

/// Whether `text` is `host[:port]/namespace`: an OCI reference without image, tag and scheme.
#[must_use]
pub fn is_oci_prefix(text: &str) -> bool {
    let Some((host, namespace)) = text.split_once('/') else { return false };
    is_host(host) && namespace.split('/').all(is_component)
}

/// What `text` most likely should have been, if that is an OCI registry and namespace.
pub(super) fn to_oci_prefix(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = text.split_once("://").map_or(text, |(_, rest)| rest).trim_matches('/').to_ascii_lowercase();
    let without_tag = plain
        .rsplit_once('/')
        .map_or(plain.clone(), |(head, last)| format!("{head}/{}", last.split([':', '@']).next().unwrap_or(last)));
    Some(without_tag).filter(|fixed| is_oci_prefix(fixed))
}

fn is_component(text: &str) -> bool {
    let mut rest = text;
    loop {
        let word = rest.find(|character: char| !is_lower_alphanumeric(character)).unwrap_or(rest.len());
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        let separator = rest.find(is_lower_alphanumeric).unwrap_or(rest.len());
        match &rest[..separator] {
            "" => return true,
            "." | "_" | "__" => {}
            dashes if dashes.chars().all(|character| character == '-') => {}
            _ => return false,
        }
        rest = &rest[separator..];
    }
}

/// A host name or address, with or without a port; `localhost` or anything with a dot or a port, as in every OCI
/// client: the rest would be a namespace of Docker Hub.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => ("localhost", port.strip_prefix(':')),
        Some(_) => return false,
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|character| is_lower_alphanumeric(character) || character == '-')
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| number > 0) && !port.starts_with('+');
    host.split('.').all(is_label)
        && port.is_none_or(is_port)
        && (port.is_some() || host == "localhost" || host.contains('.'))
}

/// Why `text` is not a URL that artifacts can be sent to or fetched from; `None` where it is.
pub(super) fn url_fault(text: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(text) else { return Some("is not a URL") };
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
        return Some("is not an `https://` URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("holds credentials");
    }
    (url.query().is_some() || url.fragment().is_some()).then_some("has a query or a fragment")
}

/// Whether `url` is that of the npm registry which everybody can read, by any of its names.
#[must_use]
pub fn is_public_npm(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    ["registry.npmjs.org", "registry.npmjs.com", "registry.yarnpkg.com", "npmjs.org", "npmjs.com", "www.npmjs.com"]
        .contains(&host.as_str())
}

/// Whether `text` is one version (and no range), written as npm writes it.
#[must_use]
pub fn is_exact_version(text: &str) -> bool {
    nodejs_semver::Version::parse(text).is_ok_and(|version| version.to_string() == text)
}

fn is_lower_alphanumeric(character: char) -> bool {
    character.is_ascii_lowercase() || character.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names_follow_the_distribution_spec() {
        for legal in ["todo", "acme-plugin-todo", "a.b", "a__b", "a---b", "0"] {
            assert!(is_image_name(legal), "{legal}");
        }
        for illegal in ["", "Todo", "-todo", "todo-", "a..b", "a___b", "a._b", "team/todo", "todo:1", "übung"] {
            assert!(!is_image_name(illegal), "{illegal}");
        }
    }

    #[test]
    fn oci_prefixes() {
        for legal in ["quay.io/acme", "localhost:5000/a/b", "localhost/a", "[::1]:5000/a", "127.0.0.1:5000/acme"] {
            assert!(is_oci_prefix(legal), "{legal}");
        }
        for illegal in
            ["quay.io", "acme/plugins", "Quay.io/acme", "https://quay.io/acme", "quay.io/acme/", "quay.io//a"]
        {
            assert!(!is_oci_prefix(illegal), "{illegal}");
        }
        for illegal in ["quay.io/acme:latest", "quay.io:0/a", "quay.io:99999/a", "-a.io/a", "[::1/a", "a.io:+5/a", ""] {
            assert!(!is_oci_prefix(illegal), "{illegal}");
        }
    }

    #[test]
    fn oci_prefixes_are_mended() {
        for text in ["https://quay.io/acme/", "Quay.io/Acme", "oci://quay.io/acme", "quay.io/acme:latest"] {
            assert_eq!(to_oci_prefix(text).as_deref(), Some("quay.io/acme"));
        }
        assert_eq!(to_oci_prefix("acme"), None);
    }

    #[test]
    fn ids_and_image_names_are_mended() {
        assert_eq!(to_id("@Acme/Todo Backend!"), "acme-todo-backend");
        assert_eq!(to_id("…"), "name");
        assert_eq!(to_image_name("a..b_-c"), "a.b_c");
    }

    #[test]
    fn urls() {
        assert_eq!(url_fault("https://nexus.acme.dev/repository/npm"), None);
        assert!(url_fault("nexus.acme.dev").is_some());
        assert!(url_fault("ftp://nexus.acme.dev").is_some());
        assert_eq!(url_fault("https://user:secret@nexus.acme.dev"), Some("holds credentials"));
    }
}
