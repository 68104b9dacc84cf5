import { type Preset, presets } from '../configuration/presets';
import { columnsIn, type TargetsInput } from '../configuration/targets';
import type { CatalogTable } from './catalog';

/** A preset whose tables exist in a schema. */
export interface KnownSystem {
  readonly system: string;
  readonly sureness: 'certain' | 'likely';
  readonly target: TargetsInput[number];
  readonly tables: readonly CatalogTable[];
  readonly remarks: readonly string[];
}

/** Names of columns that many tables have, so that they identify no system. */
const COMMON_COLUMNS =
  /^(id|key|token|code|data|name|type|status|state|user_?id|created_at|updated_at|expires?(_?at)?)$/i;

/** Looks for the presets in every schema. If presets share a table, the one with the most columns wins. */
export function knownSystems(catalog: readonly CatalogTable[]): KnownSystem[] {
  const schemas = new Set(catalog.map(({ schema }) => schema));
  const candidates = [...schemas].flatMap((schema) => {
    const inSchema = new Map(catalog.filter((table) => table.schema === schema).map((table) => [table.table, table]));
    return Object.entries(presets).flatMap(([name, preset]) => candidateOf(name, preset, schema, inSchema) ?? []);
  });
  const taken = new Set<CatalogTable>();
  return candidates
    .sort((a, b) => b.weight - a.weight)
    .flatMap(({ weight, ...candidate }) => {
      if (candidate.tables.some((table) => taken.has(table))) {
        return [];
      }
      for (const table of candidate.tables) {
        taken.add(table);
      }
      return [candidate];
    });
}

function candidateOf(name: string, preset: Preset, schema: string, inSchema: ReadonlyMap<string, CatalogTable>) {
  const matches = preset.tables.flatMap((expected) => {
    const table = inSchema.get(expected.table);
    const columns = [...new Set([...expected.deleteWhen.flatMap(columnsIn), ...expected.recognize])];
    return table && columns.every((column) => table.columns.some((existing) => existing.name === column))
      ? [{ expected, table, telling: columns.filter((column) => !COMMON_COLUMNS.test(column)).length }]
      : [];
  });
  if (matches.length === 0) {
    return undefined;
  }
  const tables = matches.map(({ table }) => table);
  const isDefault = preset.tables.every(
    ({ table, optional = false }) => optional !== tables.some((found) => found.table === table),
  );
  const missing = preset.tables.filter(({ table, optional }) => !optional && !tables.some((f) => f.table === table));
  const weight = matches.reduce((sum, { telling }) => sum + 1 + telling, 0);
  return {
    weight,
    sureness: weight - matches.length >= 2 ? ('certain' as const) : ('likely' as const),
    system: preset.system,
    target: {
      preset: name,
      ...(schema !== preset.schema && { schema }),
      ...(!isDefault && { tables: tables.map(({ table }) => table) }),
    } as TargetsInput[number],
    tables,
    remarks: [
      ...(preset.caveat ? [preset.caveat] : []),
      ...(missing.length > 0 ? [`not found here: ${missing.map(({ table }) => table).join(', ')}`] : []),
    ],
  };
}
