import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { targetsFile } from '../lambda/configuration/targets';

/**
 * `node --import tsx bin/targets-schema.ts`: writes the JSON Schema of targets, from which editors complete and explain
 * them. The package holds it as `token-cleanup/targets.schema.json`.
 */

export const SCHEMA_FILE = join(__dirname, '..', 'targets.schema.json');

export function targetsJsonSchema(): string {
  const schema = z.toJSONSchema(targetsFile, { io: 'input', reused: 'ref' });
  return `${JSON.stringify({ title: 'Targets of token-cleanup', ...schema }, null, 2)}\n`;
}

if (require.main === module) {
  writeFileSync(SCHEMA_FILE, targetsJsonSchema());
}
