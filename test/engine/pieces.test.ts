import { systemClock } from '../../lambda/clock';
import type { Queryable } from '../../lambda/database/queryable';
import type { Session } from '../../lambda/database/session';
import type { Relation } from '../../lambda/engine/pieces';
import { wholeTable } from '../../lambda/engine/pieces';
import { useDatabase } from '../support/database';

const database = useDatabase();
let session: Session;
let relation: Relation;

beforeEach(() => {
  session = database.session();
});

afterEach(() => session.close());

/** Makes a table of more than a hundred blocks. */
async function fill(revoked: string): Promise<void> {
  await database.sql(`
    create table tokens (id int, revoked boolean, filler text default repeat('x', 100));
    insert into tokens select id, ${revoked} from generate_series(1, 10000) as id;
    create index on tokens (id) where revoked`);
  await database.sql('vacuum analyze tokens');
  const [oid = 0] = await database.column<number>(`select 'tokens'::regclass::oid::int`);
  relation = { oid, quotedName: 'tokens' };
}

function piecesFor(on: Queryable) {
  const condition = { text: 'revoked and id <= $1', values: [9_000] };
  const stopCounting = new AbortController().signal;
  return wholeTable({ sessions: [on], relations: [relation], condition, clock: systemClock, stopCounting });
}

test('are the dead rows, in the order of the table, where an index leads to them', async () => {
  await fill('id % 1000 = 0');

  const [piece, ...more] = await piecesFor(session);

  expect(more).toEqual([]);
  const tids = await database.sql<{ tid: string }>(
    'select ctid::text as tid from tokens where revoked and id <= 9000 order by ctid',
  );
  expect(tids).toHaveLength(9);
  expect(piece).toEqual({ relation, from: 0, to: 9 * 2_048, tids: tids.map(({ tid }) => tid) });
});

test('are all the blocks where no index leads to dead rows', async () => {
  await fill('id % 1000 = 0');
  await database.sql('drop index tokens_id_idx');

  expect(await piecesFor(session)).toEqual([await allBlocks()]);
});

test('are none where the index says that no row is dead', async () => {
  await fill('id > 9990');

  expect(await piecesFor(session)).toEqual([{ relation, from: 0, to: 0, tids: [] }]);
});

async function allBlocks() {
  const [blocks = 0] = await database.column<number>(`select (pg_relation_size('tokens') / 8192)::int`);
  return { relation, from: 0, to: blocks * 2_048 };
}

/** A session on which what matches takes a second longer. */
function slowAt(pattern: string): Queryable {
  return {
    reconnections: 0,
    query: (text, values, limits) => session.query(text.replace(pattern, `pg_sleep(1), ${pattern}`), values, limits),
  };
}

test.each<[string, string, () => Queryable]>([
  ['there are more dead rows than blocks', 'id % 10 = 0', () => session],
  ['the index does not lead to them in time', 'id % 1000 = 0', () => slowAt('string_agg')],
])('are all the blocks where %s', async (_, revoked, on) => {
  await fill(revoked);

  expect(await piecesFor(on())).toEqual([await allBlocks()]);
});
