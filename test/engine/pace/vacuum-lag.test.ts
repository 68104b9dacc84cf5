import { BATCH_LIMITS } from '../../../lambda/engine/batch-limits';
import { deadTuplesPileUp } from '../../../lambda/engine/pace/vacuum-lag';
import { useDatabase } from '../../support/database';

const database = useDatabase({ autovacuum_naptime: '1d', autovacuum_vacuum_threshold: 50 });

/** A table of 1,000 rows, of which some were deleted. Autovacuum starts at 50 + 20 %. */
async function tableWith(deadTuples: number, options = ''): Promise<number> {
  await database.sql(`create table tokens (id int) ${options}`);
  await database.sql('insert into tokens select generate_series(1, 1000)');
  await database.sql('analyze tokens');
  await database.sql('delete from tokens where id <= $1', [deadTuples]);
  await database.flushStatistics();
  await database.until(`select pg_stat_get_dead_tuples('tokens'::regclass) = $1`, [deadTuples]);
  return await database.oid('tokens');
}

test.each([
  [500, '', false],
  [501, '', true],
  [501, 'with (autovacuum_vacuum_scale_factor = 0.9)', false],
  [201, 'with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 90)', true],
  [999, 'with (autovacuum_enabled = off)', false],
])('of 1,000 tuples %i dead ones pile up, %s: %p', async (deadTuples, options, expected) => {
  const oid = await tableWith(deadTuples, options);
  const session = database.session();

  expect(await deadTuplesPileUp(session, oid, BATCH_LIMITS)).toBe(expected);
  await session.close();
});

test('a dropped table has no dead tuples', async () => {
  const session = database.session();

  expect(await deadTuplesPileUp(session, 1, BATCH_LIMITS)).toBe(false);
  await session.close();
});
