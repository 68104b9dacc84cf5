import type { ConnectionOptions } from '../../lambda/database/session';
import { dropDeadPartitions } from '../../lambda/erasure/partitions';
import { useDatabase } from '../support/database';
import { documentedSql } from '../support/readme';

const database = useDatabase({ wal_level: 'logical' });
const { signal } = new AbortController();
let cleaner: ConnectionOptions;

/** Runs the SQL, and creates the role and the function of the owner by which it may drop partitions. */
async function create(sql: string): Promise<void> {
  await database.sql(sql);
  cleaner = await database.createRole('token_cleanup');
  await database.sql(documentedSql('drop-partition'));
}

/** Three partitions of sessions: dead, half dead, and the default one. */
async function createSessions(type = 'timestamptz'): Promise<void> {
  await create(`
    create table sessions (id int not null, expires_at ${type} not null) partition by range (expires_at);
    create table sessions_dead partition of sessions for values from ('2020-01-01') to ('2020-02-01');
    create table sessions_open partition of sessions for values from ('2020-02-01') to (maxvalue);
    create table sessions_rest partition of sessions default;
    insert into sessions
    values (1, '2020-01-15'), (2, '2020-01-31 23:00'), (3, '2020-02-01'), (4, '2100-01-01'), (5, '2019-12-31');
    analyze sessions`);
}

async function drop(deadBefore = '2020-03-01T00:00:00Z', column = 'expires_at') {
  const session = database.session(cleaner);
  try {
    const target = { oid: await database.oid('sessions'), schema: 'public', column, deadBefore: new Date(deadBefore) };
    return await dropDeadPartitions(session, target, signal);
  } finally {
    await session.close();
  }
}

const ALL_STAY = [1, 2, 3, 4, 5];
const remaining = () => database.column<number>('select id from sessions');

test.each(['timestamptz', 'timestamp', 'date'])(
  'drops the partition whose %s bound proves that all is dead',
  async (type) => {
    await createSessions(type);
    await expect(drop()).resolves.toEqual([
      { oid: expect.any(Number), partition: 'public.sessions_dead', estimatedRows: 2 },
    ]);
    await expect(remaining()).resolves.toEqual([3, 4, 5]);
  },
);

test('keeps a partition whose bound lies behind the last moment that is dead', async () => {
  await createSessions();
  await expect(drop('2020-01-31T23:59:59.999Z')).resolves.toEqual([]);
  await expect(remaining()).resolves.toEqual(ALL_STAY);
});

test('keeps all partitions if the rule is of another column', async () => {
  await createSessions();
  await expect(drop(undefined, 'id')).resolves.toEqual([]);
});

test.each([
  [
    'a foreign key points to it or leaves it',
    'create table devices (session int, at timestamptz, foreign key (session, at) references sessions_dead (id, expires_at))',
    'alter table sessions_dead add unique (id, expires_at)',
  ],
  ['it is published, and a drop sends no deletes to subscribers', 'create publication everything for all tables', ''],
  [
    'a trigger would not fire',
    'create trigger audit after delete on sessions for each row execute function audit()',
    'create function audit() returns trigger language plpgsql as $$ begin return null; end $$',
  ],
  ['row security or a rule would not be applied', 'alter table sessions enable row level security', ''],
])('keeps a partition if %s', async (reason, statement, before) => {
  await createSessions();
  await database.sql(before || 'select');
  await database.sql(statement);
  await expect(drop()).resolves.toMatchObject([{ partition: 'public.sessions_dead', refusal: reason }]);
  await database.sql('drop publication if exists everything');
  await expect(remaining()).resolves.toEqual(ALL_STAY);
});

test('keeps a partition while a transaction of the service holds a lock on the table, and waits only a moment', async () => {
  await createSessions();
  const service = await database.connect();
  await service.query('begin; select from sessions where id = 4');
  await expect(drop()).resolves.toMatchObject([{ partition: 'public.sessions_dead', refusal: 'the table was locked' }]);
  await service.query('commit');
  await expect(remaining()).resolves.toEqual(ALL_STAY);
});

test('keeps a partition of a partition if the table on top is published as a whole', async () => {
  await createSessions();
  await database.sql('create table every (id int not null, expires_at timestamptz not null) partition by hash (id)');
  await database.sql('alter table every attach partition sessions for values with (modulus 1, remainder 0)');
  await database.sql('create publication everything for table every with (publish_via_partition_root)');
  await expect(drop()).resolves.toMatchObject([
    { refusal: 'it is published, and a drop sends no deletes to subscribers' },
  ]);
  await database.sql('drop publication everything');
  await expect(remaining()).resolves.toEqual(ALL_STAY);
});

test.each([
  ['list (id)', 'in (1, 2)'],
  ['hash (expires_at)', 'with (modulus 1, remainder 0)'],
  ["range (date_trunc('day', expires_at at time zone 'UTC'))", `from (minvalue) to ('2020-02-01')`],
  ['range (expires_at, id)', `from (minvalue, minvalue) to ('2020-02-01', 0)`],
  ['range (id)', 'from (0) to (10)'],
])('does not touch a table that is partitioned by %s', async (by, bound) => {
  await create(`
    create table sessions (id int, expires_at timestamptz) partition by ${by};
    create table sessions_dead partition of sessions for values ${bound};
    insert into sessions values (1, '2020-01-15'), (2, '2020-01-16')`);
  await expect(drop()).resolves.toEqual([]);
  await expect(
    database.column(`select public.token_cleanup_drop_partition('sessions_dead'::regclass, 'infinity')`),
  ).resolves.toEqual(['its bound does not prove that every row is dead']);
  await expect(remaining()).resolves.toEqual([1, 2]);
});

test.each([
  ['infinity', `('2020-01-01') to ('infinity')`],
  ['maxvalue', `('2020-01-01') to (maxvalue)`],
  ['a time in another time zone', `('2020-01-01') to ('2020-02-29 23:00-12:00')`],
])('keeps a partition up to %s', async (_, bound) => {
  await create(`
    create table sessions (id int, expires_at timestamptz) partition by range (expires_at);
    create table sessions_open partition of sessions for values from ${bound};
    insert into sessions values (1, '2020-01-15')`);
  await expect(drop()).resolves.toEqual([]);
  await expect(remaining()).resolves.toEqual([1]);
});

test('keeps a partition that is being detached, whose rows belong to the table no more', async () => {
  await createSessions();
  await database.sql('drop table sessions_rest');
  const reader = await database.connect();
  await reader.query('begin; select from sessions');
  const owner = await database.connect();
  const detached = owner.query('alter table sessions detach partition sessions_dead concurrently').catch(() => {});
  await database.until('select bool_or(inhdetachpending) from pg_inherits');
  await expect(drop()).resolves.toEqual([]);
  await reader.query('commit');
  await detached;
  await expect(database.column<number>('select id from sessions_dead')).resolves.toEqual([1, 2]);
});

describe('the function of the owner', () => {
  const call = async (partition: string, deadBefore: string) => {
    const session = database.session(cleaner);
    try {
      const text = `select public.token_cleanup_drop_partition('public.${partition}'::regclass, $1) as refusal`;
      return (await session.query<{ refusal: string | null }>(text, [deadBefore])).rows[0]?.refusal;
    } finally {
      await session.close();
    }
  };

  test('drops no live partition, whatever its caller claims', async () => {
    await createSessions();
    await expect(call('sessions_open', 'infinity')).resolves.toBe('its bound does not prove that every row is dead');
    await expect(call('sessions_rest', 'infinity')).resolves.toBe('its bound does not prove that every row is dead');
    await expect(remaining()).resolves.toEqual(ALL_STAY);
  });

  test('drops no other table', async () => {
    await createSessions();
    await database.sql('create table users (id int)');
    await expect(call('users', 'infinity')).resolves.toBe('it is no partition of a table that this function may touch');
  });

  test('cannot be called by any other role', async () => {
    await createSessions();
    const session = database.session(await database.createRole('stranger'));
    await expect(
      session.query(`select public.token_cleanup_drop_partition('public.sessions_dead'::regclass, 'infinity')`),
    ).rejects.toThrow('permission denied for function');
    await session.close();
  });
});
