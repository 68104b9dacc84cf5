import type { Clock } from '../clock';
import type { Queryable } from '../database/queryable';
import { HOLDERS_COLUMNS_SQL, type Holders } from './holders';

/** The traces of earlier deletes on the server, before a run or a dry run adds its own. */
export interface Traces {
  /** On the clock of the run. */
  readonly readAtMs: number;
  /** The first transaction id that is not older than these deletes. */
  readonly horizon: string;
  /** Whether somebody had a snapshot from before. */
  readonly mayBeHeldBack: boolean;
  readonly ofRelations: ReadonlyMap<number, RelationTraces>;
}

/** Of a table or a partition, together with its TOAST table. */
export interface RelationTraces {
  /**
   * Whether nothing is left of deleted or replaced rows: the last vacuum found all rows of every block visible to
   * everybody, and by the statistics none has died since.
   */
  readonly isClean: boolean;
  /** The end of the last vacuum, in milliseconds since 1970; null if none is recorded. */
  readonly vacuumedAt: number | null;
  /** Since the end of the last vacuum, if it cleaned the indexes; null if that is not known. */
  readonly hoursSinceUnlinked: number | null;
}

/** Reads the traces of earlier deletes in one round trip. Any role may. */
export async function readTraces(session: Queryable, clock: Clock, oids: readonly number[]): Promise<Traces> {
  const readAtMs = clock.now();
  const { rows } = await session.query<TracesRow>(`select ${HOLDERS_COLUMNS_SQL}, (${RELATIONS_SQL}) as relations`, [
    null,
    oids,
  ]);
  const { horizon, holders, relations } = rows[0] as TracesRow;
  return {
    readAtMs,
    horizon,
    mayBeHeldBack: holders.length > 0,
    ofRelations: new Map(relations.map(({ oid, ...traces }) => [oid, traces])),
  };
}

interface TracesRow extends Holders {
  readonly relations: readonly (RelationTraces & { readonly oid: number })[];
}

/** Whether the settings of `part` demand that each vacuum cleans the indexes. */
export const DEMANDS_CLEANUP_SQL = `exists (
  select from pg_options_to_table(part.reloptions)
  where option_name = 'vacuum_index_cleanup' and lower(option_value) in ('on', 'true', 'yes', '1')
)`;

// A vacuum leaves no trace of whether it cleaned the indexes: with less than 2 % of the blocks to clean it skips
// them, and n_dead_tup is 0 nevertheless. It is sure if the table demands it, or has no index. And a block whose rows are
// all visible holds no dead item that an index could still lead to. Statistics that were lost prove nothing, so one time
// at least has to be in them. An automatic vacuum of a table does not include its TOAST table. Sizes are not read, because
// that takes a lock, and might have to wait for the service.
const RELATIONS_SQL = `
  select coalesce(jsonb_agg(jsonb_build_object(
    'oid', oid::int8,
    'isClean', is_clean,
    'vacuumedAt', vacuumed_at,
    'hoursSinceUnlinked', extract(epoch from clock_timestamp() - unlinked_at) / 3600
  )), '[]')
  from (
    select
      heap as oid,
      bool_and(is_clean) as is_clean,
      case when bool_and(is_empty or vacuumed_at is not null) then
        floor(extract(epoch from min(vacuumed_at) filter (where not is_empty)) * 1000)
      end as vacuumed_at,
      case when bool_and(is_clean or (cleans_indexes and vacuumed_at is not null)) then
        min(vacuumed_at) filter (where not is_clean)
      end as unlinked_at
    from (
      select
        heap, is_empty, vacuumed_at,
        is_empty or (
          coalesce(vacuumed_at, analyzed_at) is not null and part.relallvisible >= part.relpages
          and pg_stat_get_dead_tuples(part.oid) = 0
        ) as is_clean,
        not part.relhasindex or ${DEMANDS_CLEANUP_SQL} as cleans_indexes
      from unnest($2::oid[]) as heap
      join pg_class as main on main.oid = heap
      join pg_class as part on part.oid in (heap, main.reltoastrelid),
      lateral (
        select
          part.relkind = 't' and part.relpages = 0 and pg_stat_get_tuples_inserted(part.oid) = 0 as is_empty,
          greatest(pg_stat_get_last_vacuum_time(part.oid), pg_stat_get_last_autovacuum_time(part.oid)) as vacuumed_at,
          greatest(pg_stat_get_last_analyze_time(part.oid), pg_stat_get_last_autoanalyze_time(part.oid)) as analyzed_at
      ) as recorded
    ) as part
    group by heap
  ) as relation`;
