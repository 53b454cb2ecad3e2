//! Credentials that people give to this run: the variables for the only registry, and a password on stdin. What goes
//! out is an environment in which each registry has its own two variables.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Read as _};

use super::session::Session;
use super::{Error, Login};
use crate::config::Registry;
use crate::config::nearest::suggestion;
use crate::registry::variable_prefix;

/// No password or token is longer.
const MAX_PASSWORD: u64 = 64 * 1024;

/// An environment.
type Variables = BTreeMap<String, String>;

/// The environment, with the credentials of `login`, and with `RHDH_PACK_USERNAME` and `RHDH_PACK_PASSWORD` as those of
/// every registry that has none of its own. They go to one host only. The second map says
/// of each password that was set here where it was given, for messages.
pub(super) fn variables(session: &Session, login: Option<&Login>) -> Result<(Variables, Variables), Error> {
    let text =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut variables: Variables = text.collect();
    let mut origins = Variables::new();
    if let Some(login) = login {
        let names = match &login.registry {
            Some(name) => vec![named(session, name)?],
            None => of_the_only_host(session, "`--registry-username` is")?,
        };
        let password = password()?;
        for name in names {
            let prefix = variable_prefix(name);
            variables.insert(format!("{prefix}_USERNAME"), login.username.clone());
            variables.insert(format!("{prefix}_PASSWORD"), password.clone());
            origins.insert(format!("{prefix}_PASSWORD"), "stdin (`--registry-password-stdin`)".to_owned());
        }
    }
    let given = |variables: &Variables, name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
    let pair = given(&variables, "RHDH_PACK_USERNAME").zip(given(&variables, "RHDH_PACK_PASSWORD"));
    if let Some((username, password)) = pair
        && has_oci(session)
    {
        for name in of_the_only_host(session, "`RHDH_PACK_USERNAME` and `RHDH_PACK_PASSWORD` are")? {
            let names = ["USERNAME", "PASSWORD"].map(|end| format!("{}_{end}", variable_prefix(name)));
            if names.iter().all(|name| given(&variables, name).is_none()) {
                let [name, secret] = names;
                variables.insert(name, username.clone());
                origins.insert(secret.clone(), "`RHDH_PACK_PASSWORD`".to_owned());
                variables.insert(secret, password.clone());
            }
        }
    }
    let is_secret =
        |name: &str| name.starts_with("RHDH_PACK_") && ["_PASSWORD", "_TOKEN"].iter().any(|end| name.ends_with(end));
    variables.iter().filter(|(name, _)| is_secret(name)).for_each(|(_, secret)| session.ui.mask(secret));
    Ok((variables, origins))
}

/// The registry that `--registry` names.
fn named<'a>(session: &'a Session, name: &str) -> Result<&'a str, Error> {
    let registries = &session.project.config.registries;
    match registries.get_key_value(name) {
        Some((name, Registry::Oci { .. } | Registry::Npm { .. })) => Ok(name),
        _ => {
            let known = registries
                .iter()
                .filter(|(_, registry)| matches!(registry, Registry::Oci { .. } | Registry::Npm { .. }));
            let help = suggestion(name, "registries with a name and a password", known.map(|(name, _)| name.as_str()));
            Err(Error::UnknownRegistry { name: name.to_owned(), help })
        }
    }
}

fn has_oci(session: &Session) -> bool {
    session.project.config.registries.values().any(|registry| matches!(registry, Registry::Oci { .. }))
}

/// The names of all OCI registries, where they have one host.
fn of_the_only_host<'a>(session: &'a Session, what: &'static str) -> Result<Vec<&'a str>, Error> {
    let oci = session.project.config.registries.iter().filter_map(|(name, registry)| match registry {
        Registry::Oci { prefix, .. } => Some((name.as_str(), prefix.split('/').next().unwrap_or(prefix))),
        _ => None,
    });
    let (names, hosts): (Vec<&str>, BTreeSet<&str>) = oci.unzip();
    let found = match hosts.len() {
        1 => return Ok(names),
        0 => "the configuration has no OCI registry".to_owned(),
        count => format!("there are {count}: {}", hosts.into_iter().collect::<Vec<_>>().join(", ")),
    };
    Err(Error::WhichRegistry { what, found })
}

/// All of stdin, without the line's end that `echo` leaves.
fn password() -> Result<String, Error> {
    let failed = |why: &str| Error::Password { why: why.to_owned() };
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(failed("it is a terminal, which would show what is typed"));
    }
    let mut text = String::new();
    stdin.take(MAX_PASSWORD + 1).read_to_string(&mut text).map_err(|error| failed(&error.to_string()))?;
    let password = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    match password {
        "" => Err(failed("there is nothing")),
        _ if text.len() as u64 > MAX_PASSWORD => Err(failed("it is longer than 64 KiB")),
        password => Ok(password.to_owned()),
    }
}
