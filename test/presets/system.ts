import { presets } from '../../lambda/configuration/presets';
import type { TargetsInput } from '../../lambda/configuration/targets';
import { discover } from '../../lambda/dry-run/discovery';
import type { TestDatabase } from '../support/database';

/** A system as its own migrations and its own cleaner have it. */
export interface System {
  /** The settings beside the name of the preset in the target. */
  readonly given?: Readonly<Record<string, unknown>>;
  /** The tables, with the types, keys and capitals of the system's migrations. Columns that no rule reads may be left out. */
  readonly tables: string;
  /** Rows of every state, both sides of each boundary among them. */
  readonly rows: string;
  /** The system's own cleaner, as SQL. */
  readonly cleaner: string;
}

/** A boundary is ten minutes from the nearest row, so that a crowded machine moves no row across it. */
export const ROW_SOURCES = `
  create schema fixture;
  create function fixture.moments(age interval) returns setof timestamptz language sql as $$
    select now() - age + distance from unnest('{-100 days, -10 minutes, 10 minutes, 5 days}'::interval[]) as distance $$;
  create function fixture.moments_or_null(age interval) returns setof timestamptz language sql as $$
    select fixture.moments(age) union all select null $$;
  create function fixture.utc(age interval) returns setof timestamp language sql as $$
    select at at time zone 'UTC' from fixture.moments(age) as at $$;
  create function fixture.seconds(age interval) returns setof bigint language sql as $$
    select extract(epoch from moment)::bigint from fixture.moments(age) as moment $$;
  create function fixture.milliseconds(age interval) returns setof bigint language sql as $$
    select (extract(epoch from moment) * 1000)::bigint from fixture.moments(age) as moment $$;
  -- At least two hours from the boundary: when the clock is set back, an hour of the zone repeats.
  create function fixture.local_times(age interval, zone text) returns setof timestamp language sql as $$
    select (now() - age + distance) at time zone zone
    from unnest('{-100 days, -2 hours, 2 hours, 5 days}'::interval[]) as distance $$;
  create function fixture.now_ms() returns bigint language sql as $$ select (extract(epoch from now()) * 1000)::bigint $$;
  create function fixture.now_s() returns bigint language sql as $$ select extract(epoch from now())::bigint $$;`;

/** Runs a preset on the tables of its system, and checks that the rows go that the system's own cleaner deletes. */
export function cleansLikeTheSystem(database: TestDatabase, preset: string, system: System): void {
  test(`${preset} deletes what its own cleaner deletes, nothing else, and no row is in the way`, async () => {
    await database.sql(ROW_SOURCES);
    await database.sql(system.tables);
    await database.sql(system.rows);
    const before = await contents(database);
    await expectRecognized(database, preset);
    await database.sql('begin');
    await database.sql(system.cleaner);
    const cleaned = await contents(database);
    await database.sql('rollback');

    const report = await database.service({ targets: [{ preset, ...system.given }] as TargetsInput }).run();

    expect(report.targets).toEqual(
      report.targets.map(({ table }) =>
        expect.objectContaining({ table, status: 'succeeded', stopReason: 'drained', rowsRemaining: 0 }),
      ),
    );
    expect(report.targets.flatMap(({ blockedBy = [] }) => blockedBy)).toEqual([]);
    expect(await contents(database)).toEqual(cleaned);
    // Otherwise the rows above prove nothing.
    for (const { table } of report.targets) {
      const name = [...before.keys()].find((known) => known.endsWith(`.${table.split('.').at(-1)}`)) ?? table;
      const [rows = 0, kept = 0] = [before.get(name)?.length, cleaned.get(name)?.length];
      expect({ name, deletes: rows > kept, keeps: kept > 0 }).toEqual({ name, deletes: true, keeps: true });
    }
  });
}

/** Checks that the discovery takes the tables for those of this system and of no other. */
async function expectRecognized(database: TestDatabase, name: string): Promise<void> {
  const session = database.session();
  const { found } = await discover(session).finally(() => session.close());
  const known = found.filter(({ system }) => system !== undefined);
  const existing = await database.column<string>(`select relname from pg_class where relkind = 'r'`);
  const tables = presets[name]?.tables.map(({ table }) => table).filter((table) => existing.includes(table));
  expect(known.map(({ target }) => target)).toEqual([expect.objectContaining({ preset: name })]);
  expect(known[0]?.tables.map(({ table }) => table)).toEqual(tables);
  expect(known[0]?.tables.flatMap(({ problem }) => problem ?? [])).toEqual([]);
}

/** The rows of every table as text, sorted, by the table's name. */
async function contents(database: TestDatabase): Promise<Map<string, readonly string[]>> {
  const tables = await database.sql<{ name: string; quoted: string }>(`
    select nspname || '.' || relname as name, format('%I.%I', nspname, relname) as quoted
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where relkind = 'r' and relpersistence = 'p' and nspname not in ('pg_catalog', 'information_schema')
    order by 1`);
  const found = new Map<string, readonly string[]>();
  for (const { name, quoted } of tables) {
    found.set(name, await database.column<string>(`select row_to_json(each)::text from ${quoted} as each`));
  }
  return found;
}
