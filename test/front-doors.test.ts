import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Template } from 'aws-cdk-lib/assertions';
import { invoke } from '../bin/local/invocation';
import { SecretsEndpoint } from '../bin/local/secrets-endpoint';
import type { TargetsInput } from '../lambda/configuration/targets';
import type { RunReport } from '../lambda/run/report';
import { createDirectory, type Properties, resource, runApp, SECRET_ARN } from './support/cdk';
import { useDatabase } from './support/database';

const database = useDatabase();

const TARGETS: TargetsInput = [
  {
    table: 'tokens',
    deleteWhen: [
      { seconds: { olderThan: '0s', epoch: 's' } },
      { issued_at: { olderThan: '1h', plusSeconds: 'lifetime' } },
      { status: { in: ['revoked', 'used'] }, successor: null },
      { login: { refersTo: { ended: true } } },
    ],
    timeZone: 'Asia/Kolkata',
  },
  { preset: 'laravel', schema: 'shop', lifetime: '30m' } as TargetsInput[number],
  {
    schemas: { like: ['tenant_*'], except: ['tenant_demo'] },
    table: 'codes',
    unlessReferredToBy: ['uses'],
    deleteWhen: [
      { kind: { in: ['spent'] }, number: { in: [7] }, expires_at: { olderThan: '0s', orNull: true } },
      { day: { olderThan: '0s' } },
    ],
  },
];

const TENANTS = ['tenant_a', 'tenant_b', 'tenant_demo'];

let endpoint: SecretsEndpoint;
beforeAll(async () => {
  endpoint = await SecretsEndpoint.start();
});
afterAll(() => endpoint.stop());

beforeEach(async () => {
  endpoint.put(SECRET_ARN, database.secret());
  await database.sql(`
    create table logins (id text primary key, ended boolean);
    insert into logins values ('ended', true), ('open', false);
    create table tokens (
      id text, seconds int, issued_at timestamp, lifetime int, status text, successor text, login text references logins
    );
    insert into tokens (id, seconds) values ('never', 0), ('past', extract(epoch from now()) - 5), ('ahead', 2000000000);
    insert into tokens (id, issued_at, lifetime) values
      ('over', now() at time zone 'Asia/Kolkata' - interval '3 hours', 3600),
      ('long', now() at time zone 'Asia/Kolkata' - interval '3 hours', 86400),
      ('new', now() at time zone 'Asia/Kolkata', 0);
    insert into tokens (id, status, successor, login) values
      ('revoked', 'revoked', null, 'open'), ('succeeded', 'used', 'past', null), ('active', 'active', null, 'open'),
      ('of an ended login', 'active', null, 'ended');
    create schema shop;
    create table shop.sessions (id text, last_activity int);
    insert into shop.sessions values
      ('idle', extract(epoch from now()) - 1900), ('active', extract(epoch from now()) - 1700);
    create table shop.password_reset_tokens (email text, token text, created_at timestamp);
    insert into shop.password_reset_tokens values
      ('old', '', now() at time zone 'UTC' - interval '2 hours'), ('new', '', now() at time zone 'UTC');
    create type kind as enum ('open', 'spent')`);
  for (const tenant of TENANTS) {
    await database.sql(`
      create schema ${tenant};
      create table ${tenant}.codes (id text primary key, kind kind, number int, expires_at timestamptz, day date);
      create table ${tenant}.uses (code_id text references ${tenant}.codes on delete cascade);
      insert into ${tenant}.codes values
        ('no end', 'spent', 7, null, null), ('ahead', 'spent', 7, now() + interval '1 hour', null),
        ('open', 'open', 7, null, null), ('other', 'spent', 8, null, null), ('in use', 'spent', 7, null, null),
        ('over', null, null, null, current_date - 2), ('today', null, null, null, current_date + 1);
      insert into ${tenant}.uses values ('in use')`);
  }
});

async function runOutside(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<RunReport> {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, ...environment };
  const { stdout } = await promisify(execFile)(process.execPath, args, { env, cwd: join(__dirname, '..') });
  return JSON.parse(stdout.slice(stdout.lastIndexOf('\n{') + 1));
}

test.each<[string, () => Promise<RunReport | undefined>]>([
  [
    'the environment of the function',
    async () => {
      const environment = {
        ...endpoint.environment,
        DB_SECRET_ARN: SECRET_ARN,
        DB_SSL_MODE: 'disable',
        CLEANUP_TARGETS: JSON.stringify(TARGETS),
      };
      return (await invoke({ environment })).report as RunReport;
    },
  ],
  [
    'a stage, by way of the code and the variables that are deployed',
    async () => {
      const auth = { secretArn: SECRET_ARN, sslMode: 'disable', targets: TARGETS };
      const { code, stderr, directory } = await runApp({ stages: { dev: { databases: { auth } } } });
      expect([code, stderr]).toEqual([0, expect.any(String)]);
      const template = JSON.parse(readFileSync(join(directory, 'TokenCleanup-dev.template.json'), 'utf8'));
      const lambda: Properties = resource(Template.fromJSON(template), 'AWS::Lambda::Function');
      const [file, name] = lambda.Handler.split('.');
      const bundle = join(directory, `asset.${lambda.Code.S3Key.replace('.zip', '')}`, `${file}.mjs`);
      const script = `
        import { ${name} as handler } from ${JSON.stringify(bundle)};
        const report = await handler({}, { getRemainingTimeInMillis: () => 60_000 });
        process.stdout.write('\\n' + JSON.stringify(report), () => process.exit());`;
      const environment = { ...endpoint.environment, ...lambda.Environment.Variables };
      return await runOutside(['--input-type=module', '--eval', script], environment);
    },
  ],
  [
    'a file for the command line',
    async () => {
      const file = join(createDirectory(), 'targets.json');
      writeFileSync(file, JSON.stringify(TARGETS));
      const command = ['--import', 'tsx', 'bin/local.ts', '--database-url', database.url];
      return await runOutside([...command, '--targets', file, '--json']);
    },
  ],
])('deletes the same rows by rules from %s', async (_, run) => {
  const report = await run();

  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 10 });
  const tokens = ['active', 'ahead', 'long', 'never', 'new', 'succeeded'];
  expect(await database.column('select id from tokens')).toEqual(tokens);
  expect(await database.column('select id from shop.sessions')).toEqual(['active']);
  expect(await database.column('select email from shop.password_reset_tokens')).toEqual(['new']);
  for (const tenant of TENANTS) {
    const staying = ['ahead', 'in use', 'open', 'other', 'today'];
    const all = ['ahead', 'in use', 'no end', 'open', 'other', 'over', 'today'];
    expect(await database.column(`select id from ${tenant}.codes`)).toEqual(tenant === 'tenant_demo' ? all : staying);
  }
});
