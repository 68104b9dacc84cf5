import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, normalize } from 'node:path';
import * as lambda from '@aws-sdk/client-lambda';
import * as secretsmanager from '@aws-sdk/client-secrets-manager';
import * as ssm from '@aws-sdk/client-ssm';
import { Stack } from 'aws-cdk-lib';
import { parseOptions } from '../bin/local/options';
import { HEADINGS } from '../bin/local/summary';
import { readRequest } from '../lambda/configuration/event';
import { DEFAULT_TARGETS, parseTargets } from '../lambda/configuration/targets';
import { CLEANUP_QUERIES, queryString } from '../lib/monitoring/saved-queries';
import { announce } from '../lib/workflow/run-completed';
import { useDatabase } from './support/database';
import { DOCUMENTS, readDocument, readmeCode } from './support/readme';

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

/** The document and the text of each block of code in a language. */
function blocksOf(language: string): (readonly [document: string, text: string])[] {
  return DOCUMENTS.flatMap((document) =>
    [...readDocument(document).matchAll(/^ *```(\w*)\n(.*?)```$/gms)]
      .filter(([, found]) => found === language)
      .map(([, , text = '']) => [document, text] as const),
  );
}

test.each(blocksOf('json'))('%s shows JSON, and targets that the function takes: %s', (_, text) => {
  const value = JSON.parse(text);
  if (Array.isArray(value)) {
    expect(parseTargets(value).length).toBeGreaterThanOrEqual(value.length);
  }
  if (typeof value === 'object' && 'tables' in value) {
    const databases = 'after' in value ? { like: ['*'] } : undefined;
    expect(readRequest(value, { targets: parseTargets(DEFAULT_TARGETS), databases })).toEqual(value);
  }
});

const QUERIES = blocksOf('').filter(([, text]) => text.startsWith('filter '));

test('shows queries', () => expect(QUERIES).toHaveLength(4));

test.each(QUERIES)('%s shows a query as it is saved: %s', (_, text) => {
  const saved = Object.values(CLEANUP_QUERIES).map((query) => queryString(query).toString());

  expect(saved.map(inOneLine)).toContain(inOneLine(text));
});

function inOneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}

/** The lines of code that begin with a command, in blocks and in the text. The changelog has no examples. */
function linesOf(command: string): string[] {
  const pattern = new RegExp(`(?:^ *|\`)(${command} [^\`\\n]*)`, 'gm');
  const documents = DOCUMENTS.filter((document) => document !== 'CHANGELOG.md');
  return documents.flatMap((document) => [...readDocument(document).matchAll(pattern)].map(([, line = '']) => line));
}

describe('a line of npm start', () => {
  const folder = mkdtempSync(join(tmpdir(), 'documents-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const fileOf = (name: string, content: string) => {
    const file = join(folder, name);
    writeFileSync(file, content);
    return file;
  };
  const manifest = fileOf('manifest.jsonl', inOneLine(readmeCode('json', '## A fleet')));
  const examples: Readonly<Record<string, string>> = {
    URL: 'postgres://user@host/database',
    NAME: 'fleet',
    FILE: manifest,
    'manifest.jsonl': manifest,
    'targets.json': fileOf('targets.json', readmeCode('json', '## What is deleted')),
  };

  test.each([...new Set(linesOf('npm start --'))])('has options that exist: %s', (line) => {
    const args = line.replace(/ #.*/, '').trim().split(/ +/).slice(3);

    expect(
      parseOptions(
        args.map((arg) => examples[arg] ?? arg),
        {},
        () => true,
      ),
    ).toMatchObject({ discover: expect.any(Boolean) });
  });
});

test.each([...linesOf('aws ssm'), ...linesOf('aws lambda'), ...linesOf('aws secretsmanager')])(
  'shows a command of AWS that exists: %s',
  (line) => {
    const [, service = '', operation = ''] = line.split(' ');
    const client: object = { ssm, lambda, secretsmanager }[service] ?? {};
    const Command = Object.entries(client).find(([name]) => name === `${inPascalCase(operation)}Command`)?.[1];
    const [, , , , input] = new Command({}).schema;
    const [, , , , members] = typeof input === 'function' ? input() : input;
    const flags = [...line.matchAll(/ --([a-z-]+)/g)].map(([, flag = '']) => flag);

    expect(flags.filter((flag) => !members.includes(inPascalCase(flag)) && flag !== 'cli-binary-format')).toEqual([]);
  },
);

function inPascalCase(words: string): string {
  return words.replace(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

test('shows a pattern that matches the event of a run', () => {
  const pattern = JSON.parse(readmeCode('json', '### The event of a completed run'));
  const state = announce(new Stack()).toStateJson() as {
    Arguments: { Entries: [{ Source: string; DetailType: string }] };
  };
  const [entry] = state.Arguments.Entries;
  const { status } = JSON.parse(readmeCode('json', '## The result'));

  expect(pattern).toEqual({
    source: [entry.Source],
    'detail-type': [entry.DetailType],
    detail: { status: expect.arrayContaining([status]) },
  });
});

test('shows the table of a run in the picture as it is printed', () => {
  const lines = readDocument('.github/start.svg').split('\n');
  const textsOf = (line: string) => [...line.matchAll(/>([^<]+)<\/text>/g)].map(([, text = '']) => text.trim());

  expect(lines.map(textsOf).filter(([first]) => first === 'Table')).toEqual([HEADINGS]);
});

describe('on a server', () => {
  const database = useDatabase();

  const TABLE = 'create table refresh_tokens (id int primary key, revoked boolean, expires_at timestamptz)';

  test.each(blocksOf('sql'))('%s shows SQL that can be executed (%#)', async (_, text) => {
    const statements = text.replace(/^(?:begin|commit);$/gm, '');
    await database.sql('begin');
    for (const role of ['token_cleanup', 'token_service', 'rds_iam']) {
      await database.sql(text.includes(`create role ${role}`) ? '' : `create role ${role}`);
    }
    await database.sql(TABLE);
    // A statement with parameters is only parsed and planned.
    await database.sql(text.includes('$1') && !text.includes('$$') ? `prepare shown as ${statements}` : statements);
    await database.sql('rollback');
  });

  test('shows a result with the keys of a real one', async () => {
    await database.sql(`
      ${TABLE};
      insert into refresh_tokens select n, true from generate_series(1, 100) as n;
      create table devices (token_id int constraint device_token references refresh_tokens);
      insert into devices values (1), (2)`);
    const report = await database.service({ stage: 'prod' }).run();

    expect(pathsIn(report)).toEqual(expect.arrayContaining(pathsIn(JSON.parse(readmeCode('json', '## The result')))));
  });

  test('shows an erasure with the keys of a real one', async () => {
    await database.sql(TABLE);
    await database.sql('alter table refresh_tokens set (vacuum_index_cleanup = on)');
    await database.sql('insert into refresh_tokens values (1, true)');
    await database.sql('vacuum refresh_tokens');
    const session = await database.connect();
    await session.query('begin isolation level repeatable read; select from refresh_tokens');
    await database.until(
      `select now() - xact_start > interval '1 s' from pg_stat_activity where pid <> pg_backend_pid() and xact_start is not null and backend_type = 'client backend'`,
    );
    const { targets } = await database.service().run();
    const [shown = ''] = blocksOf('json').flatMap(([document, text]) => (document.includes('erasure') ? text : []));

    expect(pathsIn(targets[0]?.erasure)).toEqual(expect.arrayContaining(pathsIn(JSON.parse(shown))));
  });
});

/** The path of each value, with its type. */
function pathsIn(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null) {
    return [`${path}: ${typeof value}`];
  }
  return Object.entries(value).flatMap(([key, part]) => pathsIn(part, `${path}.${key}`));
}
