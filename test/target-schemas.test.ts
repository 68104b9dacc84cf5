import type { TargetsInput } from '../lambda/configuration/targets';
import { emitReport } from '../lambda/metrics';
import { useDatabase } from './support/database';

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
    expect.arrayContaining(['tenant_a.sessions', 'tenant_b.sessions', 'no schema like * has a table "sessions"']),
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
