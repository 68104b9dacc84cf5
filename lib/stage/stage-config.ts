/** Picks a stage of `cdk.json` and validates it. Imports nothing of the CDK. */

import { didYouMean, InvalidInputError, isObject, mistakesIn } from '../../lambda/configuration/validation';
import { CrontabError } from '../schedule/crontab';
import { scheduleExpressions } from '../schedule/schedule-expression';
import { STAGE_NAME, type StageConfig, stageSchema } from './stage-schema';

/** The variable with a crontab that overrides the schedule of every stage. */
export const CRONTAB_VARIABLE = 'REFRESH_TOKEN_CLEANUP_CRON';

/**
 * Picks a stage and validates it.
 *
 * @param stages the value of `stages` in the context of `cdk.json`
 * @param name the stage to pick
 * @param crontab the value of `REFRESH_TOKEN_CLEANUP_CRON`
 * @throws InvalidInputError with every mistake
 */
export function readStage(stages: unknown, name: string, crontab?: string): StageConfig {
  if (!isObject(stages) || Object.keys(stages).length === 0) {
    throw new InvalidInputError(['stages in the context of cdk.json must be an object of names and stages']);
  }
  const names = Object.keys(stages);
  if (!names.includes(name)) {
    throw new InvalidInputError([
      `stage must be one of ${names.join(', ')}${didYouMean(name, names)}, got ${JSON.stringify(name)}`,
    ]);
  }
  const root = `stages.${name}`;
  const stage = stages[name] as StageConfig;
  const mistakes = [
    ...(STAGE_NAME.test(name) ? [] : [`the name of ${root} must be at most 20 lower-case letters, digits and hyphens`]),
    ...mistakesInStage(root, stage),
    ...mistakesInRegistry(stages, name),
    ...mistakesInCrontab(`${root}.schedule`, stage?.schedule),
    ...mistakesInCrontab(CRONTAB_VARIABLE, crontab),
  ];
  if (mistakes.length > 0) {
    throw new InvalidInputError(mistakes);
  }
  return crontab === undefined ? stage : { ...stage, schedule: crontab };
}

/** The account and the ids of AWS's documentation, and the domains reserved for examples. */
const EXAMPLE = /111122223333|-0123456789abcdef\d?$|-ABCDEFGHIJKL01234$|[@.]example\.(?:com|org|net)$/;

/** Paths of fields that still hold the placeholders of cdk.json. */
export function exampleFields(value: unknown, path: string): string[] {
  if (typeof value === 'string') {
    return EXAMPLE.test(value) ? [path] : [];
  }
  return isObject(value) ? Object.entries(value).flatMap(([key, part]) => exampleFields(part, `${path}.${key}`)) : [];
}

function mistakesInStage(root: string, stage: unknown): string[] {
  const { error } = stageSchema.safeParse(stage);
  return error ? mistakesIn(error, root, stage, { schema: stageSchema }) : [];
}

/** An account has one registry in each region, so only one of the stages there may create it. */
function mistakesInRegistry(stages: Record<string, unknown>, name: string): string[] {
  const creators = Object.entries(stages as Record<string, Partial<StageConfig> | undefined>).filter(
    ([, stage]) => stage?.consoleTestEvents === 'new-registry',
  );
  const stage = creators.find(([each]) => each === name)?.[1];
  return creators
    .filter(([each]) => stage && each !== name)
    .filter(([, other]) => mayEqual(stage?.account, other?.account) && mayEqual(stage?.region, other?.region))
    .map(
      ([other]) =>
        `stages.${name}.consoleTestEvents must be existing-registry, since stages.${other} creates the registry in what ` +
        'may be the same account and region, got "new-registry"',
    );
}

/** Whether two settings may be equal. The deployment decides on an absent one. */
function mayEqual(one: string | undefined, other: string | undefined): boolean {
  return one === undefined || other === undefined || one === other;
}

function mistakesInCrontab(origin: string, crontab: unknown): string[] {
  if (typeof crontab !== 'string') {
    return [];
  }
  try {
    scheduleExpressions(crontab);
    return [];
  } catch (error) {
    if (!(error instanceof CrontabError)) {
      throw error;
    }
    return error.mistakes.map((mistake) => `${origin}: ${mistake}`);
  }
}
