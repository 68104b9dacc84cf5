import type { TargetsInput } from '../../lambda/configuration/targets';
import { useDatabase } from '../support/database';

const database = useDatabase();

type Target = Exclude<TargetsInput[number], { preset: string }>;

async function warningsOf(deleteWhen: Target['deleteWhen'], timeZone?: string): Promise<readonly string[]> {
  const target = { table: 'tokens', deleteWhen, ...(timeZone && { timeZone }) };
  const report = await database.service({ targets: [target] }).run({ dryRun: true });
  expect(report.status).toBe('succeeded');
  return report.warnings ?? [];
}

test('points out times that often stand for never', async () => {
  await database.sql(`
    create table tokens (revoked boolean, expires_at timestamptz, day date) partition by list (revoked);
    create table tokens_live partition of tokens for values in (false);
    create table tokens_dead partition of tokens for values in (true);
    insert into tokens values
      (false, '0001-01-01', null), (true, '1970-01-01', null), (false, '2000-01-01', '1970-01-01'), (false, '-infinity', null),
      (false, '2001-01-01', '2001-01-01'), (false, 'infinity', null), (false, null, null)`);

  const deleteWhen = [{ expires_at: { olderThan: '1d' } }, { day: { olderThan: '1d' }, revoked: false }];
  expect(await warningsOf(deleteWhen)).toEqual([
    'tokens: 4 rows to delete have "expires_at" in 1970-01-01, 2000-01-01, or the year 1 or earlier, which often stand for "never"',
    'tokens: 1 rows to delete have "day" in 1970-01-01, 2000-01-01, or the year 1 or earlier, which often stand for "never"',
  ]);
});

test('shows the dates that numbers stand for', async () => {
  await database.sql(`
    create table tokens (seconds int, milliseconds bigint);
    insert into tokens values (0, 0), (1577880000, 1609502400000), (1609502400, 1577880000000), (2147483647, 9e15)`);

  const seconds = { olderThan: '0s', epoch: 's' } as const;
  expect(await warningsOf([{ seconds }, { milliseconds: { ...seconds, epoch: 'ms' } }])).toEqual([
    'tokens: "seconds" of the rows to delete ranges from 2020-01-01 to 2021-01-01',
    'tokens: "milliseconds" of the rows to delete ranges from 2020-01-01 to 2021-01-01',
  ]);
});

test('points out timestamps without time zone in a database whose time zone is not UTC, unless the target has a zone', async () => {
  await database.sql(`
    create table tokens (at timestamp, zoned_at timestamptz);
    create role berliner;
    alter role berliner in database ${database.name} set timezone to 'Europe/Berlin';
    alter database ${database.name} set timezone to 'Asia/Tokyo'`);
  const rest = 'and timestamps without time zone are taken for UTC: if they are not, set "timeZone"';

  expect(await warningsOf([{ at: { olderThan: '1d' } }])).toEqual([
    `tokens: the time zone of a new session is Asia/Tokyo, ${rest}`,
    `tokens: the time zone of the database is Asia/Tokyo, ${rest}`,
    `tokens: the time zone of the role berliner is Europe/Berlin, ${rest}`,
  ]);
  expect(await warningsOf([{ at: { olderThan: '1d' } }], 'Asia/Tokyo')).toEqual([]);
  expect(await warningsOf([{ zoned_at: { olderThan: '1d' } }])).toEqual([]);
  await database.sql(`alter role berliner in database ${database.name} reset all; drop role berliner`);
});
