import type { Limits, Queryable } from '../../database/queryable';

/** Autovacuum starts at its threshold. At this multiple of the threshold, it does not keep up. */
const PILING_UP = 2;

/**
 * Whether a table has far more dead tuples than autovacuum should leave. Always false if autovacuum is off for the table,
 * since waiting would change nothing. A dead tuple is a row version that waits for vacuum, such as that of a deleted row.
 */
export async function deadTuplesPileUp(session: Queryable, oid: number, limits: Limits): Promise<boolean> {
  const { rows } = await session.query<TableStatistics>(STATISTICS_SQL, [oid], limits);
  const [table] = rows;
  if (!table) {
    return false;
  }
  const options = new Map((table.options ?? []).map((option) => option.split('=', 2) as [string, string]));
  const setting = (name: 'threshold' | 'scale_factor' | 'max_threshold') => {
    const text = options.get(`autovacuum_vacuum_${name}`) ?? table[name];
    return text === null ? -1 : Number(text);
  };
  const most = setting('max_threshold');
  const computed = setting('threshold') + setting('scale_factor') * Math.max(0, table.tuples);
  const threshold = most >= 0 ? Math.min(computed, most) : computed;
  const enabled = table.autovacuum === 'on' && !OFF.has(options.get('autovacuum_enabled') ?? 'on');
  return enabled && table.deadTuples > PILING_UP * threshold;
}

const OFF = new Set(['false', 'off', 'no', '0']);

interface TableStatistics {
  readonly deadTuples: number;
  readonly tuples: number;
  readonly options: readonly string[] | null;
  readonly autovacuum: string;
  readonly threshold: string;
  readonly scale_factor: string;
  /** Since PostgreSQL 18; before, null. */
  readonly max_threshold: string | null;
}

const STATISTICS_SQL = `
  select
    pg_catalog.pg_stat_get_dead_tuples(oid)::pg_catalog.float8 as "deadTuples",
    reltuples::pg_catalog.float8 as tuples,
    reloptions as options,
    pg_catalog.current_setting('autovacuum') as autovacuum,
    pg_catalog.current_setting('autovacuum_vacuum_threshold') as threshold,
    pg_catalog.current_setting('autovacuum_vacuum_scale_factor') as scale_factor,
    pg_catalog.current_setting('autovacuum_vacuum_max_threshold', true) as max_threshold
  from pg_catalog.pg_class
  where oid operator(pg_catalog.=) $1::pg_catalog.oid`;
