import { systemClock } from '../../lambda/clock';
import type { Queryable } from '../../lambda/database/queryable';
import type { Session } from '../../lambda/database/session';
import type { Relation } from '../../lambda/engine/conditions/relation';
import { BlockRange, halvesOf, type Piece, RowList } from '../../lambda/engine/pieces';
import { wholeTable } from '../../lambda/engine/whole-table';
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
  relation = { oid: await database.oid('tokens'), quotedName: 'tokens' };
}

async function piecesFor(on: Queryable): Promise<readonly Piece[]> {
  const condition = { text: 'revoked and id <= $1', values: [9_000] };
  const stopCounting = new AbortController().signal;
  const options = { sessions: [on] as const, relations: [relation], condition, clock: systemClock, stopCounting };
  return (await wholeTable(options)).pieces;
}

/** What the SQL of a piece is bound to. */
function placesIn(piece: Piece | undefined): readonly unknown[] | undefined {
  return piece?.place('', 1).values;
}

test('are the dead rows, in the order of the table, if an index leads to them', async () => {
  await fill('id % 1000 = 0');

  const [piece, ...more] = await piecesFor(session);

  expect(more).toEqual([]);
  const tids = await database.sql<{ tid: string }>(
    'select ctid::text as tid from tokens where revoked and id <= 9000 order by ctid',
  );
  expect(tids).toHaveLength(9);
  expect(piece).toBeInstanceOf(RowList);
  expect(placesIn(piece)).toEqual([tids.map(({ tid }) => tid)]);
});

test('are none if an index shows that no row is dead', async () => {
  await fill('id > 9990');

  expect((await piecesFor(session)).map(placesIn)).toEqual([[[]]]);
});

async function expectAllBlocks([piece, ...more]: readonly Piece[]): Promise<void> {
  const [blocks = 0] = await database.column<number>(`select (pg_relation_size('tokens') / 8192)::int`);
  expect(piece).toBeInstanceOf(BlockRange);
  expect(placesIn(piece)).toEqual(['(0,0)', `(${blocks},0)`]);
  expect(more).toEqual([]);
}

/** A session on which what matches takes a second longer. */
function slowAt(pattern: string): Queryable {
  return {
    reconnections: 0,
    query: (text, values, limits) => session.query(text.replace(pattern, `pg_sleep(1), ${pattern}`), values, limits),
  };
}

test.each<[string, string, () => Queryable, string]>([
  ['no index leads to the dead rows', 'id % 1000 = 0', () => session, 'drop index tokens_id_idx'],
  ['there are more dead rows than blocks', 'id % 10 = 0', () => session, ''],
  ['the index does not lead to them in time', 'id % 1000 = 0', () => slowAt('string_agg'), ''],
])('are all the blocks where %s', async (_, revoked, on, sql) => {
  await fill(revoked);
  await database.sql(sql);

  await expectAllBlocks(await piecesFor(on()));
});

test.each<[string, Piece]>([
  ['a range of blocks', new BlockRange({ oid: 1, quotedName: 't' }, 3, 10)],
  ['a list of rows', new RowList({ oid: 1, quotedName: 't' }, ['(0,1)', '(0,9)', '(4,1)', '(7,2)', '(7,3)'])],
])('%s is halved down to single rows, none of which is lost', (_, whole) => {
  const rows = (piece: Piece): Piece[] => (piece.isRow ? [piece] : halvesOf(piece).flatMap(rows));

  const found = rows(whole);

  expect(found.reduce((sum, { blocks }) => sum + blocks, 0)).toBe(whole.blocks);
  const places = found.flatMap((row) => placesIn(row)?.flat());
  expect(new Set(places).size).toBe(whole instanceof RowList ? found.length : found.length + 1);
});
