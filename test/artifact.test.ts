import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { deflateRawSync } from 'node:zlib';
import { Template } from 'aws-cdk-lib/assertions';
import type { Metafile } from 'esbuild';
import { bundle } from '../bin/bundle';
import { SecretsEndpoint } from '../bin/local/secrets-endpoint';
import { METRIC_NAMESPACE } from '../lambda/metrics';
import { createDirectory, metricsWatched, type Properties, resource, runApp, SECRET_ARN } from './support/cdk';
import { useDatabase } from './support/database';
import { linesOf, metricsIn } from './support/metrics';
import { Rds } from './support/rds';

const database = useDatabase();

const CONFIG = {
  secretArn: SECRET_ARN,
  sslMode: 'disable',
  targets: [
    { table: 'refresh_tokens', deleteWhen: [{ revoked: true }, { expires_at: { olderThan: '0s' } }] },
    { schema: 'auth', table: 'password_resets', deleteWhen: [{ used: true }] },
  ],
};

let endpoint: SecretsEndpoint;
let template: Template;
let lambda: Properties;
/** The folder that is deployed as the function's code. It is outside of the project: there is no node_modules above it. */
let artifact: string;

beforeAll(async () => {
  endpoint = await SecretsEndpoint.start();
  const { code, stderr, directory } = await runApp({ stages: { dev: { databases: { auth: CONFIG } } } });
  if (code !== 0) {
    throw new Error(stderr);
  }
  template = Template.fromJSON(JSON.parse(readFileSync(join(directory, 'TokenCleanup-dev.template.json'), 'utf8')));
  lambda = resource(template, 'AWS::Lambda::Function');
  artifact = join(directory, `asset.${lambda.Code.S3Key.replace('.zip', '')}`);
});
afterAll(() => endpoint.stop());

/** Calls the handler as Lambda would, with the variables of the template or others, in a process of its own. */
async function invoke(
  variables = lambda.Environment.Variables,
): Promise<{ readonly report: Properties; readonly output: string }> {
  const [file, name] = lambda.Handler.split('.');
  const script = `
    import { ${name} as handler } from ${JSON.stringify(join(artifact, `${file}.mjs`))};
    const report = await handler({}, { getRemainingTimeInMillis: () => 60_000 });
    process.stdout.write(JSON.stringify(report), () => process.exit());`;
  const lines = (await evaluate(script, { ...endpoint.environment, ...variables })).split('\n');
  return { report: JSON.parse(lines.pop() ?? ''), output: lines.join('\n') };
}

async function evaluate(script: string, variables: Readonly<Record<string, string>> = {}): Promise<string> {
  const env = { ...variables, PATH: process.env.PATH };
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { env });
  return stdout;
}

test('purges a real database with the variables of the template', async () => {
  await database.sql(`
    create table refresh_tokens (id int, revoked boolean, expires_at timestamptz);
    insert into refresh_tokens values
      (1, true, now() + interval '1 day'), (2, false, now() - interval '1 second'), (3, false, now() + interval '1 day'),
      (4, null, null);
    create schema auth;
    create table auth.password_resets (id int, used boolean);
    insert into auth.password_resets values (1, true), (2, false), (3, null)`);
  // Before the first vacuum the age of deleted rows is unknown.
  await database.sql('vacuum');
  const { credentials } = database.connection();
  const { user, ...rest } = await credentials.current(new AbortController().signal);
  const { database: dbname, ...where } = rest;
  endpoint.put(SECRET_ARN, JSON.stringify({ ...where, username: user, dbname }));

  const { report, output } = await invoke();

  expect(report).toMatchObject({ status: 'succeeded', stage: 'dev', rowsDeleted: 3 });
  expect(await database.column('select id from refresh_tokens')).toEqual([3, 4]);
  expect(await database.column('select id from auth.password_resets')).toEqual([2, 3]);
  // What the alarms and the dashboard of the same template look at is what has just been written.
  expect(metricsWatched(template, METRIC_NAMESPACE)).toEqual(Object.keys(metricsIn(linesOf(output))).sort());
});

test('reports why it cannot read its secret', async () => {
  endpoint.remove(SECRET_ARN);

  expect((await invoke()).report).toMatchObject({
    status: 'failed',
    error: "the secret could not be read: ResourceNotFoundException: Secrets Manager can't find the specified secret.",
  });
});

test('logs in with a token of IAM', async () => {
  const keys = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret', sessionToken: 'session' };
  const rds = await Rds.start(database.server, { user: 'token_cleanup', region: 'eu-central-1', keys });
  try {
    await database.sql(`
      create table refresh_tokens (id int, revoked boolean, expires_at timestamptz);
      insert into refresh_tokens values (1, true, null), (2, false, null);
      grant delete, select on refresh_tokens to token_cleanup`);

    const { report } = await invoke(rds.environment(database.name));

    expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 1 });
    expect(await database.column('select id from refresh_tokens')).toEqual([2]);
  } finally {
    await rds.stop();
  }
});

test.each(['function', 'fleet', 'summary'] as const)(
  'is one file of at most 185 kB zipped, and loads: %s',
  async (name) => {
    const directory = createDirectory();
    bundle(name, directory);
    const file = join(directory, 'index.mjs');
    const script = `import { handler } from ${JSON.stringify(file)}; process.stdout.write(typeof handler);`;

    expect(readdirSync(directory).sort()).toEqual(['THIRD-PARTY-NOTICES.txt', 'index.mjs']);
    expect(deflateRawSync(readFileSync(file)).length).toBeLessThanOrEqual(185_000);
    expect(await evaluate(script)).toBe('function');
  },
);

describe('the packages in it', () => {
  let names: string[];
  const manifestOf = (name: string): Properties =>
    JSON.parse(readFileSync(join('node_modules', name, 'package.json'), 'utf8'));

  beforeAll(() => {
    const directory = createDirectory();
    names = packagesIn(bundle('function', directory));
    // What is looked at is what is deployed.
    expect(readFileSync(join(directory, 'index.mjs'))).toEqual(readFileSync(join(artifact, 'index.mjs')));
  });

  test('stand in the notices, each with its version, its licence and the words of that', () => {
    const [, ...sections] = readFileSync(join(artifact, 'THIRD-PARTY-NOTICES.txt'), 'utf8').split(/^-{80}\n$/m);
    const entries = sections.flatMap((section) => {
      const [heading = '', ...words] = section.trim().split('\n\n');
      return heading.split('\n').map((line) => ({ line, words: words.join('\n\n') }));
    });

    expect(entries.map(({ line }) => line).sort()).toEqual(
      names.map((name) => `${name} ${manifestOf(name).version} (${manifestOf(name).license})`).sort(),
    );
    for (const { words } of entries) {
      expect(words).toMatch(/Copyright|copyright/);
      expect(words).toMatch(/AS IS/);
    }
  });

  test('are needed at run time: nothing of the stack, and nothing of the tools', () => {
    const { devDependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
    // Whoever installs the package gets these in the bundle, and need not install them.
    const bundled = /^@aws-(sdk\/(client-secrets-manager|rds-signer)|lambda-powertools\/(logger|metrics))$/;
    const others = Object.keys({ ...devDependencies, ...peerDependencies, cronstrue: '' });

    expect(others).toEqual(expect.arrayContaining(['aws-cdk-lib', 'constructs', 'esbuild']));
    expect(names).toEqual(expect.arrayContaining(['@aws-sdk/rds-signer', 'pg', 'zod']));
    expect(names.filter((name) => others.includes(name) && !bundled.test(name))).toEqual([]);
  });

  test('have licences that require at most a notice', () => {
    const permissive = ['0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'MIT', 'MIT-0'];

    expect(names.filter((name) => !permissive.includes(manifestOf(name).license))).toEqual([]);
  });
});

/** The names of the packages in a bundle: a second look, past the code that writes the notices. */
function packagesIn({ outputs }: Metafile): string[] {
  const inputs = Object.values(outputs).flatMap((output) => Object.entries(output.inputs));
  const names = inputs.flatMap(([path, { bytesInOutput }]) => {
    const [, ...folders] = path.split('node_modules/');
    const [scope = '', name] = folders.at(-1)?.split('/') ?? [];
    return bytesInOutput > 0 && scope ? [scope.startsWith('@') ? `${scope}/${name}` : scope] : [];
  });
  return [...new Set(names)];
}
