import type { ColumnTypes } from '../conditions/column-tests';
import type { DeadRows } from '../conditions/condition';
import type { Relation } from '../conditions/relation';
import { quoteIdentifier } from '../conditions/sql';
import { type AgeTest, isAge, type Target } from '../configuration/targets';
import { kindOf } from '../database/database-error';
import type { Limits, Queryable } from '../database/queryable';

export interface SurpriseOptions {
  readonly target: Target;
  readonly condition: DeadRows;
  readonly columnTypes: ColumnTypes;
  readonly relations: readonly Relation[];
}

// Policies of the table may rely on the role's search_path.
const LIMITS: Limits = { statementTimeoutMs: 5_000, lockTimeoutMs: 1_000, ownSearchPath: true };

/**
 * Finds times that may not mean what the rules take them for: values that often stand for "never", numbers as dates, and
 * timestamps without time zone in a database that has one. Read only. Values that take long to find are left out.
 */
export async function findSurprises(session: Queryable, options: SurpriseOptions): Promise<string[]> {
  const { target, columnTypes } = options;
  const ages = agesOf(target);
  const surprises: string[] = [];
  if (target.timeZone === undefined && ages.some(({ column }) => columnTypes.get(column)?.name === WITHOUT_ZONE)) {
    surprises.push(
      ...(await zonesBesideUtc(session)).map(
        (zone) =>
          `${zone}, and timestamps without time zone are taken for UTC: if they are not, say so with "timeZone"`,
      ),
    );
  }
  const extremes = await readExtremes(session, options, ages);
  ages.forEach(({ column, test }, index) => {
    const found = extremes[index];
    const name = quoteIdentifier(column);
    if (found && found.odd > 0) {
      surprises.push(
        `${found.odd} rows would go whose ${name} is in 1970-01-01, 2000-01-01, or the year 1 or before, which often stand for "never"`,
      );
    }
    if (found?.least && found.greatest && test.epoch) {
      surprises.push(
        `${name} of the rows that would go is from ${dateOf(found.least, test)} to ${dateOf(found.greatest, test)}`,
      );
    }
  });
  return surprises.map((surprise) => `${target.name}: ${surprise}`);
}

const WITHOUT_ZONE = 'timestamp without time zone';

interface Age {
  readonly rule: number;
  readonly column: string;
  readonly test: AgeTest;
}

function agesOf({ deleteWhen }: Target): Age[] {
  return deleteWhen.flatMap((tests, rule) =>
    Object.entries(tests).flatMap(([column, test]) => (isAge(test) ? [{ rule, column, test }] : [])),
  );
}

/** The values of a column in the rows that meet a rule. */
interface Extremes {
  readonly odd: number;
  readonly least: string | null;
  readonly greatest: string | null;
}

async function readExtremes(
  session: Queryable,
  { condition, relations }: SurpriseOptions,
  ages: readonly Age[],
): Promise<readonly Extremes[]> {
  if (ages.length === 0) {
    return [];
  }
  const columns = ages.map(({ rule, column, test }, index) => {
    const name = quoteIdentifier(column);
    const met = condition.rules[rule]?.text ?? 'false';
    const odd = test.epoch ? 'false' : ODD(name);
    return `
      (pg_catalog.count(*) filter (where ${met} and ${odd}))::pg_catalog.float8 as odd_${index},
      (pg_catalog.min(${name}) filter (where ${met}))::pg_catalog.text as least_${index},
      (pg_catalog.max(${name}) filter (where ${met}))::pg_catalog.text as greatest_${index}`;
  });
  const seen: Extremes[] = ages.map(() => ({ odd: 0, least: null, greatest: null }));
  for (const { quotedName } of relations) {
    try {
      const { rows } = await session.query<Record<string, unknown>>(
        `select ${columns.join(',')} from only ${quotedName} where ${condition.text}`,
        condition.values,
        LIMITS,
      );
      seen.forEach(({ odd, least, greatest }, index) => {
        const part = rows[0] ?? {};
        seen[index] = {
          odd: odd + Number(part[`odd_${index}`] ?? 0),
          least: extreme(least, part[`least_${index}`], Math.min),
          greatest: extreme(greatest, part[`greatest_${index}`], Math.max),
        };
      });
    } catch (error) {
      const kind = kindOf(error);
      if (kind !== 'slow' && kind !== 'locked') {
        throw error;
      }
      return [];
    }
  }
  return seen;
}

/** Of numbers; times are only counted. */
function extreme(known: string | null, next: unknown, choose: (a: number, b: number) => number): string | null {
  if (typeof next !== 'string') {
    return known;
  }
  return known === null ? next : String(choose(Number(known), Number(next)));
}

const ODD = (name: string) =>
  `(${name} operator(pg_catalog.<) '0002-01-01' or ${name} operator(pg_catalog.=) '1970-01-01' ` +
  `or ${name} operator(pg_catalog.=) '2000-01-01')`;

function dateOf(value: string, { epoch }: AgeTest): string {
  return new Date(Number(value) * (epoch === 's' ? 1_000 : 1)).toISOString().slice(0, 10);
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
