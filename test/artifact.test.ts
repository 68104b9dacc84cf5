import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { deflateRawSync } from 'node:zlib';
import { Template } from 'aws-cdk-lib/assertions';
import { SecretsEndpoint } from '../bin/local/secrets-endpoint';
import { METRIC_NAMESPACE } from '../lambda/report';
import { metricsEmitted, metricsWatched, type Properties, resource, runApp, SECRET_ARN } from './support/cdk';
import { useDatabase } from './support/database';

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

/** Calls the handler as Lambda would, with the variables of the template, in a process of its own. */
async function invoke(): Promise<{ readonly report: Properties; readonly output: string }> {
  const [file, name] = lambda.Handler.split('.');
  const script = `
    import { ${name} as handler } from ${JSON.stringify(join(artifact, `${file}.mjs`))};
    const report = await handler({}, { getRemainingTimeInMillis: () => 60_000 });
    process.stdout.write(JSON.stringify(report), () => process.exit());`;
  const env = { ...lambda.Environment.Variables, ...endpoint.environment, PATH: process.env.PATH };
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], { env });
  const lines = stdout.split('\n');
  return { report: JSON.parse(lines.pop() ?? ''), output: lines.join('\n') };
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
  const { credentials } = database.connection();
  const { user, ...rest } = await credentials.current(new AbortController().signal);
  const { database: dbname, ...where } = rest;
  endpoint.put(SECRET_ARN, JSON.stringify({ ...where, username: user, dbname }));

  const { report, output } = await invoke();

  expect(report).toMatchObject({ status: 'succeeded', stage: 'dev', rowsDeleted: 3 });
  expect(await database.column('select id from refresh_tokens')).toEqual([3, 4]);
  expect(await database.column('select id from auth.password_resets')).toEqual([2, 3]);
  // What the alarms and the dashboard of the same template look at is what has just been written.
  expect(metricsWatched(template, METRIC_NAMESPACE)).toEqual(metricsEmitted(output, METRIC_NAMESPACE));
});

test('says why it cannot read its secret', async () => {
  endpoint.remove(SECRET_ARN);

  expect((await invoke()).report).toMatchObject({
    status: 'failed',
    error: "the secret could not be read: ResourceNotFoundException: Secrets Manager can't find the specified secret.",
  });
});

test('is one file of at most 150 kB zipped', () => {
  expect(readdirSync(artifact)).toEqual(['index.mjs']);
  expect(deflateRawSync(readFileSync(join(artifact, 'index.mjs'))).length).toBeLessThanOrEqual(150_000);
});
