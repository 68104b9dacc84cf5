import { existsSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { readRequest } from '../lambda/configuration/event';
import { DEFAULT_TARGETS, parseTargets } from '../lambda/configuration/targets';
import { DOCUMENTS, readDocument } from './support/readme';

/** The document without the code in it. */
function prose(path: string): string {
  return readDocument(path).replace(/^```.*?^```/gms, '');
}

/** The anchors of a document's headings, as GitHub makes them. */
function anchorsOf(path: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of prose(path).matchAll(/^#+ (.*)$/gm)) {
    const text = heading.replace(/\[(.*?)\]\(.*?\)/g, '$1');
    const anchor = text
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-');
    let unique = anchor;
    for (let times = 1; anchors.has(unique); times += 1) {
      unique = `${anchor}-${times}`;
    }
    anchors.add(unique);
  }
  return anchors;
}

/** The links of a document that lead nowhere in this project. */
function brokenLinks(document: string): string[] {
  const links = [...prose(document).matchAll(/\]\(<?([^)\s>]+)>?\)|^\[[^\]]+\]: (\S+)/gm)].map(
    ([, a, b]) => a ?? b ?? '',
  );
  return links.filter((link) => {
    if (/^[a-z]+:/.test(link)) {
      return false;
    }
    const [path = '', anchor] = decodeURI(link).split('#');
    const target = path ? normalize(join(dirname(document), path)) : document;
    if (!existsSync(target) || (anchor !== undefined && statSync(target).isDirectory())) {
      return true;
    }
    return anchor !== undefined && target.endsWith('.md') && !anchorsOf(target).has(anchor);
  });
}

test('are at least the README, the changelog and those of .github', () => {
  expect(DOCUMENTS).toEqual(expect.arrayContaining(['README.md', 'CHANGELOG.md', '.github/CONTRIBUTING.md']));
});

test.each(DOCUMENTS)('%s has no link that leads nowhere', (document) => {
  expect(brokenLinks(document)).toEqual([]);
});

test('keeps the first page short', () => {
  expect(readDocument('README.md').split('\n').length).toBeLessThanOrEqual(220);
});

/** What stands in the blocks of JSON of all documents. */
const JSON_BLOCKS = DOCUMENTS.flatMap((document) =>
  [...readDocument(document).matchAll(/^\s*```json\n(.*?)```/gms)].map(([, text = '']) => [document, text] as const),
);

test.each(JSON_BLOCKS)('%s shows JSON, and targets that the function takes: %s', (_, text) => {
  const value = JSON.parse(text);
  if (Array.isArray(value)) {
    expect(parseTargets(value).length).toBeGreaterThanOrEqual(value.length);
  }
  if (typeof value === 'object' && 'tables' in value) {
    const databases = 'after' in value ? { like: ['*'] } : undefined;
    expect(readRequest(value, { targets: parseTargets(DEFAULT_TARGETS), databases })).toEqual(value);
  }
});
