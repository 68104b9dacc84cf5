import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AssetHashType, DockerImage } from 'aws-cdk-lib';
import { Code } from 'aws-cdk-lib/aws-lambda';
import type { Metafile } from 'esbuild';
import { bundledPackages, thirdPartyNotices } from './third-party-notices';

const PROJECT = dirname(__dirname);

/** The bundle in the published package, whose users need no bundler. A checkout has none there, and bundles its source. */
const PREBUILT = join(PROJECT, 'function');

/** The function as it is deployed: one file, and the notices of the packages that are in it. */
export function functionCode(): Code {
  if (existsSync(PREBUILT)) {
    return Code.fromAsset(PREBUILT);
  }
  return Code.fromAsset(join(PROJECT, 'lambda'), {
    // By what is deployed: a dependency that is updated changes it too.
    assetHashType: AssetHashType.OUTPUT,
    bundling: {
      // Never asked for, since bundling on this machine always works out, or throws.
      image: DockerImage.fromRegistry('none'),
      local: {
        tryBundle(directory) {
          bundleFunction(directory);
          return true;
        },
      },
    },
  });
}

/**
 * Writes what is deployed into a folder.
 *
 * @returns what esbuild put into the bundle
 */
export function bundleFunction(directory: string): Metafile {
  // Not before it is needed: where the package is installed, there is none.
  const { buildSync } = require('esbuild') as typeof import('esbuild');
  const { metafile } = buildSync({
    absWorkingDir: PROJECT,
    entryPoints: [join('lambda', 'handler.ts')],
    outfile: join(directory, 'index.mjs'),
    bundle: true,
    platform: 'node',
    target: 'node24', // that of the function's runtime
    format: 'esm',
    mainFields: ['module', 'main'],
    // Without a source map, which would weigh more than the code, for stack traces that are hardly ever logged: a failure
    // is reported by message.
    minify: true,
    // The rest of the SDK goes along: that of the runtime is another version, and slower to load.
    external: ['pg-native', ...NEVER_LOADED],
    // pg is CommonJS and calls require.
    banner: { js: "import{createRequire}from'node:module';const require=createRequire(import.meta.url);" },
    // To find out whether it runs at Cloudflare, pg makes a Response, for which Node.js loads all of fetch.
    define: { Response: 'undefined' },
    logLevel: 'warning',
    metafile: true,
  });
  const notices = thirdPartyNotices(bundledPackages(metafile, PROJECT));
  writeFileSync(join(directory, 'THIRD-PARTY-NOTICES.txt'), notices);
  return metafile;
}

/**
 * What the SDK loads when it needs it, and here never does: event streams, which Secrets Manager does not have, and the
 * places to look for credentials after the environment, which on Lambda always holds them.
 */
const NEVER_LOADED = [
  '@aws-sdk/credential-provider-http',
  '@aws-sdk/credential-provider-ini',
  '@aws-sdk/credential-provider-process',
  '@aws-sdk/credential-provider-sso',
  '@aws-sdk/credential-provider-web-identity',
  '@smithy/core/event-streams',
  '@smithy/credential-provider-imds',
];
