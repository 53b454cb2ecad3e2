//! What the host of a URL says of where it is.

use std::net::IpAddr;

use reqwest::Url;

/// True for `localhost`, `127.0.0.0/8` and `[::1]`, with or without port.
pub(crate) fn is_loopback(authority: &str) -> bool {
    host_of(authority)
        .is_some_and(|host| host == "localhost" || address(&host).is_some_and(|address| address.is_loopback()))
}

/// True for the addresses where clouds tell a machine its secrets (`169.254.169.254`), and their like.
pub(super) fn is_link_local(url: &Url) -> bool {
    match url.host_str().and_then(address).map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => address.is_link_local(),
        Some(IpAddr::V6(address)) => address.is_unicast_link_local(),
        None => false,
    }
}

/// The host of `host[:port]`, as URLs have it.
pub(super) fn host_of(authority: &str) -> Option<String> {
    Url::parse(&format!("http://{authority}")).ok()?.host_str().map(str::to_owned)
}

/// The address that a URL has in the place of a name.
fn address(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback_and_its_network_link_local() {
        for loopback in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
            assert!(is_loopback(loopback), "{loopback}");
        }
        let link_local = |url: &str| is_link_local(&url.parse().expect("a URL"));
        for url in [
            "http://169.254.169.254/latest",
            "https://[fe80::1]/x",
            "http://[::ffff:169.254.0.1]:80/",
            "http://2852039166/",
        ] {
            assert!(link_local(url), "{url}");
        }
        for url in ["http://127.0.0.1/", "https://quay.io/", "https://10.1.2.3/", "https://[2001:db8::1]/"] {
            assert!(!link_local(url), "{url}");
        }
        for other in ["quay.io", "localhost.example.com", "127.0.0.1.example.com", "10.0.0.1:5000", "0.0.0.0"] {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
