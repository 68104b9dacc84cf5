import fc from 'fast-check';
import { useDatabase } from '../support/database';

const database = useDatabase();

/** Moments around the cutoff, in milliseconds from now; null for no expiry. */
const offsetMs = fc.oneof(
  { weight: 1, arbitrary: fc.constant(null) },
  { weight: 2, arbitrary: fc.integer({ min: -2_000, max: -1 }) },
  // Far enough ahead that the row is alive to the end of the test.
  { weight: 4, arbitrary: fc.integer({ min: 60_000, max: 40 * 86_400_000 }) },
  { weight: 4, arbitrary: fc.integer({ min: -40 * 86_400_000, max: -60_000 }) },
);
const token = fc.record({ revoked: fc.constantFrom(true, false, null), expiresMs: offsetMs, revokedMs: offsetMs });
const zone = fc.constantFrom('UTC', 'America/St_Johns', 'Pacific/Kiritimati', 'Pacific/Pago_Pago', 'Asia/Kathmandu');
const age = fc.constantFrom('0s', '1s', '90m', '7d', '30d');

const scenario = fc.record({
  tokens: fc.array(token, { minLength: 0, maxLength: 60 }),
  copies: fc.constantFrom(1, 1, 40, 300),
  // Where there are many, and indexes, the sweep goes by the indexes.
  immortals: fc.constantFrom(0, 0, 10_000),
  expiresType: fc.constantFrom('timestamptz', 'timestamp', 'timestamptz(3)', 'timestamp(0)'),
  serverZone: zone,
  roleZone: zone,
  partitions: fc.constantFrom(0, 0, 1, 3),
  indexed: fc.boolean(),
  concurrency: fc.integer({ min: 1, max: 4 }),
  rules: fc.array(
    fc.oneof(
      fc.record({ revoked: fc.boolean() }),
      fc.record({ expires_at: fc.record({ olderThan: age }) }),
      fc.record({ revoked: fc.boolean(), revoked_at: fc.record({ olderThan: age }) }),
      fc.record({ expires_at: fc.record({ olderThan: age }), revoked_at: fc.record({ olderThan: age }) }),
    ),
    { minLength: 1, maxLength: 3 },
  ),
});

test('leaves the same rows of any table as one DELETE with the same cutoff', async () => {
  await fc.assert(
    fc.asyncProperty(scenario, async (given) => {
      await database.sql(`
        drop table if exists refresh_tokens, expected;
        alter role postgres set timezone to '${given.roleZone}';
        do $$ begin execute format('alter database %I set timezone to %L', current_database(), '${given.serverZone}'); end $$;
        create table refresh_tokens (
          id int not null, revoked boolean, expires_at ${given.expiresType}, revoked_at timestamptz, filler text
        ) ${given.partitions > 0 ? 'partition by hash (id)' : ''};`);
      for (let remainder = 0; remainder < given.partitions; remainder += 1) {
        await database.sql(`
          create table refresh_tokens_${remainder} partition of refresh_tokens
          for values with (modulus ${given.partitions}, remainder ${remainder})`);
      }
      // A column without a zone holds UTC.
      const moment = (ms: string, type: string) =>
        `(now() + ${ms}::float8 * interval '1 ms')${type.startsWith('timestamptz') ? '' : ` at time zone 'UTC'`}`;
      await database.sql(
        `insert into refresh_tokens
         select row_number() over (), revoked, ${moment('expires', given.expiresType)}, ${moment('revoked_ms', 'timestamptz')},
           repeat('x', 100)
         from jsonb_to_recordset($1) as token (revoked boolean, expires float8, revoked_ms float8), generate_series(1, $2)`,
        [
          JSON.stringify(
            given.tokens.map((t) => ({ revoked: t.revoked, expires: t.expiresMs, revoked_ms: t.revokedMs })),
          ),
          given.copies,
        ],
      );
      await database.sql(
        `insert into refresh_tokens (id, filler) select -id, repeat('x', 100) from generate_series(1, $1::int) as id`,
        [given.immortals],
      );
      if (given.indexed) {
        await database.sql(
          'create index on refresh_tokens (expires_at); create index on refresh_tokens (id) where revoked',
        );
      }
      await database.sql('analyze refresh_tokens; create table expected as select * from refresh_tokens');

      const report = await database
        .service({ targets: [{ table: 'refresh_tokens', deleteWhen: given.rules }] })
        .run({ concurrency: given.concurrency });

      expect(report).toMatchObject({ status: 'succeeded', targets: [{ stopReason: 'drained', rowsRemaining: 0 }] });
      const cutoff = `timestamptz '${report.cutoff}'`;
      const where = given.rules
        .map((rule) =>
          Object.entries(rule)
            .map(([column, columnTest]) => {
              if (typeof columnTest === 'boolean') {
                return `${column} is ${columnTest}`;
              }
              const asUtc = column === 'expires_at' && !given.expiresType.startsWith('timestamptz');
              return `${column}${asUtc ? ` at time zone 'UTC'` : ''} < ${cutoff} - interval '${columnTest.olderThan}'`;
            })
            .join(' and '),
        )
        .join(' or ');
      const { length: deleted } = await database.sql(`delete from expected where ${where} returning id`);
      expect(report.rowsDeleted).toBe(deleted);
      expect(await database.sql('select * from refresh_tokens order by id')).toEqual(
        await database.sql('select * from expected order by id'),
      );
    }),
    { numRuns: Number(process.env.TABLES_RUNS ?? 60) },
  );
}, 120_000);
