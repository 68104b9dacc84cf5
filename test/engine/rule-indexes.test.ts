import { parseTargets, type TargetsInput } from '../../lambda/configuration/targets';
import { conditionOf } from '../../lambda/engine/conditions/condition';
import { inspect, PreflightError } from '../../lambda/engine/preflight/preflight';
import { useDatabase } from '../support/database';

const database = useDatabase();

type Element = Exclude<TargetsInput[number], { preset: string }>;

/** The plan of the statement by which a sweep finds few dead rows. */
async function planOf(element: Element): Promise<string> {
  const [target] = parseTargets([element]);
  const session = database.session();
  try {
    if (!target) {
      throw new Error('a target is missing');
    }
    const found = await inspect(session, { configured: [target], requested: [target], needs: 'delete' });
    const inspected = found.get(target);
    if (!inspected || inspected instanceof PreflightError) {
      throw inspected ?? new Error('nothing was inspected');
    }
    const { text, values } = conditionOf(target, new Date(), inspected);
    const { rows } = await session.query<Record<string, string>>(
      `explain select ctid from only public.tokens where ${text}`,
      values,
    );
    return rows.map((row) => Object.values(row)[0]).join('\n');
  } finally {
    await session.close();
  }
}

test.each<[string, string, Element['deleteWhen']]>([
  ['epoch on an integer', 'seconds', [{ seconds: { olderThan: '0s', epoch: 's' } }]],
  ['epoch on a bigint', 'ms', [{ ms: { olderThan: '0s', epoch: 'ms' } }]],
  ['epoch on a numeric', 'exact', [{ exact: { olderThan: '0s', epoch: 's' } }]],
  ['values of a text', 'status', [{ status: { in: ['revoked', 'used'] } }]],
  ['values of a varchar', 'short', [{ short: { in: ['revoked'] } }]],
  ['values of an enum', 'state', [{ state: { in: ['revoked'] } }]],
  ['values of an integer', 'number', [{ number: { in: [6] } }]],
  ['a date', 'day', [{ day: { olderThan: '0s' } }]],
  ['a timestamp of a zone', 'local_at', [{ local_at: { olderThan: '0s' } }]],
  ['a lifetime', 'at', [{ at: { olderThan: '0s', plusSeconds: 'number' } }]],
])('uses the index for %s', async (_, column, deleteWhen) => {
  await database.sql(`
    create type state as enum ('active', 'revoked');
    create table tokens (
      seconds int, ms bigint, exact numeric, status text, short varchar(20), state state, number smallint, day date,
      local_at timestamp, at timestamptz, filler text default repeat('x', 100)
    );
    insert into tokens
    select s, s * 1000::bigint, s, case when n = 1 then 'revoked' else 'active' end, case when n = 1 then 'revoked' else 'active' end,
      (case when n = 1 then 'revoked' else 'active' end)::state, case when n = 1 then 6 else 1 end, to_timestamp(s)::date,
      to_timestamp(s) at time zone 'UTC', to_timestamp(s)
    from generate_series(1, 20000) as n,
      lateral (select (extract(epoch from now()) + case when n < 5 then -300000 else 300000 end)::int as s) as moment;
    create index sought on tokens (${column});
    analyze tokens`);

  const plan = await planOf({ table: 'tokens', deleteWhen, timeZone: 'Europe/Berlin' });

  expect(plan).toMatch(/Index.* Scan (using|on) sought/);
  expect(plan).not.toContain('Seq Scan');
});
