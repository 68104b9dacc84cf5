import type { Queryable } from '../database/queryable';
import { WITHOUT_ZONE } from '../engine/conditions/column-tests';
import { quoteIdentifier } from '../engine/conditions/sql';
import type { Table } from '../engine/purge';
import { agesOf, type ValuesOfAge } from './age-values';

/**
 * Finds times that may not mean what the rules take them for: values that often stand for "never", numbers as dates, and
 * timestamps without time zone in a database that has one. Read only.
 */
export class Surprises {
  /** The same for all tables, so that it is read once. */
  #zones: Promise<readonly string[]> | undefined;

  /** @param ages none if not all rows were counted */
  async of(table: Table, ages: readonly ValuesOfAge[]): Promise<string[]> {
    const zones = testsLocalTime(table) ? await this.#zonesBesideUtc(table.options.sessions[0]) : [];
    return [
      ...zones.map(
        (zone) => `${zone}, and timestamps without time zone are taken for UTC: if they are not, set "timeZone"`,
      ),
      ...ages.flatMap(surprisesOf),
    ].map((surprise) => `${table.target.name}: ${surprise}`);
  }

  #zonesBesideUtc(session: Queryable): Promise<readonly string[]> {
    this.#zones ??= zonesBesideUtc(session);
    return this.#zones;
  }
}

/** Whether an age tests a time without time zone, and the target has none. */
function testsLocalTime({ target, inspected }: Table): boolean {
  return (
    target.timeZone === undefined &&
    agesOf(target).some(({ column }) => inspected.columnTypes.get(column)?.name === WITHOUT_ZONE)
  );
}

function surprisesOf({ column, test, odd, oldest, youngest }: ValuesOfAge): string[] {
  const name = quoteIdentifier(column);
  return [
    ...(odd > 0
      ? [
          `${odd} rows to delete have ${name} in 1970-01-01, 2000-01-01, or the year 1 or earlier, which often stand for "never"`,
        ]
      : []),
    ...(test.epoch && oldest && youngest
      ? [`${name} of the rows to delete ranges from ${oldest.slice(0, 10)} to ${youngest.slice(0, 10)}`]
      : []),
  ];
}

/** The time zones of the database and of its roles, as sentences, that are not UTC. */
async function zonesBesideUtc(session: Queryable): Promise<string[]> {
  const { rows } = await session.query<{ owner: string; zone: string }>(ZONES_SQL);
  return rows.map(({ owner, zone }) => `the time zone of ${owner} is ${zone}`);
}

// The session itself is set to UTC; its value at the start is that of the role, of the database or of the server.
const ZONES_SQL = `
  with zone as (
    select 'a new session' as owner, reset_val as zone from pg_settings where name = 'TimeZone'
    union
    select
      case when setrole = 0 then 'the database' else format('the role %I', setrole::regrole) end,
      split_part(setting, '=', 2)
    from pg_db_role_setting, unnest(setconfig) as setting
    where setting ilike 'timezone=%'
      and setdatabase in (0, (select oid from pg_database where datname = current_database()))
  )
  select owner, zone from zone
  where zone !~* '^(etc/)?(utc|gmt|uct|zulu|universal|greenwich)$'
  order by owner`;
