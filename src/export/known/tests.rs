//! Every text here is what yarn, npm or the RHDH CLI 1.9.1 really wrote, shortened to the lines around the failure.

use crate::export::failure::{self, Log, Scene};
use crate::export::tests::plugin;

/// The failure that this log shows: `code: message`, then the help.
fn explained(text: &str) -> (String, String) {
    let mut plugin = plugin("plugins/todo-backend", "backend-plugin");
    plugin.config.embed_packages = vec!["@acme/plugin-todo-node".to_owned()];
    let in_workspace = |name: &str| name.starts_with("@acme/");
    let scene = Scene { command: "yarn build", plugin: Some(&plugin.config), in_workspace: &in_workspace };
    let failure = failure::explain(&Log::of(text), scene, "exit code 1");
    (format!("{}: {}", failure.code, failure.message), failure.help.unwrap_or_default())
}

#[test]
fn a_workspace_package_that_is_not_embedded() {
    let help = "change in `rhdh-plugins.toml`:\n[plugins.todo-backend]\nembed-packages = [\"@acme/plugin-todo-node\", \"@acme/lib\"]\n\
                `rhdh-pack suggest todo-backend` says what else the plugin needs, before the next export does";
    let message = "package-not-embedded: the workspace package `@acme/lib` is a dependency of the plugin, but is not embedded in it";
    let install = "Installing private dependencies of the main package\n  executing     yarn install --no-immutable > yarn-install.log ✖ \n\nError: Failed to execute command 'yarn install --no-immutable > yarn-install.log', Error: Command failed: yarn install --no-immutable > yarn-install.log\n\n\n➤ YN0000: · Yarn 4.18.1\n➤ YN0000: ┌ Resolution step\n➤ YN0035: │ @acme/lib@npm:^0.1.0: Package not found\n➤ YN0035: │   Response Code: 404 (Not Found)\n➤ YN0035: │   Request Method: GET\n➤ YN0035: │   Request URL: https://registry.yarnpkg.com/@acme%2flib\n➤ YN0000: └ Completed\n➤ YN0000: · Failed with errors in 0s 187ms\n";
    assert_eq!(explained(install), (message.into(), help.into()));
    let customizing = "  moving @backstage/errors to peerDependencies\n\nError: Workspace dependency @acme/lib of package @acme/plugin-todo-backend-dynamic doesn't exist in the monorepo structure: maybe you should embed it ?\n";
    assert_eq!(explained(customizing), (message.into(), help.into()));
}

#[test]
fn packages_of_rhdh_among_the_private_ones() {
    let (message, help) = explained(
        "Validating private dependencies\n\nError: Following shared package(s) should not be part of the plugin private dependencies:\n- @backstage/errors\n- @backstage/types\n\nEither unshare them with the --shared-package !<package> option, or use the --embed-package to embed the following packages which use shared dependencies:\n- acme-helper\n\n",
    );
    assert_eq!(
        message,
        "shared-package-private: packages that RHDH provides became private dependencies: `@backstage/errors`, `@backstage/types`, brought along by `acme-helper`"
    );
    assert!(help.contains("embed-packages = [\"@acme/plugin-todo-node\", \"acme-helper\"]"), "{help}");
    assert!(help.contains("shared-packages = [\"!@backstage/errors\", \"!@backstage/types\"]"), "{help}");
}

#[test]
fn native_modules() {
    let (message, help) = explained(
        "Validating private dependencies\n\nError: Dynamic plugins do not support native plugins. the following native modules have been transitively detected:\n- bufferutil\n\n",
    );
    assert_eq!(message, "native-package: native modules cannot be part of a dynamic plugin: `bufferutil`");
    assert!(help.contains("[plugins.todo-backend]\nsuppress-native-packages = [\"bufferutil\"]"), "{help}");
}

#[test]
fn versions_that_do_not_agree() {
    let (message, help) = explained(
        "Customizing embedded package @acme/plugin-todo-node for dynamic loading\n  moving @backstage/backend-plugin-api to peerDependencies\n\nError: Several incompatible versions ('^1.0.0', '^2.0.0') of the same transitive dependency ('ms') for embedded module ('@acme/plugin-todo-node')\n\n",
    );
    assert!(message.starts_with("version-conflict: Several incompatible versions ('^1.0.0', '^2.0.0')"), "{message}");
    assert!(help.ends_with("ignore-version-check = [\"ms\"]"), "{help}");
    let (message, _) = explained(
        "\nError: The backstage.supported-versions field in the package descriptor is not compatible with the backstage version specified in the backstage.json file: ^1.30.0 <1.40.0 vs 1.42.5.\n",
    );
    assert_eq!(
        message,
        "supported-versions: `backstage.supported-versions` of the plugin excludes the Backstage version of `backstage.json`: ^1.30.0 <1.40.0 vs 1.42.5"
    );
}

#[test]
fn entry_points() {
    let (message, _) = explained(
        "Validating plugin entry points\n\nError: Backend plugin is not valid for dynamic loading: it should either export a BackendFeature or BackendFeatureFactory as default export, or export a const dynamicPluginInstaller: BackendDynamicPluginInstaller field as dynamic loading entrypoint\n",
    );
    assert_eq!(message, "no-backend-feature: the plugin has no default export that is a backend feature");
    let (message, help) = explained(
        "Validating plugin entry points\n  adding typescript extension support to enable entry point validation\n\nError: Unable to validate plugin entry points: Error: Cannot find module '/r/dist-dynamic/node_modules/@acme/plugin-todo-node/dist/index.cjs.js'. Please verify that the package.json has a valid \"main\" entry\n",
    );
    assert!(
        message.starts_with("entry-point: the plugin's entry point cannot be loaded: Error: Cannot find module '/r/"),
        "{message}"
    );
    assert_eq!(help, "");
}

#[test]
fn building() {
    let (message, _) = explained(
        "\nError: No declaration files found at ../../dist-types/plugins/todo-common/src/index.d.ts, be sure to run yarn tsc to generate .d.ts files before packaging\n\n\nError: Failed to execute command 'yarn build', Error: Command failed: yarn build\n",
    );
    assert_eq!(
        message,
        "types-missing: there are no type declarations at `../../dist-types/plugins/todo-common/src/index.d.ts`: `yarn tsc` has not run, or writes them elsewhere"
    );
    let (message, help) = explained(
        "  executing     yarn build ✖ \ncommand not found: backstage-cli\n\nError: Failed to execute command 'yarn build', Error: Command failed: yarn build\ncommand not found: backstage-cli\n",
    );
    assert_eq!(message, "command-missing: `yarn build` failed: the package has no command `backstage-cli`");
    assert!(help.ends_with("`yarn add -D @backstage/cli`"), "{help}");
    let (message, help) = explained(
        "Usage Error: Couldn't find a script named \"build\".\n\n$ yarn run [--inspect] [--inspect-brk] [-T,--top-level] [-B,--binaries-only] [--require #0] <scriptName> ...\n",
    );
    assert_eq!(message, "script-missing: `yarn build` failed: there is no script `build` in `package.json`");
    assert_eq!(help, "add it to `scripts`: `\"build\": \"backstage-cli package build\"`");
    let (message, help) = explained(
        "\nError: Failed to compile './src/index.ts':\n  × Module not found: Can't resolve 'not-a-package' in '/r/plugins/todo/src'\n   ╭─[6:0]\n 6 │ import 'not-a-package';\n",
    );
    assert_eq!(message, "module-not-found: the bundler failed: can't resolve 'not-a-package' in '/r/plugins/todo/src'");
    assert!(help.ends_with("`yarn add not-a-package`"), "{help}");
}

#[test]
fn typescript_with_and_without_colours() {
    let pretty = "\u{1b}[96mplugins/todo-common/src/index.ts\u{1b}[0m:\u{1b}[93m8\u{1b}[0m:\u{1b}[93m14\u{1b}[0m - \u{1b}[91merror\u{1b}[0m\u{1b}[90m TS2322: \u{1b}[0mType 'string' is not assignable to type 'number'.\n\n\u{1b}[7m8\u{1b}[0m export const broken: number = \"x\";\n\nFound 1 error in plugins/todo-common/src/index.ts\u{1b}[90m:8\u{1b}[0m\n";
    assert_eq!(
        explained(pretty).0,
        "typescript: plugins/todo-common/src/index.ts:8:14 - error TS2322: Type 'string' is not assignable to type 'number'."
    );
    let plain = "src/a.ts(8,14): error TS2322: Type 'string' is not assignable to type 'number'.\nsrc/b.ts(1,1): error TS2304: Cannot find name 'x'.\n";
    assert!(
        explained(plain)
            .0
            .ends_with("(8,14): error TS2322: Type 'string' is not assignable to type 'number'. (and 1 more)")
    );
}

#[test]
fn installing() {
    let berry = "➤ YN0002: │ @acme/todo-workspace@workspace:. doesn't provide webpack (p5b1bc3), requested by @backstage/cli.\n➤ YN0028: │ +    ms: \"npm:^2.1.3\"\n➤ YN0000: │    languageName: unknown\n➤ YN0028: │ The lockfile would have been modified by this install, which is explicitly forbidden.\n➤ YN0000: └ Completed\n";
    let classic = "yarn install v1.22.22\n[1/4] Resolving packages...\nerror Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.\ninfo Visit https://yarnpkg.com/en/docs/cli/install for documentation about this command.\n";
    for text in [berry, classic] {
        let expected = (
            "lockfile-outdated: `yarn.lock` does not fit the `package.json` files",
            "run `yarn install` and commit `yarn.lock`",
        );
        assert_eq!(explained(text), (expected.0.into(), expected.1.into()));
    }
    let (message, _) = explained(
        "➤ YN0035: │ this-package-does-not-exist-acme-42@npm:^2.1.3: Package not found\n➤ YN0035: │   Response Code: 404 (Not Found)\n➤ YN0035: │   Request Method: GET\n➤ YN0035: │   Request URL: https://registry.yarnpkg.com/this-package-does-not-exist-acme-42\n",
    );
    assert_eq!(
        message,
        "package-not-found: the npm registry has no `this-package-does-not-exist-acme-42@npm:^2.1.3` (https://registry.yarnpkg.com/this-package-does-not-exist-acme-42)"
    );
    let (message, help) = explained(
        "Usage Error: Environment variable not found (NPM_TOKEN_X) in /r/.yarnrc.yml (in /r/.yarnrc.yml)\n\nYarn Package Manager - 4.18.1\n\n  $ yarn <command>\n",
    );
    assert_eq!(message, "variable-missing: yarn's configuration names the variable `NPM_TOKEN_X`, which is not set");
    assert_eq!(help, "set `NPM_TOKEN_X`, or give it a default in `.yarnrc.yml`: `${NPM_TOKEN_X:-}`");
    let (message, _) = explained(
        "npm error code ETARGET\nnpm error notarget No matching version found for @red-hat-developer-hub/cli@1.9.99.\nnpm error notarget In most cases you or one of your dependencies are requesting a package version that doesn't exist.\n",
    );
    assert_eq!(
        message,
        "package-not-found: `yarn build` failed: No matching version found for @red-hat-developer-hub/cli@1.9.99."
    );
}

#[test]
fn the_network() {
    let yarn = "➤ YN0000: ┌ Resolution step\n➤ YN0001: │ RequestError: connect ECONNREFUSED 127.0.0.1:9\n    at ClientRequest.<anonymous> (/y/yarn.js:148:14258)\n➤ YN0000: └ Completed in 0s 270ms\n";
    assert_eq!(
        explained(yarn).0,
        "registry-unreachable: the npm registry cannot be reached: connect ECONNREFUSED 127.0.0.1:9"
    );
    let npm = "npm error code EAI_AGAIN\nnpm error syscall getaddrinfo\nnpm error errno EAI_AGAIN\nnpm error request to https://registry.npmjs.org/@red-hat-developer-hub%2fcli failed, reason: getaddrinfo EAI_AGAIN registry.npmjs.org\n";
    assert_eq!(
        explained(npm).0,
        "registry-unreachable: the npm registry cannot be reached: getaddrinfo EAI_AGAIN registry.npmjs.org"
    );
}

#[test]
fn the_machine_and_the_command_line() {
    assert_eq!(
        explained("error: unknown option '--frobnicate'\n").0,
        "unknown-option: this RHDH CLI has no option `--frobnicate`"
    );
    let full = "➤ YN0000: ┌ Link step\n➤ YN0001: │ Error: While persisting /root/.yarn/berry/cache/lodash-npm-4.17.21-6382451519-10c0.zip/node_modules/lodash/ -> /r/node_modules/lodash ENOSPC: no space left on device, write\n➤ YN0000: └ Completed\n";
    assert_eq!(explained(full).0, "no-space-left: the disk is full");
    let memory = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n----- Native stack trace -----\n";
    assert_eq!(explained(memory).0, "out-of-memory: node ran out of memory");
}

#[test]
fn bytes_and_proxies_on_the_way() {
    let yarn = "➤ YN0000: ┌ Fetch step\n➤ YN0018: │ ms@npm:2.1.3: The remote archive doesn't match the expected checksum\n➤ YN0000: └ Completed\n";
    assert_eq!(
        explained(yarn).0,
        "integrity-mismatch: a package is not the one that the lock file names: Error: ms@npm:2.1.3: The remote archive doesn't match the expected checksum"
    );
    let npm = "npm error code EINTEGRITY\nnpm error Integrity checksum failed when using sha512: wanted sha512-dead== but got sha512-sGkP==.\n";
    assert_eq!(
        explained(npm).0,
        "integrity-mismatch: a package is not the one that the lock file names: npm error Integrity checksum failed when using sha512: wanted sha512-dead== but got sha512-sGkP==."
    );
    let tunnel = "➤ YN0000: ┌ Resolution step\n➤ YN0001: │ RequestError: Bad response: 407\n➤ YN0000: └ Completed\n";
    assert_eq!(
        explained(tunnel).0,
        "proxy: the proxy on the way to the npm registry refused: RequestError: Bad response: 407"
    );
    let npm = "npm error code E407\nnpm error 407 Proxy Authentication Required - GET https://registry.npmjs.org/ms\n";
    assert_eq!(
        explained(npm).0,
        "proxy: the proxy on the way to the npm registry refused: npm error 407 Proxy Authentication Required - GET https://registry.npmjs.org/ms"
    );
}
