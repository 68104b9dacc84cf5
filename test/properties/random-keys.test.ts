import fc from 'fast-check';
import type { TargetsInput } from '../../lambda/configuration/targets';
import { useDatabase } from '../support/database';

const database = useDatabase();

const ID = { min: 1, max: 40 };
const row = fc.record({
  revoked: fc.boolean(),
  parent: fc.option(fc.integer(ID)),
  token: fc.option(fc.integer(ID)),
});
const scenario = fc.record({
  tokens: fc.array(row, { minLength: 1, maxLength: ID.max, size: 'max' }),
  sessions: fc.array(row, { maxLength: ID.max }),
  devices: fc.array(fc.integer(ID), { maxLength: 6 }),
  grants: fc.array(fc.integer(ID), { maxLength: 30 }),
  uses: fc.array(fc.integer(ID), { maxLength: 3 }),
  sweepsSessions: fc.boolean(),
  isPartitioned: fc.boolean(),
});

const TOKENS: TargetsInput = [{ table: 'tokens', deleteWhen: [{ revoked: true }, { used_at: { olderThan: '1d' } }] }];
const SESSIONS: TargetsInput = [{ table: 'sessions', deleteWhen: [{ ended_at: { olderThan: '0s' } }] }];

/**
 * Tokens that refer to tokens; sessions, devices and grants that refer to tokens; uses that refer to grants. Grants go along
 * with their token, and a use keeps its grant.
 */
test('forecasts for any tables with keys the rows that the next run deletes, leaves and cascades to', async () => {
  await fc.assert(
    fc.asyncProperty(scenario, async (given) => {
      await database.sql(`
        drop table if exists uses, grants, devices, sessions, tokens;
        create table tokens (
          id int primary key, revoked boolean, used_at timestamptz, protection int constraint tokens_parent references tokens
        ) ${given.isPartitioned ? 'partition by hash (id)' : ''};
        create table sessions (
          id int primary key, ended_at timestamptz, token_id int constraint session_token references tokens
        );
        create table devices (token_id int constraint device_token references tokens);
        create table grants (id int primary key, token_id int constraint grant_token references tokens on delete cascade);
        create table uses (grant_id int constraint use_grant references grants)`);
      for (const remainder of given.isPartitioned ? [0, 1] : []) {
        await database.sql(
          `create table tokens_${remainder} partition of tokens for values with (modulus 2, remainder ${remainder})`,
        );
      }
      const { tokens, sessions, devices, grants, uses } = given;
      const known = (id: number | null, rows: readonly unknown[]) =>
        id !== null && rows.length > 0 ? ((id - 1) % rows.length) + 1 : null;
      // A token refers to an older one: circles are another matter.
      await insert(
        'tokens',
        tokens.map(({ revoked, parent }, index) => ({
          id: index + 1,
          revoked,
          used_at: index % 5 === 0 ? '2020-02-03' : null,
          protection: parent !== null && index > 0 ? ((parent - 1) % index) + 1 : null,
        })),
      );
      await insert(
        'sessions',
        sessions.map(({ revoked, token }, index) => ({
          id: index + 1,
          ended_at: revoked ? '2021-02-03' : null,
          token_id: known(token, tokens),
        })),
      );
      await insert(
        'devices',
        devices.map((id) => ({ token_id: known(id, tokens) })),
      );
      await insert(
        'grants',
        grants.map((id, index) => ({ id: index + 1, token_id: known(id, tokens) })),
      );
      await insert(
        'uses',
        uses.map((id) => ({ grant_id: known(id, grants) })),
      );
      const targets = given.sweepsSessions ? [...TOKENS, ...SESSIONS] : TOKENS;

      const forecast = await database.service({ targets }).run({ dryRun: true });
      const run = await database.service({ targets }).run();

      expect(forecast).not.toHaveProperty('error');
      expect(forecast).toMatchObject({ status: 'succeeded', rowsDeleted: 0 });
      expect(
        forecast.targets.map(({ table, rowsRemaining, blockedBy = [], cascaded = [] }) => ({
          table,
          rowsDeleted: rowsRemaining,
          rowsRemaining: blockedBy.reduce((sum, { rows = 0 }) => sum + rows, 0),
          cascaded,
        })),
      ).toEqual(
        run.targets.map(({ table, rowsDeleted, rowsRemaining, cascaded = [] }) => ({
          table,
          rowsDeleted,
          rowsRemaining,
          cascaded,
        })),
      );
      expect(forecast.targets.map(({ diagnosis }) => diagnosis?.rowsKept)).toEqual([
        ...(await database.column('select count(*)::int from tokens')),
        ...(given.sweepsSessions ? await database.column('select count(*)::int from sessions') : []),
      ]);
    }),
    { numRuns: 25 },
  );
}, 120_000);

async function insert(table: string, rows: readonly object[]): Promise<void> {
  await database.sql(`insert into ${table} select * from jsonb_populate_recordset(null::${table}, $1)`, [
    JSON.stringify(rows),
  ]);
}
