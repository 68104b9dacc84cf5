import type { Client } from 'pg';
import { parseTargets } from '../../lambda/configuration/targets';
import type { RunReport } from '../../lambda/run/report';
import { type TokenCleanupOptions, TokenCleanupService } from '../../lambda/token-cleanup-service';
import { countRoundTrips } from '../support/round-trips';
import { connectionTo, SILENT } from './contenders';
import { count, digits, duration } from './figures';
import type { Course } from './laboratory';
import type { Bench, Section } from './section';
import { median } from './statistics';
import { REFRESH_TOKENS } from './tables';

/** What a run costs that finds nothing in many schemas or databases. */
interface Tenants {
  readonly title: string;
  readonly tenants: number;
  readonly medianMs: number;
  readonly roundTrips: number;
  readonly connections: number;
}

const RULES = [{ revoked: true }, { expires_at: { olderThan: '0s' } }];

const ROUNDS = 3;

const LIVE_ROWS = 20;

/** What a run costs where each customer has a schema or a database of its own, and nothing is dead. */
export const tenants: Section<readonly Tenants[]> = {
  name: 'tenants',

  steps: () => 3,

  async run(bench) {
    const { laboratory, scale, step } = bench;
    const found: Tenants[] = [];
    for (const rows of [0, LIVE_ROWS]) {
      const title = rows === 0 ? 'schemas, their tables empty' : `schemas with ${rows} live rows each`;
      step(title);
      const prepared = await laboratory.prepare(manySchemas(title, scale.schemas, rows));
      const url = await laboratory.clone(prepared);
      const targets = parseTargets([{ schemas: { like: ['tenant_*'] }, table: 'refresh_tokens', deleteWhen: RULES }]);
      found.push(await measure(bench, title, scale.schemas, url, { targets }));
      await laboratory.discard(prepared);
    }
    const title = `databases with ${LIVE_ROWS} live rows each`;
    step(title);
    const prepared = await laboratory.prepare({
      title,
      table: REFRESH_TOKENS,
      fill: (client) => fill(client, 'public', LIVE_ROWS),
    });
    const url = await laboratory.cloneMany(prepared, 'tenant', scale.databases);
    found.push(
      await measure(bench, title, scale.databases, url, {
        targets: parseTargets(REFRESH_TOKENS.targets),
        databases: { like: ['tenant_*'] },
      }),
    );
    await laboratory.dropClones('tenant', scale.databases);
    await laboratory.discard(prepared);
    return found;
  },

  show: (found) => [
    {
      title: 'Many tenants, nothing to do',
      head: ['', 'time', 'for each', 'round trips', 'for each', 'connections'],
      rows: found.map(({ title, tenants: number, medianMs, roundTrips, connections }) => [
        `${count(number)} ${title}`,
        duration(medianMs),
        duration(medianMs / number),
        count(roundTrips),
        digits(roundTrips / number),
        count(connections),
      ]),
      notes: ['At the automatic pace, on one connection at a time. The inspection of all tables is part of the time.'],
    },
  ],
};

function manySchemas(title: string, schemas: number, rows: number): Course {
  return {
    title,
    table: { ...REFRESH_TOKENS, name: 'tenant_1.refresh_tokens' },
    fill: async (client) => {
      for (let tenant = 1; tenant <= schemas; tenant += 1) {
        await client.query(`create schema tenant_${tenant}`);
        await fill(client, `tenant_${tenant}`, rows);
      }
    },
  };
}

async function fill(client: Client, schema: string, rows: number): Promise<void> {
  await client.query(`
    create table ${schema}.refresh_tokens (
      id bigint primary key, token_hash text not null, revoked boolean not null default false, expires_at timestamptz
    );
    create index on ${schema}.refresh_tokens (expires_at);
    insert into ${schema}.refresh_tokens
    select id, md5(id::text), false, now() + interval '1 day' from generate_series(1, ${rows}) as id`);
}

async function measure(
  { blame }: Bench,
  title: string,
  number: number,
  url: string,
  options: Pick<TokenCleanupOptions, 'targets' | 'databases'>,
): Promise<Tenants> {
  const run = async (address: string): Promise<RunReport> => {
    const service = new TokenCleanupService({ ...options, connection: connectionTo(address), logger: SILENT });
    const report = await service.run();
    if (report.status !== 'succeeded' || report.rowsDeleted !== 0 || report.targets.length !== number) {
      blame(
        `${title}: ${report.status}, ${report.rowsDeleted} rows deleted in ${report.targets.length}: ${report.error}`,
      );
    }
    return report;
  };
  const durationsMs: number[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    durationsMs.push((await run(url)).durationMs);
  }
  return { title, tenants: number, medianMs: median(durationsMs), ...(await countRoundTrips(url, run)) };
}
