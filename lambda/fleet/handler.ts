import { Logger } from '@aws-lambda-powertools/logger';
import type { Context } from 'aws-lambda';
import { identityOf } from '../configuration/environment';
import { executionOf, type FunctionRequest } from '../configuration/event';
import { LISTS_VARIABLE, readTargetLists } from '../configuration/target-lists';
import { isObject } from '../configuration/validation';
import { RunFailed, runJob } from '../job';
import { hasDeleted } from '../run/report';
import { answerOf } from '../run/rounds';
import { environmentOf, readServer } from './manifest';
import { databaseResults, fitting, MOST_DATABASES, type ServerRound } from './server-round';

/** The report of a round to the state machine of a fleet. */
interface FleetAnswer extends ServerRound {
  /** The run of the fleet that the event is part of. */
  readonly run: unknown;
  /** The event of the next round; absent if the server is done. */
  readonly again?: FunctionRequest;
}

/**
 * Entry point of Lambda for a fleet: a round on the server in the event, which is its line in the manifest. Nothing is kept
 * from one invocation to the next, which may be for another server.
 *
 * @throws RunFailed if no database of the server was swept and nothing was deleted, after the failure was logged: a state
 * machine can see no other failure. It keeps no report of this one
 */
export async function handler(
  event: unknown,
  context: Pick<Context, 'getRemainingTimeInMillis'>,
): Promise<FleetAnswer> {
  const { stage, service } = identityOf(process.env);
  const { server: line, run, ...request } = isObject(event) ? event : {};
  const server = isObject(line) ? String(line.name) : '';
  const keys = { stage, execution: executionOf(event), fleetRun: run, server };
  const logger = new Logger({ serviceName: service, persistentLogAttributes: keys });
  const {
    report,
    request: read,
    hasMaxRows = false,
  } = await runJob(request, {
    environment: () => {
      const lists = readTargetLists(process.env[LISTS_VARIABLE]);
      return environmentOf(readServer(line, Object.keys(lists), 'server'), lists, process.env);
    },
    timeLeftMs: context.getRemainingTimeInMillis(),
    mostDatabases: MOST_DATABASES,
    logger,
    stage,
  });
  const databases = databaseResults(report.targets);
  if (report.status === 'failed' && !hasDeleted(report) && !databases.some(({ isSwept }) => isSwept)) {
    throw new RunFailed(report.error);
  }
  const { targets: _, again, rounds, ...answer } = answerOf(report, read, { isEndless: true, hasMaxRows });
  const next = again && { again: { ...again, server: line, run } };
  // The status is that of this round, of which it is the file.
  return fitting({ ...answer, status: report.status, server, run, round: rounds.count, databases, ...next });
}
