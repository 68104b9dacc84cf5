import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The SQL under a heading of lambda/erasure/README.md, as a reader copies it. */
export function documentedSql(heading: string): string {
  const text = readFileSync(join(__dirname, '../../lambda/erasure/README.md'), 'utf8');
  const [, block] = new RegExp(`\`\`\`sql\\n-- ${heading}[\\s\\S]*?\\n([\\s\\S]*?)\`\`\``).exec(text) ?? [];
  if (!block) {
    throw new Error(`lambda/erasure/README.md has no SQL that begins with "-- ${heading}"`);
  }
  return block;
}
