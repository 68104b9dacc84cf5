import { describeError, kindOf } from '../database/database-error';
import type { Queryable } from '../database/queryable';
import { quoteIdentifier } from '../engine/conditions/sql';

/** A partition whose bound proves that every row in it is dead. */
export interface DeadPartition {
  readonly oid: number;
  readonly partition: string;
  /** By the server's statistics; null if it has none. */
  readonly estimatedRows: number | null;
}

/** The same after an attempt to drop it. */
export interface TriedPartition extends DeadPartition {
  /** Why it was not dropped, but stays to be swept; undefined if it was dropped. */
  readonly refusal: string | undefined;
}

/** A table whose partitions may be dropped: one rule of it is the age of its partition key alone. */
export interface PartitionedTarget {
  readonly oid: number;
  readonly schema: string;
  /** The column of the rule that decides by age alone. */
  readonly column: string;
  /** The cutoff less the age of that rule. */
  readonly deadBefore: Date;
}

/** A drop needs a lock on the whole table. It waits 50 ms for it, this often, and then leaves the partition to the sweep. */
const MOST_TRIES = 3;

/** The name of the function of the table's owner that drops a partition, in the schema of the table. */
export const DROP_FUNCTION = 'token_cleanup_drop_partition';

/**
 * Drops the partitions of a table whose bound proves that every row in them is dead.
 *
 * The role of the job owns nothing and cannot drop a table. A function of the owner does it, which proves the bound again
 * under the lock; its SQL is part of the documentation.
 */
export async function dropDeadPartitions(
  session: Queryable,
  target: PartitionedTarget,
  until: AbortSignal,
): Promise<TriedPartition[]> {
  const { oid, column, deadBefore } = target;
  const { rows } = await session.query<DeadPartition>(DEAD_SQL, [oid, column, deadBefore.toISOString()]);
  const tried: TriedPartition[] = [];
  for (const dead of rows) {
    if (until.aborted) {
      break;
    }
    tried.push({ ...dead, refusal: await drop(session, target, dead.oid) });
  }
  return tried;
}

/** @returns why the partition stays, or nothing if it was dropped */
async function drop(session: Queryable, target: PartitionedTarget, oid: number): Promise<string | undefined> {
  const quotedFunction = `${quoteIdentifier(target.schema)}.${DROP_FUNCTION}`;
  for (let tries = 1; ; tries += 1) {
    try {
      const { rows } = await session.query<{ refusal: string | null }>(
        `select ${quotedFunction}($1::oid, $2::timestamptz) as refusal`,
        [oid, target.deadBefore.toISOString()],
      );
      return rows[0]?.refusal ?? undefined;
    } catch (error) {
      const isLocked = kindOf(error) === 'locked';
      if (!isLocked || tries === MOST_TRIES) {
        return isLocked ? 'the table was locked' : describeError(error);
      }
    }
  }
}

// Only a range over one plain column of a time, and only its upper bound. A name proves nothing. MAXVALUE has no quotes,
// so its bound is null.
const DEAD_SQL = `
  with bound as (
    select
      pg_class.oid, pg_class.reltuples,
      pg_catalog.format('%I.%I', nspname, pg_class.relname) as partition,
      substring(pg_catalog.pg_get_expr(pg_class.relpartbound, pg_class.oid) from ' TO \\(''([^'']*)''\\)$') as upper,
      pg_catalog.format_type(atttypid, null) as type
    from pg_catalog.pg_partitioned_table
    join pg_catalog.pg_attribute on attrelid = partrelid and attnum = partattrs[0] and attname = $2
    join pg_catalog.pg_inherits on inhparent = partrelid and not inhdetachpending
    join pg_catalog.pg_class on pg_class.oid = inhrelid and relkind = 'r'
    join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
    where partrelid = $1 and partstrat = 'r' and partnatts = 1
  )
  select oid::int8::float8 as oid, partition, case when reltuples >= 0 then reltuples::float8 end as "estimatedRows"
  from bound
  where case type
    when 'timestamp with time zone' then upper::timestamptz
    when 'timestamp without time zone' then upper::timestamp at time zone 'UTC'
    when 'date' then upper::date::timestamp at time zone 'UTC'
  end <= $3::timestamptz
  order by partition`;
