//! GitHub's registry deletes nothing through the API of registries, and whole images through GitHub's own:
//! <https://docs.github.com/rest/packages/packages>.

use std::collections::BTreeSet;

use secrecy::SecretString;
use serde::Deserialize;

use super::{Kept, Order, Pruned, all_go, is_key, others, whole_images_help};
use crate::forge::github::{Client, Verb};
use crate::forge::{Error, MAX_PAGES, again};

/// A package on ghcr.io.
#[derive(Debug)]
pub struct Package<'a> {
    /// `https://api.github.com`.
    pub api: &'a str,
    /// Who deletes.
    pub token: &'a SecretString,
    /// The organisation or user.
    pub owner: &'a str,
    /// What stands behind the owner: `plugins/todo`.
    pub name: &'a str,
}

/// One image, in GitHub's words.
#[derive(Deserialize)]
struct Version {
    id: u64,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    container: Container,
}

#[derive(Default, Deserialize)]
struct Container {
    #[serde(default)]
    tags: Vec<String>,
}

/// Deletes what `order` says.
///
/// # Errors
/// When GitHub cannot be asked which images there are; nothing was deleted then.
pub async fn prune_package(package: &Package<'_>, order: &Order<'_>) -> Result<Pruned, Error> {
    let Some((versions, list)) = versions(package).await? else { return Ok(Pruned::default()) };
    let goes = |tag: &String| !is_key(tag) && (order.goes)(tag);
    let tags = versions.iter().flat_map(|version| &version.metadata.container.tags);
    let doomed: BTreeSet<String> = tags.filter(|tag| goes(tag)).cloned().collect();
    let mut pruned = Pruned::default();
    let reference = |tag: &String| format!("ghcr.io/{}/{}:{tag}", package.owner, package.name);
    for version in versions {
        let holders = version.metadata.container.tags;
        if !holders.iter().any(|tag| doomed.contains(tag)) {
            continue;
        }
        let outcome = if !all_go(&holders, &doomed, order.keys) {
            let why =
                format!("ghcr.io deletes whole images only, and {} holds the same one", others(&holders, &doomed));
            Err((why, whole_images_help(&holders, &doomed)))
        } else if order.dry_run {
            Ok(())
        } else {
            delete(package, &format!("{list}/{}", version.id)).await.map_err(|error| {
                let help = "the token needs `delete:packages`, or the job `packages: write` and the role admin in the package's settings";
                (error.to_string(), Some(help.to_owned()))
            })
        };
        match outcome {
            Ok(()) => pruned.deleted.extend(holders.iter().map(reference)),
            Err((why, help)) => {
                let kept = holders.iter().filter(|tag| doomed.contains(*tag));
                pruned.kept.extend(kept.map(|tag| Kept {
                    reference: reference(tag),
                    why: why.clone(),
                    help: help.clone(),
                }));
            }
        }
    }
    Ok(pruned)
}

/// All images, and the URL below which they are; `None` where there is no such package.
async fn versions(package: &Package<'_>) -> Result<Option<(Vec<Version>, String)>, Error> {
    let name = package.name.replace('/', "%2F");
    // Whether it is an organisation's or a user's, only trying says.
    for owners in ["orgs", "users"] {
        let list = format!("{}/{owners}/{}/packages/container/{name}/versions", package.api, package.owner);
        let mut versions = Vec::new();
        for page in 1..=MAX_PAGES {
            let url = format!("{list}?per_page=100&page={page}");
            let found = again(async || {
                let what = "reading the images of the package";
                let answer = Client::new(package.api, package.token)?.ask(what, Verb::Get, &url).await?;
                if answer.status == 404 {
                    return Ok(None);
                }
                let answer = answer.good(what)?;
                Ok(Some((answer.json::<Vec<Version>>(what)?, answer.has_next)))
            });
            let Some((found, has_next)) = found.await? else { break };
            versions.extend(found);
            if !has_next {
                return Ok(Some((versions, list)));
            }
            if page == MAX_PAGES {
                return Ok(Some((versions, list)));
            }
        }
    }
    Ok(None)
}

async fn delete(package: &Package<'_>, url: &str) -> Result<(), Error> {
    again(async || {
        let what = "deleting an image of the package";
        let answer = Client::new(package.api, package.token)?.ask(what, Verb::Delete, url).await?;
        // Somebody else was faster.
        if answer.status == 404 {
            return Ok(());
        }
        answer.good(what).map(|_| ())
    })
    .await
}
