import { type Queryable, rowsIf } from '../../database/queryable';
import { byTable } from '../conditions/by-table';
import { quotedNameSql, quoteIdentifier } from '../conditions/sql';
import { type Finding, findingOf } from './finding';
import type { TargetTable } from './tables';

/** An action that the owner of a table must take before a run. */
export interface Need {
  readonly finding: Finding;
  /** Whether a dry run needs it, too. */
  readonly toRead: boolean;
}

export interface GuardFindings {
  /** Guards of a partitioned table that deletes from its partitions would bypass. */
  readonly dangers: readonly string[];
  readonly needs: readonly Need[];
  /** Whether policies hide rows from the role. */
  readonly rowsAreHidden: boolean;
}

/**
 * Reads the owners' restrictions on deletes: triggers, rules and row security of partitioned tables, which a DELETE from a
 * partition bypasses, and publications, which refuse deletes that they cannot describe.
 */
export async function readGuards(
  session: Queryable,
  tables: readonly TargetTable[],
): Promise<(table: TargetTable) => GuardFindings> {
  const members = tables.flatMap((table) => table.members);
  const oids = members.map(({ oid }) => oid);
  const heaps = tables.flatMap((table) => table.heaps.map(({ oid }) => oid));
  const hasParts = members.some(({ isRoot, isPartition }) => isPartition || !isRoot);
  const bypassesAt = byTable(await rowsIf<Bypass>(hasParts, session, BYPASSES_SQL, [heaps, oids]), oidOf);
  const isGuarded = members.some((member) => member.isGuarded);
  const statesAt = byTable(await rowsIf<State>(isGuarded, session, STATES_SQL, [heaps]), oidOf);
  return ({ heaps: own }) => {
    const oids = own.map(({ oid }) => oid);
    const states = statesAt(oids);
    return {
      dangers: dangersOf(bypassesAt(oids)),
      needs: states.flatMap(({ table, identify }) => {
        const finding = `${table} is published without a replica identity, so that the server refuses deletes`;
        return identify === null ? [] : [{ finding: findingOf(finding, identify), toRead: false }];
      }),
      rowsAreHidden: states.some(({ isHidden }) => isHidden),
    };
  };
}

function oidOf({ oid }: { readonly oid: number }): number[] {
  return [oid];
}

function dangersOf(bypasses: readonly Bypass[]): string[] {
  const guards = new Map<string, string[]>();
  for (const { kind, name, parent, partition } of bypasses) {
    const guard = `${kind}${name === null ? '' : ` ${quoteIdentifier(name)}`} of ${parent}`;
    guards.set(guard, [...(guards.get(guard) ?? []), partition]);
  }
  return [...guards].map(([guard, [first, ...others]]) => {
    const more = others.length > 0 ? ` and ${others.length} more of its partitions` : '';
    return `${guard} must be on ${first}${more} too, since rows are deleted from each partition by its own name`;
  });
}

/** A guard of a partitioned table that a partition does not have. */
interface Bypass {
  /** The partition. */
  readonly oid: number;
  readonly partition: string;
  readonly kind: 'trigger' | 'rule' | 'row security';
  readonly name: string | null;
  readonly parent: string;
}

/**
 * A CTE of the relations in `$1` and of those above them.
 *
 * @param isFollowed whether to go on from a relation to the one above it
 */
function lineSql(isFollowed: string): string {
  return `line as (
    select heap, heap as oid from unnest($1::oid[]) as heap
    union
    select heap, inhparent
    from line
    join pg_inherits on inhrelid = line.oid
    join pg_class on pg_class.oid = inhrelid
    where ${isFollowed}
  )`;
}

// Row triggers of a partitioned table are cloned to its partitions, so only statement triggers can be missing there. The
// guards of a table with children by INHERITS count only if it is the target: they never applied to a child's own name.
const BYPASSES_SQL = `
  with recursive ${lineSql('relispartition or inhparent = any($2::oid[])')},
  guard as (
    select heap, line.oid, 'trigger' as kind, tgname as name
    from line join pg_trigger on tgrelid = line.oid
    where not tgisinternal and tgenabled in ('O', 'A') and tgtype & 9 = 8
      and not exists (
        select from pg_trigger as own
        where own.tgrelid = heap and own.tgfoid = pg_trigger.tgfoid and own.tgtype & 75 = pg_trigger.tgtype & 75
          and own.tgenabled in ('O', 'A')
      )
    union all
    select heap, line.oid, 'rule', rulename
    from line join pg_rewrite on ev_class = line.oid
    where ev_type = '4' and ev_enabled in ('O', 'A') and not exists (
      select from pg_rewrite as own where own.ev_class = heap and own.ev_type = '4' and own.ev_enabled in ('O', 'A')
    )
    union all
    select heap, line.oid, 'row security', null
    from line join pg_class on pg_class.oid = line.oid
    where relrowsecurity and row_security_active(line.oid) and not row_security_active(heap)
  )
  select
    heap::int8::float8 as oid, kind, name, ${quotedNameSql('child_schema.nspname', 'child.relname')} as partition,
    ${quotedNameSql('parent_schema.nspname', 'parent.relname')} as parent
  from guard
  join pg_class as child on child.oid = heap
  join pg_namespace as child_schema on child_schema.oid = child.relnamespace
  join pg_class as parent on parent.oid = guard.oid
  join pg_namespace as parent_schema on parent_schema.oid = parent.relnamespace
  where heap <> guard.oid
  order by guard.oid, kind, name, heap`;

interface State {
  readonly oid: number;
  readonly table: string;
  readonly isHidden: boolean;
  /** The statement that gives it a replica identity; null if it has one or needs none. */
  readonly identify: string | null;
}

// Publishing a partitioned table publishes its partitions. REPLICA IDENTITY FULL logs whole rows, so it comes last.
const STATES_SQL = `
  with recursive ${lineSql('relispartition')},
  published as (
    select distinct heap
    from line
    join pg_class on pg_class.oid = line.oid
    join pg_namespace on pg_namespace.oid = relnamespace
    join pg_publication_tables on schemaname = nspname and tablename = relname
    join pg_publication on pg_publication.pubname = pg_publication_tables.pubname and pubdelete
  )
  select
    heap::int8::float8 as oid, format('%I.%I', nspname, relname) as table,
    row_security_active(heap) as "isHidden",
    case when heap in (select heap from published) and relpersistence = 'p' and relreplident <> 'f' and not exists (
      select from pg_index
      where indrelid = heap and indisvalid and indimmediate
        and (case relreplident when 'd' then indisprimary when 'i' then indisreplident end)
    ) then format('alter table %I.%I replica identity ', nspname, relname) || coalesce((
      select format('using index %I', index.relname)
      from pg_index join pg_class as index on index.oid = indexrelid
      where indrelid = heap and indisunique and indisvalid and indimmediate and indpred is null and not exists (
        select from unnest(indkey) as key (attnum)
        left join pg_attribute on attrelid = heap and pg_attribute.attnum = key.attnum
        where attnotnull is not true
      )
      order by indisprimary desc, indnatts, index.relname
      limit 1
    ), 'full') end as identify
  from unnest($1::oid[]) as heap
  join pg_class on pg_class.oid = heap
  join pg_namespace on pg_namespace.oid = relnamespace
  order by 2`;
