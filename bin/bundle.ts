import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { buildSync, type Metafile } from 'esbuild';
import { bundledPackages, thirdPartyNotices } from './third-party-notices';

const PROJECT = dirname(__dirname);

/**
 * Bundles the function for deployment: one file, and the notices of the packages whose code it contains.
 *
 * @returns esbuild's account of the bundle
 * @throws Error if the licence of a bundled package, or the text of it, is missing
 */
export function bundleFunction(directory: string): Metafile {
  const { metafile } = buildSync({
    absWorkingDir: PROJECT,
    entryPoints: [join('lambda', 'handler.ts')],
    outfile: join(directory, 'index.mjs'),
    bundle: true,
    platform: 'node',
    target: 'node24', // the function's runtime
    format: 'esm',
    mainFields: ['module', 'main'],
    // No source map: it would weigh more than the code, and a failure is reported by message, not by stack trace.
    minify: true,
    // The rest of the SDK is bundled: the runtime's own is another version, and loads more slowly.
    external: ['pg-native', ...NEVER_LOADED],
    // pg is CommonJS and calls require.
    banner: { js: "import{createRequire}from'node:module';const require=createRequire(import.meta.url);" },
    // pg creates a Response to detect Cloudflare, for which Node.js would load all of fetch.
    define: { Response: 'undefined' },
    logLevel: 'warning',
    metafile: true,
  });
  const notices = thirdPartyNotices(bundledPackages(metafile, PROJECT));
  writeFileSync(join(directory, 'THIRD-PARTY-NOTICES.txt'), notices);
  return metafile;
}

/**
 * Parts of the SDK that are loaded on demand, and never here: event streams, which Secrets Manager does not use, and
 * sources of credentials that come after the environment, which always holds them on Lambda.
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
