//! What the parts of the configuration do together, and what holds for any text.

use std::path::Path;

use proptest::prelude::*;

use super::channels::Because;
use super::load::parse;
use super::source::without_credentials;
use super::template::{TAG_VARIABLES, is_tag, to_tag};
use super::{Attachment, Channel, Config, Occasion, Registry, Template, UnknownBase, load};
use crate::ci::Event;

/// The configuration `text` in a folder that holds plugins `a` and `b`.
fn config(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    for path in ["a", "b"] {
        fs_err::create_dir(folder.path().join(path)).unwrap();
    }
    let file = folder.path().join("rhdh-plugins.toml");
    fs_err::write(&file, format!("{text}\n[plugins.a]\npath = \"a\"\n")).unwrap();
    load(&file).unwrap_or_else(|error| panic!("{:?}", miette::Report::new(error)))
}

#[test]
fn without_tables_all_has_its_default() {
    let config = config("");
    assert_eq!((config.rhdh.version.as_str(), config.rhdh.cli), ("1.9", None));
    assert_eq!(config.inputs.global, ["tsconfig.json", ".yarnrc.yml", "backstage.json"]);
    assert_eq!(config.inputs.ignore, ["**/*.md", "**/*.test.*", "dev/**"]);
    assert_eq!((config.inputs.memory, config.inputs.on_unknown_base), (true, UnknownBase::All));
    assert!(config.registries.is_empty() && config.channels.is_empty() && config.bundles.is_empty());
    assert!(config.plugins["a"].registries.is_empty());
}

#[test]
fn defaults_are_merged() {
    let config = config(
        "[defaults]\nregistries = [\"r\"]\nexport-args = [\"--minify\"]\nexport = \"prebuilt\"\n\
         labels = { x = \"1\", y = \"1\" }\n[registries.r]\ndir = \"out\"\n\
         [plugins.b]\npath = \"b\"\nexport-args = []\nexport = \"cli\"\nlabels = { y = \"2\", z = \"2\" }\n\
         [bundles.c]\nplugins = [\"b\", \"a\"]\nregistries = []\nlabels = { x = \"3\" }\n[bundles.d]\nplugins = [\"a\"]",
    );
    let (a, b) = (&config.plugins["a"], &config.plugins["b"]);
    assert_eq!((a.export_args.len(), a.registries.len()), (1, 1));
    assert_ne!(a.export, b.export);
    assert!(b.export_args.is_empty() && b.registries == ["r"]);
    let labels = |labels: &std::collections::BTreeMap<String, String>| format!("{labels:?}");
    assert_eq!(labels(&a.labels), r#"{"x": "1", "y": "1"}"#);
    assert_eq!(labels(&b.labels), r#"{"x": "1", "y": "2", "z": "2"}"#);
    let (c, d) = (&config.bundles["c"], &config.bundles["d"]);
    assert_eq!((c.plugins.join(" "), c.image.as_str(), c.registries.len()), ("b a".to_owned(), "c", 0));
    assert_eq!(labels(&c.labels), r#"{"x": "3", "y": "1"}"#);
    assert_eq!(d.registries, ["r"]);
    assert_eq!(config.plugins.keys().collect::<Vec<_>>(), ["b", "a"], "the order of the file");
}

#[test]
fn registries_of_every_kind() {
    let config = config(
        "[registries]\nz = { oci = \"quay.io/acme\" }\ny = { oci = \"localhost:5000/a/b\", insecure = true }\n\
         x = { npm = \"https://nexus.acme.dev/npm/\" }\nw = { dir = \"./not/there/yet/\", base-url = \"https://acme.dev/\" }",
    );
    assert!(config.registries.keys().eq(["z", "y", "x", "w"]));
    assert_eq!(config.registries["z"], Registry::Oci { prefix: "quay.io/acme".into(), insecure: false });
    assert_eq!(config.registries["y"], Registry::Oci { prefix: "localhost:5000/a/b".into(), insecure: true });
    assert_eq!(
        config.registries["x"],
        Registry::Npm { url: Some("https://nexus.acme.dev/npm".into()), allow_public: false }
    );
    let Registry::Dir { path, base_url } = &config.registries["w"] else { panic!("not a folder") };
    assert_eq!((path.as_str(), base_url.as_deref()), ("not/there/yet", Some("https://acme.dev")));
}

#[test]
fn the_occasion_chooses_the_channel() {
    let config = config(
        "[registries]\nquay = { oci = \"quay.io/acme\" }\nsite = { dir = \"out\" }\n\
         [channels.pr]\non = \"pull-request\"\n[channels.nightly]\non = [\"schedule\", \"manual\"]\n\
         [channels.release-line]\non = { branch = \"release/*\" }\noverwrite = true\n\
         [channels.any-branch]\non = { branch = \"**\" }\nregistries = [\"quay\"]\n\
         [channels.release]\non = [{ tag = \"v*\" }]\n[channels.by-hand]",
    );
    let push = |branch: &str| Event::Push { branch: branch.into() };
    let tag = |name: &str| Event::Tag { name: name.into() };
    for (event, name, because) in [
        (Event::PullRequest { number: 1 }, "pr", Because::Matched),
        (Event::Schedule, "nightly", Because::Matched),
        (Event::Manual, "nightly", Because::Matched),
        (push("release/1.9"), "release-line", Because::Matched),
        (push("release/1.9/fix"), "any-branch", Because::Matched),
        (push("main"), "any-branch", Because::Matched),
        (tag("v1.0.0"), "release", Because::Matched),
        (tag("1.0.0"), "local", Because::NothingMatched),
        (Event::Other("unknown".into()), "local", Because::NothingMatched),
        (Event::Local, "local", Because::Local),
    ] {
        let chosen = config.channel_for(&event, None).unwrap();
        assert_eq!((chosen.name.as_str(), chosen.because), (name, because), "{event:?}");
        assert_eq!(chosen.built_in, name == "local");
    }
    let named = config.channel_for(&Event::Local, Some("by-hand")).unwrap();
    assert_eq!((named.because, named.built_in), (Because::Named, false));
    let error = config.channel_for(&Event::Local, Some("nihgtly")).unwrap_err();
    assert_eq!(error.to_string(), "there is no channel `nihgtly`");
    assert_eq!(miette::Diagnostic::help(&error).unwrap().to_string(), "did you mean `nightly`?");

    let names = |event: &Event| {
        let chosen = config.channel_for(event, None).unwrap();
        let both = ["quay".to_owned(), "site".to_owned()];
        config.registries_for(&chosen, &both).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(&Event::Schedule), ["quay", "site"], "their own");
    assert_eq!(names(&push("main")), ["quay"], "the channel's");
    assert_eq!(names(&Event::Local), ["site"], "folders only");
}

#[test]
fn local_of_the_configuration_is_for_local_runs_only() {
    let config = config("[channels.local]\ntags = [\"dev\"]");
    assert!(!config.channel_for(&Event::Local, None).unwrap().built_in);
    assert!(config.channel_for(&Event::Schedule, None).unwrap().built_in);
}

#[test]
fn a_channel_says_on_in_four_ways() {
    let config = config(
        "[channels]\na.on = \"manual\"\nb.on = { tag = \"v*\" }\nc.on = [\"schedule\", { branch = \"main\" }]\nd = {}",
    );
    let on = |channel: &Channel| channel.on.clone();
    assert_eq!(on(&config.channels["a"]), [Occasion::Manual]);
    assert_eq!(on(&config.channels["b"]), [Occasion::Tag("v*".into())]);
    assert_eq!(on(&config.channels["c"]), [Occasion::Schedule, Occasion::Branch("main".into())]);
    assert_eq!(on(&config.channels["d"]), []);
}

#[test]
fn releases_and_what_is_promoted_to_them_have_documents_attached() {
    let config = config(
        "[channels]\npr.overwrite = true\nnext = { overwrite = true, promote-from = [\"pr\"] }\n\
         release.promote-from = [\"next\"]\nbare.attach = []\nnightly = { overwrite = true, attach = [\"sbom\"] }\n\
         other.overwrite = true",
    );
    let both = vec![Attachment::Sbom, Attachment::Provenance];
    for (channel, attach) in [
        ("pr", both.clone()),
        ("next", both.clone()),
        ("release", both),
        ("bare", Vec::new()),
        ("nightly", vec![Attachment::Sbom]),
        ("other", Vec::new()),
    ] {
        assert_eq!(config.channels[channel].attach, attach, "{channel}");
    }
}

/// Lines that are nearly right: what random characters never make.
fn nearly_right_line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "path",
        "image",
        "on",
        "tags",
        "oci",
        "dir",
        "npm",
        "base-url",
        "plugins",
        "version",
        "labels",
        "registries",
        "cli",
        "global",
        "overwrite",
        "export",
        "x",
        "a.b",
    ]);
    let value = prop_oneof![
        Just("\"a\"".to_owned()),
        Just("\"{a.version}\"".to_owned()),
        Just("\"../a\"".to_owned()),
        Just("[]".to_owned()),
        Just("[\"a\", 1, \"a\", [\"b\"], {}]".to_owned()),
        Just("{ branch = \"[\", x = 1 }".to_owned()),
        Just("{ tag = 1 }".to_owned()),
        "[0-9.]{1,4}",
        "\"\\PC{0,6}\"",
    ];
    let header = prop::sample::select(vec![
        "[plugins.a]",
        "[plugins]",
        "[[plugins]]",
        "[bundles.a]",
        "[defaults]",
        "[channels.c]",
        "[registries.\"\"]",
        "[rhdh]",
        "[inputs]",
        "[plugins.b.labels]",
        "[",
        "# \u{9b}31m",
    ]);
    prop_oneof![4 => (key, value).prop_map(|(key, value)| format!("{key} = {value}")), 2 => header.prop_map(str::to_owned)]
}

fn rendered(text: &str) -> String {
    let error = match parse(Path::new("/nowhere/rhdh-plugins.toml"), text) {
        Ok((_, problems)) if problems.is_empty() => return String::new(),
        Ok((config, problems)) => super::Error::from(config.problems(problems)),
        Err(error) => error,
    };
    let mut out = String::new();
    let theme = miette::GraphicalTheme::unicode_nocolor();
    miette::GraphicalReportHandler::new_themed(theme).render_report(&mut out, &error).unwrap();
    out
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*", lines in prop::collection::vec("[\\[\\]{}=\",.a-c#\\n \u{7}]{0,12}", 0..8)) {
        rendered(&text);
        rendered(&lines.join("\n"));
    }

    #[test]
    fn nearly_right_text_is_read_or_refused_with_its_place(lines in prop::collection::vec(nearly_right_line(), 0..16)) {
        let out = rendered(&lines.join("\n"));
        prop_assert!(!out.contains("Failed to read contents"), "a label outside of the text: {}", out);
        prop_assert!(out.chars().all(|character| character == '\n' || !character.is_control()), "{:?}", out);
    }

    #[test]
    fn a_template_is_what_it_was_written_as(text in "([a-z{}+/]|\\{(version|pr)\\}){0,8}") {
        let Ok(template) = Template::parse(&text, |name| TAG_VARIABLES.contains(&name)) else { return Ok(()) };
        prop_assert_eq!(template.to_string(), text.clone());
        let rendered = template.render(|name| Some(format!("{{{name}}}")));
        prop_assert_eq!(rendered.ok(), Some(text));
    }

    #[test]
    fn any_text_is_made_a_legal_tag(text in "\\PC{1,200}") {
        let tag = to_tag(&text);
        prop_assert!(is_tag(&tag) && tag.len() <= 128);
        prop_assert!(tag.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_'));
        prop_assert!(tag.chars().all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character)));
    }
}

#[test]
fn credentials_are_not_shown() {
    for (text, shown) in [
        ("npm = \"https://me:hunter2@nexus.acme.dev\"", "npm = \"https://**********@nexus.acme.dev\""),
        ("# https://me:pä'ss/w@rd@nexus.acme.dev/x", "# https://****×********@nexus.acme.dev/x"),
        ("oci = 'me:hunter2@quay.io/acme'", "oci = '**********@quay.io/acme'"),
        ("\"https://ghp_token@github.com", "\"https://*********@github.com"),
        ("`http://me:@host` `https://:x@host`", "`http://***@host` `https://**@host`"),
    ] {
        assert_eq!(without_credentials(text), shown);
        assert_eq!(without_credentials(text).len(), text.len());
    }
    for harmless in [
        "@acme/plugin-todo @acme/x@npm:1.0.0",
        "https://host/@scope/x http://host/@x",
        "\"npm:@acme/x\"",
        "!/@backstage/plugin-notifications/",
        "mail me@acme.dev",
    ] {
        assert_eq!(without_credentials(harmless), harmless);
    }
}

proptest! {
    #[test]
    fn no_password_of_a_url_is_shown(user in "[a-z0-9]{0,8}", password in "[^\\s\"\\p{C}*]{1,20}", before in "\\PC{0,10}") {
        let shown = without_credentials(&format!("{before} \"https://{user}:{password}@host.dev/x\""));
        let hidden = shown.rsplit_once("://").and_then(|(_, rest)| rest.strip_suffix("@host.dev/x\"")).unwrap();
        prop_assert!(hidden.chars().all(|character| "*×•𝚡".contains(character)), "{shown}");
    }
}
