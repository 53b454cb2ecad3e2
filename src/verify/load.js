// Loads a backend plugin as RHDH does, and writes what came of it: node load.js FOLDER REPORT
'use strict';
const fs = require('node:fs');
const path = require('node:path');

const [folder, report] = process.argv.slice(2);

// What a plugin leaves running must not keep the test from ending.
const end = outcome => {
  fs.writeFileSync(report, JSON.stringify(outcome));
  process.exit(0);
};

const failed = error => {
  const message = String((error && error.message) || error);
  const missing = /Cannot find (?:module|package) '([^']+)'/.exec(message);
  end({
    kind: 'failed',
    message: `${(error && error.name) || 'Error'}: ${message.split('\n')[0]}`,
    missing: missing ? missing[1] : null,
  });
};

const FEATURES = ['@backstage/BackendFeature', '@backstage/BackendFeatureFactory'];
const isFeature = value =>
  value !== null && ['object', 'function'].includes(typeof value) && FEATURES.includes(value.$$type);
const isPlugin = loaded =>
  Boolean(loaded) &&
  (isFeature(loaded.default) ||
    (typeof loaded.dynamicPluginInstaller === 'object' && loaded.dynamicPluginInstaller !== null));

process.on('uncaughtException', failed);
process.on('unhandledRejection', failed);

try {
  const entryPoints = ['.', 'alpha'].filter(
    name => name === '.' || fs.existsSync(path.join(folder, name, 'package.json')),
  );
  const loaded = entryPoints.map(name => require(path.join(folder, name)));
  end(loaded.some(isPlugin) ? { kind: 'loaded' } : { kind: 'no-feature', exports: Object.keys(loaded[0] || {}).slice(0, 20) });
} catch (error) {
  failed(error);
}
