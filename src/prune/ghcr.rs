//! GitHub's registry deletes nothing through the API of registries, and whole images through GitHub's own:
//! <https://docs.github.com/rest/packages/packages>.

use std::collections::BTreeSet;

use reqwest::Url;
use serde::Deserialize;

use super::attached::subject;
use super::{Kept, Order, Pruned, all_go, is_key, others, whole_images_help};
use crate::registry::forge::{Error, Forge};

/// A package on ghcr.io.
pub struct Package<'a> {
    /// Who is asked, and deletes.
    pub forge: &'a Forge,
    /// The organisation or user.
    pub owner: &'a str,
    /// What stands behind the owner: `plugins/todo`.
    pub name: &'a str,
}

/// One image, in GitHub's words.
#[derive(Deserialize)]
struct Version {
    id: u64,
    /// The digest of its manifest.
    #[serde(default)]
    name: String,
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
    let Some((versions, owners)) = versions(package).await? else { return Ok(Pruned::default()) };
    let goes = |tag: &String| !is_key(tag) && (order.goes)(tag);
    let tags = versions.iter().flat_map(|version| &version.metadata.container.tags);
    let doomed: BTreeSet<String> = tags.filter(|tag| goes(tag)).cloned().collect();
    let mut pruned = Pruned::default();
    let reference = |tag: &String| format!("ghcr.io/{}/{}:{tag}", package.owner, package.name);
    let mut gone = BTreeSet::new();
    for version in &versions {
        let holders = &version.metadata.container.tags;
        if !holders.iter().any(|tag| doomed.contains(tag)) {
            continue;
        }
        let outcome = if !all_go(holders, &doomed, order.keys) {
            let why = format!("ghcr.io deletes whole images only, and {} holds the same one", others(holders, &doomed));
            Err((why, whole_images_help(holders, &doomed)))
        } else if order.dry_run {
            Ok(())
        } else {
            let url = package.url(owners, &[&version.id.to_string()]);
            package.forge.delete("deleting an image of the package", &url).await.map_err(|error| {
                let help = "the token needs `delete:packages`, or the job `packages: write` and the role admin in the package's settings";
                (error.to_string(), Some(help.to_owned()))
            })
        };
        match outcome {
            Ok(()) => {
                pruned.deleted.extend(holders.iter().map(reference));
                gone.insert(version.name.as_str());
            }
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
    // The documents themselves have no tag, and GitHub does not say of which image they are: only their lists are
    // found.
    let is_of_gone = |tag: &String| subject(tag).is_some_and(|subject| gone.contains(subject.as_str()));
    let lists = versions.iter().filter(|version| {
        let tags = &version.metadata.container.tags;
        !tags.is_empty() && tags.iter().all(is_of_gone)
    });
    for version in lists.filter(|_| !order.dry_run) {
        let url = package.url(owners, &[&version.id.to_string()]);
        // Nobody misses what is left of them.
        if package.forge.delete("deleting what was attached to an image", &url).await.is_ok() {
            pruned.attached.extend(version.metadata.container.tags.iter().map(reference));
        }
    }
    Ok(pruned)
}

impl Package<'_> {
    /// The URL of `parts` below the images; `owners`: what its owner is one of.
    fn url(&self, owners: &str, parts: &[&str]) -> Url {
        let images = [owners, self.owner, "packages", "container", self.name, "versions"];
        self.forge.url(&[&images[..], parts].concat())
    }
}

/// All images, and what their owner is one of; `None` where there is no such package.
async fn versions(package: &Package<'_>) -> Result<Option<(Vec<Version>, &'static str)>, Error> {
    // Whether it is an organisation's or a user's, only trying says.
    for owners in ["orgs", "users"] {
        match package.forge.list("reading the images of the package", &package.url(owners, &[])).await {
            Err(error) if error.is_missing() => {}
            versions => return Ok(Some((versions?, owners))),
        }
    }
    Ok(None)
}
