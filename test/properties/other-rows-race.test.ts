import { systemClock } from '../../lambda/clock';
import type { TargetsInput } from '../../lambda/configuration/targets';
import type { Queryable } from '../../lambda/database/queryable';
import type { Session } from '../../lambda/database/session';
import { conditionOf } from '../../lambda/engine/conditions/condition';
import { Pace } from '../../lambda/engine/pace/pace';
import { Turns } from '../../lambda/engine/pace/turns';
import { Sweep } from '../../lambda/engine/sweep';
import { useDatabase } from '../support/database';
import { inspectFirst } from '../support/inspected';

/** Rules that look at other rows, while these change under a DELETE that waits for a lock. */

const database = useDatabase();

/** Parents with even ids are dead. */
const tables = (onDelete: string) => `
  create table parents (id int primary key, dies_at timestamptz, note text);
  create table children (
    id int primary key, revoked boolean not null default false, note text,
    parent_id int constraint child_parent references parents on delete ${onDelete}
  );
  create index on children (parent_id);
  insert into parents select id, now() + (id % 2 - 0.5) * interval '2 days' from generate_series(1, 6) as id;`;

const CHILDREN = 'insert into children (id, parent_id) select 10 * id, id from parents order by id;';

const DEAD = { dies_at: { olderThan: '0s' } } as const;

async function ids(table: string): Promise<number[]> {
  const rows = await database.sql<{ id: number }>(`select id from ${table} order by id`);
  return rows.map(({ id }) => id);
}

/** Deletes the dead rows of a target with a DELETE that waits for a lock as long as it takes. */
async function sweepPatiently(session: Session, input: TargetsInput) {
  const { target, inspected } = await inspectFirst(session, input);
  const patient: Queryable = {
    get reconnections() {
      return session.reconnections;
    },
    query: (text, values, limits, check) =>
      session.query(text, values, { ...limits, statementTimeoutMs: 30_000, lockTimeoutMs: 20_000 }, check),
  };
  const { rows } = await session.query<{ now: Date }>('select now() as now');
  const { signal } = new AbortController();
  const sweep = new Sweep({
    sessions: [patient],
    root: inspected.root,
    relations: inspected.relations,
    keys: inspected.referringKeys,
    isInherited: false,
    startAt: 0,
    condition: conditionOf(target, rows[0]?.now ?? new Date(), inspected),
    turns: new Turns({ pace: new Pace(1), clock: systemClock, look: async () => undefined }),
    clock: systemClock,
    stopDeleting: signal,
    stopCounting: signal,
  });
  await sweep.run();
  return sweep.outcome;
}

/** What another session does before the DELETE begins, and while it waits. */
interface Race {
  readonly before: string;
  readonly meanwhile?: string;
  /** A further session, which is done before the first one ends. */
  readonly beside?: string;
  readonly end?: 'commit' | 'rollback';
}

async function race(targets: TargetsInput, { before, meanwhile = 'select', beside, end = 'commit' }: Race) {
  const service = await database.connect();
  await service.query(`begin; ${before}`);
  const session = database.session();
  try {
    const swept = sweepPatiently(session, targets);
    await database.untilSweepWaits();
    if (beside) {
      await database.sql(beside);
    }
    await service.query(`${meanwhile}; ${end}`);
    return await swept;
  } finally {
    await session.close();
  }
}

const revived = (...parents: number[]) =>
  `update parents set dies_at = now() + interval '1 day' where id in (${parents})`;
const locked = (table: string, ...rows: number[]) => `select from ${table} where id in (${rows}) for update`;

describe('refersTo', () => {
  const CHILDREN_OF_DEAD: TargetsInput = [{ table: 'children', deleteWhen: [{ parent_id: { refersTo: DEAD } }] }];

  test.each<[string, Race, readonly number[]]>([
    [
      'keeps a row whose parent comes back to life while only the row is locked',
      { before: locked('children', 40), meanwhile: revived(4) },
      [10, 30, 40, 50],
    ],
    [
      'keeps rows that nobody locked whose parents come back to life meanwhile',
      { before: locked('children', 20), beside: 'update parents set dies_at = null where id in (4, 6)' },
      [10, 30, 40, 50, 60],
    ],
    [
      'keeps a row that is changed along with its parent',
      { before: `update children set note = 'used' where id = 40`, meanwhile: revived(4) },
      [10, 30, 40, 50],
    ],
    [
      'keeps a row that is given to a live parent',
      { before: 'update children set parent_id = 3 where id = 40' },
      [10, 30, 40, 50],
    ],
    [
      'keeps a row that is given to a parent that comes back to life',
      { before: 'update children set parent_id = 2 where id = 40', meanwhile: revived(2) },
      [10, 20, 30, 40, 50],
    ],
    [
      'keeps a row that no longer has a parent',
      { before: 'update children set parent_id = null where id = 40', meanwhile: 'delete from parents where id = 4' },
      [10, 30, 40, 50],
    ],
    [
      'deletes a row that is given to another dead parent',
      { before: 'update children set parent_id = 2 where id = 40' },
      [10, 30, 50],
    ],
    [
      'deletes a row whose parent changes and stays dead',
      { before: locked('children', 40), meanwhile: `update parents set note = 'seen' where id = 4` },
      [10, 30, 50],
    ],
    [
      'deletes a row whose parent came back to life in a transaction that failed',
      { before: locked('children', 40), meanwhile: revived(4), end: 'rollback' },
      [10, 30, 50],
    ],
  ])('%s', async (_, steps, survivors) => {
    await database.sql(tables('no action') + CHILDREN);

    const outcome = await race(CHILDREN_OF_DEAD, steps);

    expect(outcome).toMatchObject({ stopReason: 'drained', rowsRemaining: 0, rowsDeleted: 6 - survivors.length });
    expect(await ids('children')).toEqual(survivors);
  });

  test('deletes a row by another rule, though its parent comes back to life', async () => {
    await database.sql(`${tables('no action')} ${CHILDREN} update children set revoked = true where id in (30, 40)`);

    const outcome = await race(
      [{ table: 'children', deleteWhen: [{ parent_id: { refersTo: DEAD } }, { revoked: true }] }],
      { before: locked('children', 40, 60), meanwhile: revived(4, 6) },
    );

    expect(outcome).toMatchObject({ stopReason: 'drained', rowsDeleted: 3 });
    expect(await ids('children')).toEqual([10, 50, 60]);
  });
});

describe.each([
  'cascade',
  'set null',
  'set default',
  'no action',
  'restrict',
  'no action deferrable initially deferred',
])('unlessReferredToBy, on delete %s', (onDelete) => {
  const CHILDLESS: TargetsInput = [{ table: 'parents', deleteWhen: [DEAD], unlessReferredToBy: ['children'] }];
  const REFER_TO_4 =
    'select from parents where id = 4 for key share; insert into children (id, parent_id) values (1, 4)';

  test.each<[string, Race, readonly number[]]>([
    ['keeps a row that is referred to while it is waited for', { before: REFER_TO_4 }, [1, 3, 4, 5]],
    [
      'keeps a row that is referred to after the DELETE has begun',
      { before: locked('parents', 2), beside: 'insert into children (id, parent_id) values (1, 6)' },
      [1, 3, 5, 6],
    ],
    [
      'keeps a row that another row is given to',
      {
        before: locked('parents', 2),
        beside: 'insert into children (id, parent_id) values (1, 3); update children set parent_id = 4 where id = 1',
      },
      [1, 3, 4, 5],
    ],
    ['keeps a row that comes back to life', { before: revived(4) }, [1, 3, 4, 5]],
    [
      'deletes a row that was to be referred to in a transaction that failed',
      { before: REFER_TO_4, end: 'rollback' },
      [1, 3, 5],
    ],
    [
      'deletes a row that changes and stays dead',
      { before: `update parents set note = 'seen' where id = 4` },
      [1, 3, 5],
    ],
  ])('%s', async (_, steps, survivors) => {
    await database.sql(tables(onDelete));
    await database.sql('insert into children (id, parent_id) values (100, null)');

    const outcome = await race(CHILDLESS, steps);

    expect(outcome).toMatchObject({ rowsDeleted: 6 - survivors.length });
    expect(await ids('parents')).toEqual(survivors);
    const children = await database.sql('select id, parent_id from children order by id');
    const given = survivors.find(
      (id) => id % 2 === 0 && /insert/.test(steps.before + steps.beside) && steps.end !== 'rollback',
    );
    expect(children).toEqual([...(given ? [{ id: 1, parent_id: given }] : []), { id: 100, parent_id: null }]);
  });
});
