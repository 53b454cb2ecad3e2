//! GitHub's registry deletes nothing through the API of registries, and whole images through GitHub's own:
//! <https://docs.github.com/rest/packages/packages>.

use std::collections::BTreeSet;

use reqwest::Url;
use serde::Deserialize;

use super::attached::{is_attached, subject};
use super::{Kept, Mode, Order, Pruned, all_go, is_key, others, whole_images_help};
use crate::digest::Digest;
use crate::registry::Repository;
use crate::registry::forge::{Error, Forge};
use crate::ui::with_causes;

/// A package on ghcr.io.
pub struct Package<'a> {
    /// Who is asked, and deletes.
    pub forge: &'a Forge,
    /// The organisation or user.
    pub owner: &'a str,
    /// What stands behind the owner: `plugins/todo`.
    pub name: &'a str,
    /// The same, as a registry: GitHub does not say of which image a document is.
    pub repository: &'a Repository,
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

impl Version {
    fn tags(&self) -> &[String] {
        &self.metadata.container.tags
    }
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
    let doomed: BTreeSet<String> = versions.iter().flat_map(Version::tags).filter(|tag| goes(tag)).cloned().collect();
    let mut pruned = Pruned::default();
    let reference = |tag: &String| format!("ghcr.io/{}/{}:{tag}", package.owner, package.name);
    if order.mode == Mode::Look {
        pruned.deleted = doomed.iter().map(reference).collect();
        return Ok(pruned);
    }
    let delete = async |what: &str, version: &Version| match order.mode {
        Mode::Delete => package.forge.delete(what, &package.url(owners, &[&version.id.to_string()])).await,
        Mode::Look | Mode::DryRun => Ok(()),
    };
    let mut attached = Vec::new();
    for version in versions.iter().take_while(|_| !order.stop.is_cancelled()) {
        let holders = version.tags();
        if !holders.iter().any(|tag| doomed.contains(tag)) {
            continue;
        }
        let outcome = if all_go(holders, &doomed, order.keys) {
            // Before the image goes: without it, nobody would find them again.
            match package.attached(version, &versions).await {
                Ok(found) => delete("deleting an image of the package", version).await.map(|()| found).map_err(|error| {
                    let help = "the token needs `delete:packages`, or the job `packages: write` and the role admin in the package's settings";
                    (error.to_string(), Some(help.to_owned()))
                }),
                Err(error) => {
                    let help = "log in to ghcr.io with an account that may read the package: `docker login ghcr.io`";
                    let why = format!("what is attached to it cannot be read: {}", with_causes(&error));
                    Err((why, Some(help.to_owned())))
                }
            }
        } else {
            let why = format!("ghcr.io deletes whole images only, and {} holds the same one", others(holders, &doomed));
            Err((why, whole_images_help(holders, &doomed)))
        };
        match outcome {
            Ok(found) => {
                pruned.deleted.extend(holders.iter().map(reference));
                attached.extend(found);
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
    for version in attached {
        // Nobody misses what is left of them.
        if delete("deleting what was attached to an image", version).await.is_ok() {
            let document = format!("ghcr.io/{}/{}@{}", package.owner, package.name, version.name);
            let names = version.tags().iter().map(reference);
            pruned.attached.extend(names.chain(version.tags().is_empty().then_some(document)));
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

    /// Those of `versions` that are attached to `image`, and to those in turn: lists and signatures by their tags, and
    /// the documents that the lists name. Other tags keep them.
    async fn attached<'v>(&self, image: &Version, versions: &'v [Version]) -> Result<Vec<&'v Version>, Error> {
        let mut found: Vec<&Version> = Vec::new();
        let mut next = vec![image.name.as_str()];
        while let Some(digest) = next.pop().and_then(|name| name.parse::<Digest>().ok()) {
            let is_of = |tag: &String| subject(tag).as_ref() == Some(&digest);
            let is_by_tag = |version: &&Version| !version.tags().is_empty() && version.tags().iter().all(is_of);
            let by_tag: Vec<&Version> = versions.iter().filter(is_by_tag).collect();
            let has_list = by_tag.iter().flat_map(|version| version.tags()).any(|tag| !tag.contains('.'));
            let listed = if has_list { self.repository.referrers(&digest).await?.all } else { Vec::new() };
            for document in listed.into_iter().map(|referrer| referrer.digest) {
                let is_it = |version: &&Version| version.name == document.as_str() && version.tags().is_empty();
                let Some(version) = versions.iter().find(is_it) else { continue };
                if found.iter().all(|other| other.id != version.id)
                    && is_attached(self.repository, &document, &digest).await?
                {
                    found.push(version);
                    next.push(&version.name);
                }
            }
            found.extend(by_tag);
        }
        Ok(found)
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
