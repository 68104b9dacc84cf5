import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The SQL that the README shows first under a heading, with a password in place of the ellipsis. */
export function readmeSql(heading: string, password = ''): string {
  const readme = readFileSync(join(__dirname, '../../README.md'), 'utf8');
  const [, section] = readme.split(`\n${heading}\n`);
  const [, sql] = /```sql\n(.*?)```/s.exec(section?.split(/^#+ /m)[0] ?? '') ?? [];
  if (sql === undefined) {
    throw new Error(`README.md must show SQL under the heading ${JSON.stringify(heading)}`);
  }
  return sql.replace("'…'", `'${password}'`);
}
