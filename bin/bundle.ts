import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { buildSync, type Metafile } from 'esbuild';
import { bundledPackages, thirdPartyNotices } from './third-party-notices';

const PROJECT = dirname(__dirname);

/** The functions, by the names of their bundles. */
const ENTRIES = {
  function: join('lambda', 'handler.ts'),
  fleet: join('lambda', 'fleet', 'handler.ts'),
  summary: join('lambda', 'fleet', 'summary.ts'),
  widget: join('lambda', 'widget', 'handler.ts'),
};

export const BUNDLES = Object.keys(ENTRIES) as (keyof typeof ENTRIES)[];

/**
 * Bundles a function for deployment: one file, and the notices of the packages whose code it contains.
 *
 * @returns esbuild's account of the bundle
 * @throws Error if the licence of a bundled package, or the text of it, is missing
 */
export function bundle(name: keyof typeof ENTRIES, directory: string): Metafile {
  const { metafile } = buildSync({
    absWorkingDir: PROJECT,
    entryPoints: [ENTRIES[name]],
    outfile: join(directory, 'index.mjs'),
    bundle: true,
    platform: 'node',
    target: 'node24', // the function's runtime
    format: 'esm',
    mainFields: ['module', 'main'],
    // No source map: it would weigh more than the code, and a failure is reported by message, not by stack trace.
    minify: true,
    // The rest of the SDK is bundled: the runtime's own is another version, and loads more slowly.
    external: ['pg-native', ...OTHER_CREDENTIALS, ...(LOADS_EVENT_STREAMS.includes(name) ? [] : [EVENT_STREAMS])],
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

const EVENT_STREAMS = '@smithy/core/event-streams';

/** The clients of S3 and CloudWatch Logs import them at once, that of Secrets Manager never. */
const LOADS_EVENT_STREAMS = ['summary', 'widget'];

/**
 * Parts of the SDK that are loaded on demand, and never here: sources of credentials that come after the environment,
 * which always holds them on Lambda.
 */
const OTHER_CREDENTIALS = [
  '@aws-sdk/credential-provider-http',
  '@aws-sdk/credential-provider-ini',
  '@aws-sdk/credential-provider-process',
  '@aws-sdk/credential-provider-sso',
  '@aws-sdk/credential-provider-web-identity',
  '@smithy/credential-provider-imds',
];
