import { Logger } from '@aws-lambda-powertools/logger';
import { Metrics } from '@aws-lambda-powertools/metrics';
import { identityOf } from '../configuration/environment';
import {
  BUCKET_VARIABLE,
  executionsOf,
  MANIFEST_KEY,
  MEMORY_KEY,
  manifestOf,
  reportOf,
  roundsOf,
} from '../configuration/fleet-files';
import { LISTS_VARIABLE, readTargetLists } from '../configuration/target-lists';
import { emitFleetReport, METRIC_NAMESPACE } from '../metrics';
import { groupedBy } from '../run/totals';
import { FleetBucket } from './bucket';
import { failuresIn, isFailureFile } from './failed-executions';
import { type FleetReport, type FleetRun, fleetReport, logFleetReport } from './fleet-report';
import { parseManifest } from './manifest';
import { type Memory, NO_MEMORY } from './memory';
import { type ServerResult, serverResult } from './server-result';
import type { ServerRound } from './server-round';

/** The event of the first step. */
interface CheckEvent {
  readonly step: 'check';
  /** The name of the execution of the state machine. */
  readonly run: string;
}

/** The event of the last step. */
interface SumUpEvent extends Omit<FleetRun, 'stage' | 'durationMs'> {
  readonly step: 'sum-up';
  readonly run: string;
}

/**
 * Entry point of Lambda for the first and the last step of a run on a fleet. It works on files in S3, and is outside of the
 * network of the databases.
 *
 * @throws InvalidInputError with every mistake in the manifest
 */
export async function handler(event: CheckEvent | SumUpEvent): Promise<FleetReport | { readonly manifest: string }> {
  const bucket = new FleetBucket(process.env[BUCKET_VARIABLE] ?? '');
  return event.step === 'check' ? { manifest: await checkManifest(bucket, event.run) } : await sumUp(bucket, event);
}

/** Copies the manifest for the run, once it is valid. */
async function checkManifest(bucket: FleetBucket, run: string): Promise<string> {
  const manifest = await bucket.read(MANIFEST_KEY);
  if (!manifest) {
    throw new Error(`the manifest is missing: upload it as ${MANIFEST_KEY}`);
  }
  serverNames(manifest.text);
  const key = manifestOf(run);
  await bucket.write(key, manifest.text);
  return key;
}

function serverNames(manifest: string): string[] {
  const lists = Object.keys(readTargetLists(process.env[LISTS_VARIABLE]));
  return parseManifest(manifest, lists).map(({ name }) => name);
}

async function sumUp(bucket: FleetBucket, event: SumUpEvent): Promise<FleetReport> {
  const { stage, service } = identityOf(process.env);
  const logger = new Logger({ serviceName: service, persistentLogAttributes: { stage, execution: event.execution } });
  const metrics = new Metrics({ namespace: METRIC_NAMESPACE, serviceName: service });
  const servers = await resultsOf(bucket, event.run);
  const { execution, dryRun, isWhole, error } = event;
  const startedAt = new Date(event.startedAt);
  const run: FleetRun = {
    ...{ stage, execution, dryRun, isWhole },
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
    ...(error !== undefined && { error }),
  };
  const { report, results } = await remembered(bucket, run, servers);
  await bucket.write(reportOf(event.run), JSON.stringify({ ...report, results }));
  logFleetReport(logger, report, results);
  emitFleetReport(metrics, report);
  return report;
}

/** A run whose manifest was refused has no servers. */
async function resultsOf(bucket: FleetBucket, run: string): Promise<ServerResult[]> {
  const manifest = await bucket.read(manifestOf(run));
  const keys = await bucket.list(executionsOf(run));
  const failures = new Map((await bucket.readAll(keys.filter(isFailureFile))).flatMap((text) => [...failuresIn(text)]));
  const files = await bucket.readAll(await bucket.list(roundsOf(run)));
  const rounds = groupedBy(
    files.map((text): ServerRound => JSON.parse(text)),
    ({ server }) => server,
  );
  return (manifest ? serverNames(manifest.text) : []).map((name) =>
    serverResult(name, rounds.get(name) ?? [], failures.get(name)),
  );
}

const MOST_ATTEMPTS = 5;

/** Two runs may end at the same time. */
async function remembered(bucket: FleetBucket, run: FleetRun, servers: readonly ServerResult[]) {
  for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt += 1) {
    const before = await bucket.read(MEMORY_KEY);
    const memory: Memory = before ? JSON.parse(before.text) : NO_MEMORY;
    const summary = fleetReport(run, servers, memory);
    if (summary.memory === memory || (await bucket.replace(MEMORY_KEY, before, JSON.stringify(summary.memory)))) {
      return summary;
    }
  }
  throw new Error(`other runs kept writing ${MEMORY_KEY} at the same time`);
}
