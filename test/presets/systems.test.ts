import { presets } from '../../lambda/configuration/presets';
import { parseTargets } from '../../lambda/configuration/targets';
import { SYSTEM_TABLES, type SystemTable } from './systems';

function having(wanted: SystemTable['verdict']): readonly SystemTable[] {
  return SYSTEM_TABLES.filter(({ verdict }) => verdict === wanted);
}

test('the rules are exact for 113 of 133 tables of real systems, and match part of the dead rows in 7 more', () => {
  expect([having('exact').length, having('partial').length, having('none').length]).toEqual([113, 7, 13]);
});

test('a target can be written for each of them', () => {
  for (const { table, preset, deleteWhen } of [...having('exact'), ...having('partial')]) {
    const input = preset ? { preset, tables: [table] } : { table, deleteWhen };
    expect(parseTargets([input])).toEqual([expect.objectContaining({ table })]);
  }
});

test('no preset has a table that must not be cleaned, and the preset of its system states it', () => {
  for (const { table } of having('none')) {
    const warning = Object.values(presets).filter(({ caveat = '' }) => new RegExp(`\\b${table}\\b`).test(caveat));
    expect({ table, warnings: warning.length }).toEqual({ table, warnings: 1 });
    expect(warning.flatMap(({ tables }) => tables).map((known) => known.table)).not.toContain(table);
  }
});

test('a table that is exact only in part, or not at all, comes with the reason', () => {
  expect(SYSTEM_TABLES.filter(({ verdict, reason }) => (verdict === 'exact') !== (reason === undefined))).toEqual([]);
});
