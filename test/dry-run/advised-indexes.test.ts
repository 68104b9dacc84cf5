import type { TargetsInput } from '../../lambda/configuration/targets';
import type { Diagnosis } from '../../lambda/dry-run/diagnosis';
import { useDatabase } from '../support/database';

const database = useDatabase();

/** A row of 7,000 bytes has a block for itself: so many are more than 128 MB. */
const WIDE_ROWS = 17_000;
const WIDE_TARGETS: TargetsInput = [
  {
    table: 'refresh_tokens',
    deleteWhen: [
      { isRevoked: true },
      { used: false, used_at: { olderThan: '1d' } },
      { expires_at: { olderThan: '0s' } },
    ],
  },
];

/** A table with so many dead rows for each of the three rules, evenly spread. */
async function makeWideTable(deadByRule: number, isPartitioned = false): Promise<void> {
  await database.sql(`
    create table refresh_tokens (
      id int, "isRevoked" boolean, used boolean, used_at timestamp, expires_at timestamptz, filler text
    ) ${isPartitioned ? 'partition by hash (id)' : ''};
    alter table refresh_tokens alter filler set storage plain;`);
  for (const remainder of isPartitioned ? [0, 1] : []) {
    await database.sql(
      `create table leaf_${remainder} partition of refresh_tokens for values with (modulus 2, remainder ${remainder})`,
    );
  }
  await database.sql(
    `insert into refresh_tokens
     select
       id, place = 1, place <> 2, (now() at time zone 'UTC') - place * interval '1 day',
       now() + case place when 3 then interval '-1 hour' else interval '1 day' end, repeat('x', 7000)
     from generate_series(1, ${WIDE_ROWS}) as id, lateral (select id % $1::int as place) as assigned`,
    [WIDE_ROWS / deadByRule],
  );
  await database.sql('analyze refresh_tokens');
}

/** The diagnosis of the first table. */
async function diagnosisOf(targets: TargetsInput = WIDE_TARGETS): Promise<Diagnosis> {
  const report = await database.service({ targets }).run({ dryRun: true });
  expect(report).toMatchObject({ status: 'succeeded', rowsDeleted: 0 });
  return report.targets[0]?.diagnosis as Diagnosis;
}

test.each([
  ['a table', false, 'create index concurrently on'],
  ['a partitioned table', true, 'create index on'],
])(
  'advises on indexes of %s, as statements that work and that the sweep makes use of',
  async (_, isPartitioned, create) => {
    await makeWideTable(17, isPartitioned);

    const before = await diagnosisOf();

    expect(before.indexAdvice).toEqual({
      verdict: 'helps',
      statements: [
        `${create} public.refresh_tokens ("isRevoked") where "isRevoked"`,
        `${create} public.refresh_tokens (used_at) where not used`,
        `${create} public.refresh_tokens (expires_at)`,
      ],
    });
    expect(before).toMatchObject({ rules: [{ rows: 17 }, { rows: 17 }, { rows: 17 }], rowsKept: WIDE_ROWS - 51 });
    expect(before).not.toHaveProperty('rowsKeptEstimated');

    for (const statement of before.indexAdvice?.statements ?? []) {
      await database.sql(statement);
    }
    const plan = await database.column<string>(
      `explain select from refresh_tokens
     where "isRevoked" = true or used = false and used_at < now() at time zone 'UTC' or expires_at < now()`,
    );
    expect(plan.join('\n')).toContain('BitmapOr');
    expect(plan.join('\n')).not.toContain('Seq Scan');

    const after = await diagnosisOf();

    expect(after).toMatchObject({
      rules: [{ rows: 17 }, { rows: 17 }, { rows: 17 }],
      rowsKept: WIDE_ROWS - 51, // the statistics are as old as the indexes, and exact
      rowsKeptEstimated: true,
      indexAdvice: { verdict: 'exists', statements: [] },
    });
    const run = await database.service({ targets: WIDE_TARGETS }).run();
    expect(run).toMatchObject({ rowsDeleted: 51, targets: [{ rowsRemaining: 0 }] });
    // A walk over 17,000 blocks takes hundreds of statements.
    expect(run.targets[0]?.batches).toBeLessThan(10);
  },
);

test('does not promise that an index helps if many rows are dead', async () => {
  await makeWideTable(170);

  expect((await diagnosisOf()).indexAdvice).toMatchObject({
    verdict: 'helps-later',
    statements: [expect.any(String), expect.any(String), expect.any(String)],
  });
});

test('accepts an index only if it leads to the rows of a rule', async () => {
  await makeWideTable(17);
  await database.sql('set enable_seqscan to off'); // for the plans below, at any cost
  const rules = {
    '("isRevoked") where "isRevoked"': '"isRevoked" = true',
    '(used_at) where not used': `used = false and used_at < now() at time zone 'UTC'`,
    '(expires_at)': 'expires_at < now()',
  };
  const [revoked, unused, expired] = Object.keys(rules);

  for (const [index, missing] of [
    ['(id)', [revoked, unused, expired]],
    ['(id, expires_at)', [revoked, unused, expired]],
    ['(expires_at) where used', [revoked, unused, expired]],
    ['using hash (expires_at)', [revoked, unused, expired]],
    ['((expires_at is null))', [revoked, unused, expired]],
    ['(expires_at, id)', [revoked, unused]],
    ['using brin (expires_at)', [revoked, unused]],
    ['(id) where "isRevoked" = true', [unused, expired]],
    ['(id) where "isRevoked"', [unused, expired]],
    ['("isRevoked")', [unused, expired]],
    ['(id) where used = false', [revoked, expired]],
    ['(used_at)', [revoked, expired]],
  ] as const) {
    await database.sql(`create index probe on refresh_tokens ${index}`);
    const { indexAdvice } = await diagnosisOf();
    const advised = indexAdvice?.statements.map((statement) => statement.replace(/.*refresh_tokens /, ''));
    expect([index, advised]).toEqual([index, missing]);
    // The planner agrees.
    for (const [definition, rule] of Object.entries(rules).filter(([definition]) => !advised?.includes(definition))) {
      const plan = await database.column(`explain select from refresh_tokens where ${rule}`);
      expect([definition, plan.join('\n')]).toEqual([definition, expect.stringContaining('probe')]);
    }
    await database.sql('drop index probe');
  }
});
