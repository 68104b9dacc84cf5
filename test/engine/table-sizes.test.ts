import { readSizes, type Sized } from '../../lambda/engine/table-sizes';
import { useDatabase } from '../support/database';

const database = useDatabase();

test('knows the sizes of all tables but the one that is locked as a whole', async () => {
  await database.sql(`
    create table empty (id int);
    create table locked as select repeat('x', 5000) from generate_series(1, 50);
    create table small (id text);
    alter table small alter id set storage plain;
    create table large (like small including all);
    insert into small select repeat('x', 5000) from generate_series(1, 10);
    insert into large select repeat('x', 5000) from generate_series(1, 29)`);
  const names = ['empty', 'locked', 'small', 'large'];
  const session = database.session();
  const tables: Sized[] = [];
  for (const name of names) {
    const relation = { oid: await database.oid(name), quotedName: `"public"."${name}"` };
    tables.push({ options: { sessions: [session], root: relation, relations: [relation] } });
  }
  const migration = await database.connect();
  await migration.query('begin; lock table locked');

  const sizes = await readSizes(tables);

  expect(tables.map((table) => sizes.isEmpty(table))).toEqual([true, false, false, false]);
  // The locked one counts as a block, beside 10 and 29.
  expect(sizes.takeShare(tables.at(-1) as Sized)).toBe(29 / 40);
  await migration.query('rollback');
  await session.close();
});
