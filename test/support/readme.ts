import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const PROJECT = join(__dirname, '../..');

/** The paths of all documents that are written by hand. */
export const DOCUMENTS: readonly string[] = ['.', '.github', 'bin', 'lambda', 'lib', 'test'].flatMap((folder) =>
  readdirSync(join(PROJECT, folder), { recursive: folder !== '.', encoding: 'utf8' })
    .filter((path) => path.endsWith('.md') && path !== 'API.md')
    .map((path) => join(folder, path)),
);

export function readDocument(path: string): string {
  return readFileSync(join(PROJECT, path), 'utf8');
}

/** The code that the documents show first under a heading. */
export function readmeCode(language: string, heading: string): string {
  for (const path of DOCUMENTS) {
    const [, section] = readDocument(path).split(`\n${heading}\n`);
    const [, code] = new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 's').exec(section?.split(/^#+ /m)[0] ?? '') ?? [];
    if (code !== undefined) {
      return code;
    }
  }
  throw new Error(`a document must show ${language} code under the heading ${JSON.stringify(heading)}`);
}

/** The SQL that the documents show first under a heading, with a password in place of the ellipsis. */
export function readmeSql(heading: string, password = ''): string {
  return readmeCode('sql', heading).replace("'…'", `'${password}'`);
}

/** The SQL in lambda/erasure/README.md that begins with a comment of this name. */
export function documentedSql(name: string): string {
  const [, sql] =
    new RegExp(`\`\`\`sql\\n-- ${name}.*?\\n(.*?)\`\`\``, 's').exec(readDocument('lambda/erasure/README.md')) ?? [];
  if (sql === undefined) {
    throw new Error(`lambda/erasure/README.md must show SQL that begins with "-- ${name}"`);
  }
  return sql;
}
