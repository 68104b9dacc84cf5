import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { presets } from '../../lambda/configuration/presets';
import { parseTargets } from '../../lambda/configuration/targets';
import { presetPage } from './documentation';

const page = readFileSync(join(__dirname, '../../lambda/configuration/presets/README.md'), 'utf8');

test('the page of the presets is as its generator writes it', () => {
  expect(page).toBe(presetPage());
});

test('the examples on the page are targets', () => {
  const [, json = ''] = /```json\n(.*?)```/s.exec(page) ?? [];

  expect(parseTargets(JSON.parse(json)).map(({ table }) => table)).toEqual([
    'revoked_token',
    'personal_access_tokens',
    'session',
    'verification',
    'deviceCode',
  ]);
});

test.each(Object.keys(presets))('each setting of %s is described and changes the targets', (preset) => {
  const { tables: [...all] = [], parameters = {} } = presets[preset] ?? {};
  const tables = all.map(({ table }) => table);
  for (const [name, schema] of Object.entries(parameters)) {
    expect(schema).toHaveProperty('description', expect.stringMatching(/\w/));
    if (name !== 'tables') {
      const value = name === 'timeZone' ? 'Europe/Berlin' : '123d';
      expect(parseTargets([{ preset, tables, [name]: value }])).not.toEqual(parseTargets([{ preset, tables }]));
    }
  }
});
