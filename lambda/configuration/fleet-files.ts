/** The files of a fleet in its bucket. */

/** The variable with the name of the bucket. */
export const BUCKET_VARIABLE = 'FLEET_BUCKET';

export const MANIFEST_KEY = 'manifest.jsonl';

export const MEMORY_KEY = 'memory.json';

/** The folder of a run has the name of its execution. */
export const RUNS_PREFIX = 'runs/';

/** The manifest of a run, unaffected by uploads during the run. */
export const manifestOf = (run: string) => `${RUNS_PREFIX}${run}/${MANIFEST_KEY}`;

export const reportOf = (run: string) => `${RUNS_PREFIX}${run}/report.json`;

/** A file for each round on each server, which the state machine writes. */
export const roundsOf = (run: string) => `${RUNS_PREFIX}${run}/rounds/`;

/** The records that the Distributed Map writes of the executions for single servers. */
export const executionsOf = (run: string) => `${RUNS_PREFIX}${run}/executions/`;
