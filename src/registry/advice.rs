//! What to do about what registries, and the network before them, say most often.

use reqwest::StatusCode;

/// What to look at when there is no connection.
pub(super) fn unreachable_help(cause: &str) -> &'static str {
    if cause.contains("refused") {
        "look whether the registry runs and whether its port is right"
    } else if cause.contains("corrupt message") {
        "the registry does not speak TLS; where the network between is trusted, set `insecure = true` in \
         `[registries.<name>]`"
    } else if cause.contains("lookup") || cause.contains("resolve") || cause.contains("Name or service") {
        "look whether the registry's name is written right, and whether this machine can resolve names"
    } else {
        "look at the network between here and the registry; proxies are taken from `HTTPS_PROXY` and `NO_PROXY`"
    }
}

/// What to do about what registries say most often.
pub(super) fn advice(status: StatusCode, code: &str) -> Option<&'static str> {
    Some(match (code, status.as_u16()) {
        ("DENIED" | "UNAUTHORIZED", _) | (_, 401 | 403) => {
            "the account may not do this: give it write permission to the repository, or log in with another account \
             (`podman login`, or `RHDH_PACK_<REGISTRY>_USERNAME` and `RHDH_PACK_<REGISTRY>_PASSWORD`)"
        }
        ("NAME_UNKNOWN", _) => {
            "the registry does not make repositories by itself: create the repository there first, or correct the \
             namespace in `oci = \"<host>/<namespace>\"`"
        }
        ("NAME_INVALID", _) => {
            "correct the namespace in `oci = \"<host>/<namespace>\"`: lower case, as the registry wants it"
        }
        ("TOOMANYREQUESTS", _) | (_, 429) => {
            "the registry limits how often it may be asked: wait, then run the command again"
        }
        ("DIGEST_INVALID", _) => {
            "what was sent is what its digest says: the registry's disk may be full, or something between changes uploads"
        }
        ("SIZE_INVALID", _) | (_, 413) => {
            "the registry, or a proxy before it, does not take uploads of this size: raise its limit \
             (nginx: `client_max_body_size 0;`)"
        }
        ("UNSUPPORTED", _) | (_, 405) => "the registry is read-only, or does not take this kind of image",
        ("MANIFEST_INVALID", _) => {
            "the registry does not take images of this form: look at what it says about OCI images"
        }
        (_, 402 | 507) => {
            "the registry's storage or quota is used up: delete what is not needed any more, then run again"
        }
        (_, 409 | 412) => "somebody else changes the same tag or repository: run the command again",
        (_, 500..=599) => "the registry has trouble of its own: look at its status page, then run the command again",
        _ => return None,
    })
}
