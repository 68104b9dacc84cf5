import type { TargetsInput } from '../../lambda/configuration/targets';
import { emitReport } from '../../lambda/metrics';
import { useDatabase } from '../support/database';

const database = useDatabase();

const PATTERN: TargetsInput = [
  { schemas: { like: ['tenant_*'], except: ['tenant_demo'] }, table: 'sessions', deleteWhen: [{ dead: true }] },
];

async function makeSchemas(...schemas: string[]): Promise<void> {
  for (const schema of schemas) {
    await database.sql(`
      create schema "${schema}";
      create table "${schema}".sessions (id int, dead boolean);
      insert into "${schema}".sessions values (1, true), (2, false), (3, true)`);
  }
}

async function survivors(schema: string): Promise<number[]> {
  return await database.column<number>(`select id from "${schema}".sessions`);
}

test('sweeps the table in each schema that matches and has it', async () => {
  await makeSchemas('tenant_a', 'tenant_B', 'tenant_demo', 'other');
  await database.sql(
    'create schema tenant_empty; create schema tenant_view; create view tenant_view.sessions as select true as dead',
  );

  const report = await database.service({ targets: PATTERN }).run();

  expect(report).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 4,
    targets: [
      { table: 'tenant_B.sessions', pattern: 'sessions', rowsDeleted: 2 },
      { table: 'tenant_a.sessions', pattern: 'sessions', rowsDeleted: 2 },
    ],
  });
  expect(await survivors('tenant_a')).toEqual([2]);
  expect(await survivors('tenant_B')).toEqual([2]);
  expect(await survivors('tenant_demo')).toEqual([1, 2, 3]);
  expect(await survivors('other')).toEqual([1, 2, 3]);
});

test('sweeps no table twice, and leaves one that is named to its own rules', async () => {
  await makeSchemas('tenant_a', 'tenant_b');

  const report = await database
    .service({
      targets: [
        ...PATTERN,
        { schema: 'tenant_b', table: 'sessions', deleteWhen: [{ dead: false }] },
        { schemas: { like: ['*'] }, table: 'sessions', deleteWhen: [{ dead: false }] },
      ],
    })
    .run();

  expect(report.targets.map(({ table, error }) => error ?? table)).toEqual(
    expect.arrayContaining([
      'tenant_a.sessions',
      'tenant_b.sessions',
      'no schema like * has a table "sessions" that no other target takes',
    ]),
  );
  expect(await survivors('tenant_a')).toEqual([2]);
  expect(await survivors('tenant_b')).toEqual([1, 3]);
});

test('fails if no schema matches, and emits the metrics of a pattern once', async () => {
  const failed = await database.service({ targets: PATTERN }).run();
  expect(failed.targets).toMatchObject([
    { table: 'sessions', status: 'failed', error: 'no schema like tenant_* has a table "sessions"' },
  ]);

  await makeSchemas('tenant_a', 'tenant_b');
  const report = await database.service({ targets: PATTERN }).run({ tables: ['sessions'] });
  const emitted: unknown[] = [];
  emitReport(
    {
      addDimensions: (dimensions) => emitted.push(dimensions),
      addMetric: (name, _, value) => emitted.push([name, value]),
      publishStoredMetrics: () => {},
    },
    report,
  );
  expect(emitted).toEqual(
    expect.arrayContaining([{ stage: 'local', table: 'sessions' }, ['RowsDeleted', 4], ['RowsRemaining', 0]]),
  );
  expect(JSON.stringify(emitted)).not.toContain('tenant_');
});

/** Schemas in such a number that a statement for each would show. */
async function makeManySchemas(count: number): Promise<void> {
  await database.sql(`
    do $$ begin
      for tenant in 1..${count} loop
        execute format('create schema tenant_%s; create table tenant_%1$s.sessions (id int, dead boolean)', tenant);
      end loop;
    end $$`);
}

test('inspects hundreds of schemas in a few statements, and looks at all empty tables at once', async () => {
  await makeManySchemas(300);
  await database.sql('insert into tenant_7.sessions values (1, true), (2, false)');
  const service = database.service({ targets: PATTERN });

  const log = await database.logOf(() => service.run(), { statements: true });
  const statements = log.filter((line) => / LOG: +(execute|statement)/.test(line));

  expect(statements.length).toBeLessThanOrEqual(25);
  expect(await survivors('tenant_7')).toEqual([2]);
  const report = await service.run();
  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 0 });
  expect(report.targets).toHaveLength(300);
  expect(new Set(report.targets.map(({ stopReason, rowsRemaining }) => `${stopReason} ${rowsRemaining}`))).toEqual(
    new Set(['drained 0']),
  );
});

test('joins the same mistake in hundreds of schemas into one line', async () => {
  await makeManySchemas(150);
  await database.sql(`
    do $$ begin
      for tenant in 1..120 loop execute format('alter table tenant_%s.sessions drop dead', tenant); end loop;
    end $$;
    alter table tenant_130.sessions alter dead type text;
    insert into tenant_140.sessions values (1, true), (2, false)`);

  const report = await database.service({ targets: PATTERN }).run();

  expect(report).toMatchObject({ status: 'failed', rowsDeleted: 1 });
  expect(report.error).toBe(
    'tenant_1.sessions, tenant_10.sessions, tenant_100.sessions and 117 more: ' +
      'column "dead" of "tenant_1"."sessions" does not exist\n' +
      'tenant_130.sessions: column "dead" of "tenant_130"."sessions" must be of type boolean, is text',
  );
  expect(report.targets.filter(({ status }) => status === 'failed')).toHaveLength(121);
  expect(await survivors('tenant_140')).toEqual([2]);
});

test('warns of schemas that match and do not have the table', async () => {
  await makeSchemas('tenant_a');
  await database.sql('create schema tenant_b; create view tenant_b.sessions as select true as dead');

  expect(await database.service({ targets: PATTERN }).run()).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 2,
    warnings: ['sessions: tenant_b match like tenant_* and do not have a table "sessions"'],
  });
});

test('names the grants that one of the schemas lacks, and sweeps the others', async () => {
  await makeSchemas('tenant_a', 'tenant_b');
  await database.sql(`
    create role cleaner login password 'cleaner';
    grant usage on schema tenant_a to cleaner;
    grant delete, select on tenant_a.sessions, tenant_b.sessions to cleaner`);
  const connection = database.connection({ user: 'cleaner', password: 'cleaner' });

  const report = await database.service({ targets: PATTERN, connection }).run();

  await database.sql('drop owned by cleaner; drop role cleaner');
  expect(report.error).toBe('tenant_b.sessions: a privilege is missing: grant usage on schema tenant_b to cleaner');
  expect(await survivors('tenant_a')).toEqual([2]);
  expect(await survivors('tenant_b')).toEqual([1, 2, 3]);
});

test('passes over a schema that is dropped while others are swept, and does not look at one that is created', async () => {
  await makeSchemas('tenant_a', 'tenant_b', 'tenant_c');
  const other = await database.connect();
  let changed: Promise<unknown> | undefined;
  const logger = {
    ...database.logger,
    debug: (_: string, { progress }: Record<string, unknown>) => {
      changed ??= progress ? other.query('drop schema tenant_b cascade; create schema tenant_d') : undefined;
    },
  };
  await database.sql(`
    create function pause() returns trigger language plpgsql as $$ begin perform pg_sleep(0.1); return old; end $$;
    create trigger pause before delete on tenant_a.sessions for each row execute function pause()`);

  const report = await database.service({ targets: PATTERN, logger }).run();

  await changed;
  expect(report).toMatchObject({
    status: 'succeeded',
    rowsDeleted: 4,
    warnings: ['tenant_b.sessions: was dropped during the run'],
  });
  expect(await survivors('tenant_c')).toEqual([2]);
});

test('sweeps the other tables while one is locked, with a deadline', async () => {
  await makeSchemas('tenant_a', 'tenant_b');
  const locker = await database.connect();
  await locker.query('begin; lock tenant_b.sessions');

  const report = await database.service({ targets: PATTERN }).run({ timeLeftMs: 3_000 });

  await locker.query('rollback');
  expect(report).toMatchObject({
    status: 'partial',
    rowsDeleted: 2,
    targets: [
      { table: 'tenant_a.sessions', status: 'succeeded', rowsDeleted: 2 },
      { table: 'tenant_b.sessions', status: 'partial', stopReason: 'deadline' },
    ],
  });
  expect(await survivors('tenant_b')).toEqual([1, 2, 3]);
});
