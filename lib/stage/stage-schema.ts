/** The schema of a stage in `cdk.json`. Imports nothing of the CDK. */

import * as z from 'zod';
import { loginMistakes } from '../../lambda/configuration/login';
import { isLikeTest, NODE_ENV_RULE } from '../../lambda/configuration/settings';
import { timeOfDay } from '../../lambda/configuration/time-of-day';
import { timeZone } from '../../lambda/configuration/time-zone';
import { isObject } from '../../lambda/configuration/validation';
import { type COMMON, databaseSchema } from './database-config';
import { arn, flag, matching, OBJECT, REGION, text, wholeNumber } from './fields';
import { DEFAULT_SERVERS_AT_ONCE, type FleetConfig, fleetSchema } from './fleet-config';

/** A stage without the defaults, which the construct applies. */
export type StageConfig = z.input<typeof stageSchema>;

// Both names are part of the function's name, which Lambda limits to 64 characters: `token-cleanup-`, 20, `-` and 24.
export const STAGE_NAME = /^[a-z][a-z0-9-]{0,19}$/;
const databaseName = z
  .string()
  .max(24, 'must have a name of at most 24 characters')
  .regex(/^[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*$/, 'must have a name of lower-case words joined by hyphens');

/** The retentions that CloudWatch Logs offers. */
const RETENTION_DAYS = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

const vpcSchema = z.strictObject(
  {
    vpcId: matching(/^vpc-[0-9a-f]{8,17}$/, 'must be the id of a VPC'),
    // By zone, because an endpoint accepts only one subnet in each.
    subnets: z
      .record(
        z.string(),
        matching(/^subnet-[0-9a-f]{8,17}$/, 'must be the id of a subnet'),
        'must be an object of availability zones and subnets',
      )
      .refine((subnets) => Object.keys(subnets).length > 0, 'must name at least one subnet'),
    secretsManagerEndpoint: flag.optional(),
  },
  OBJECT,
);

const alarmsSchema = z.strictObject(
  {
    email: z.email('must be an e-mail address').optional(),
    topicArn: arn('sns', '[A-Za-z0-9_-]+', 'the ARN of an SNS topic').optional(),
    rowsRemainingThreshold: wholeNumber(0, 1_000_000_000).optional(),
    // At most a year. Backups hold the rows longer in any case.
    unlinkWithinHours: wholeNumber(1, 8_760).optional(),
  },
  OBJECT,
);

export const stageSchema = z
  .strictObject(
    {
      account: matching(/^\d{12}$/, 'must be an account of 12 digits').optional(),
      region: matching(new RegExp(`^${REGION}$`), 'must be a region such as eu-central-1').optional(),
      enabled: flag.optional(),
      nodeEnv: text.refine((name) => !isLikeTest(name), NODE_ENV_RULE).optional(),
      schedule: z.string('must be a crontab').optional(),
      timeZone: timeZone.optional(),
      flexibleWindowMinutes: wholeNumber(1, 1440).optional(),
      continueUntil: timeOfDay.optional(),
      events: flag.optional(),
      // Connecting alone may take 20 s; Lambda ends everything after 900.
      timeoutSeconds: wholeNumber(60, 900).optional(),
      memoryMb: wholeNumber(128, 10_240).optional(),
      reservedConcurrency: wholeNumber(1, 1000).optional(),
      tracing: flag.optional(),
      logRetentionDays: z.literal(RETENTION_DAYS, `must be one of ${RETENTION_DAYS.join(', ')}`).optional(),
      vpc: vpcSchema.optional(),
      alarms: alarmsSchema.optional(),
      dashboardButtons: flag.optional(),
      runbookUrl: z.url({ protocol: /^https?$/, error: 'must be an address that begins with https://' }).optional(),
      consoleTestEvents: z
        .enum(['new-registry', 'existing-registry'], 'must be new-registry or existing-registry')
        .optional(),
      databases: z
        .record(databaseName, databaseSchema, 'must be an object of names and databases')
        .refine((databases) => Object.keys(databases).length > 0, 'must name at least one database')
        .optional(),
      fleet: fleetSchema.optional(),
    },
    OBJECT,
  )
  // Runs even if a single field is invalid, so that one message lists all mistakes.
  .superRefine(checkTogether, { when: ({ value }) => isObject(value) });

/** Keys that apply to single databases only. `events` is one, since a fleet always announces its runs. */
const NOT_WITH_FLEET = [
  ['consoleTestEvents'],
  ['events'],
  ['alarms', 'rowsRemainingThreshold'],
  ['alarms', 'unlinkWithinHours'],
];

const DATABASE_LOGIN = { secret: 'secretArn', iam: 'iamUser', host: 'host', sslMode: 'sslMode' };
const FLEET_LOGIN = { secret: 'secretTag', iam: 'iamUser', sslMode: 'sslMode', mayHaveBoth: true };

/** Rules across fields. Any field may be of any type here. */
function checkTogether(stage: z.output<typeof stageSchema>, context: z.core.$RefinementCtx): void {
  const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
  const { region, vpc, alarms } = stage;
  const refuseOtherRegion = (path: string[], arn: unknown) => {
    const [, , , arnRegion] = String(arn).split(':');
    if (region !== undefined && arnRegion !== undefined && arnRegion !== region) {
      refuse(path, `must be in the stage's region ${region}`);
    }
  };
  for (const zone of isObject(vpc?.subnets) ? Object.keys(vpc.subnets) : []) {
    if (!new RegExp(`^${region ?? REGION}[\\w-]*[a-z]$`).test(zone)) {
      refuse(['vpc', 'subnets', zone], `must be under an availability zone such as ${region ?? 'eu-central-1'}a`);
    }
  }
  refuseOtherRegion(['alarms', 'topicArn'], alarms?.topicArn);
  if (alarms?.email !== undefined && alarms.topicArn !== undefined) {
    refuse(['alarms', 'email'], 'must not be set together with topicArn, whose subscribers get the alarms');
  }
  const databases = isObject(stage.databases)
    ? Object.entries(stage.databases).filter(([, each]) => isObject(each))
    : [];
  const fleet = isObject(stage.fleet) ? (stage.fleet as FleetConfig) : undefined;
  if ((stage.databases === undefined) === (stage.fleet === undefined)) {
    refuse([], 'must have either databases or fleet');
  }
  const hasSecret = fleet?.secretTag !== undefined || databases.some(([, { iamUser }]) => iamUser === undefined);
  if (vpc?.secretsManagerEndpoint === true && !hasSecret) {
    refuse(['vpc', 'secretsManagerEndpoint'], 'must not be set if no database has a secret');
  }
  const checkPlace = (path: string[], place: Partial<Record<keyof typeof COMMON, unknown>>) => {
    const peers = (['securityGroupId', 'cidrs'] as const).filter((key) => place[key] !== undefined);
    if (vpc === undefined) {
      for (const key of peers) {
        refuse([...path, key], 'must not be set if the stage has no vpc');
      }
    } else if (peers.length !== 1) {
      refuse(path, 'must have either securityGroupId or cidrs, since the stage has a vpc');
    }
    if (place.rootCertificates !== undefined && place.sslMode === 'disable') {
      refuse([...path, 'rootCertificates'], 'must not be set if sslMode is disable');
    }
    refuseOtherRegion([...path, 'encryptionKeyArn'], place.encryptionKeyArn);
  };
  for (const [name, database] of databases) {
    const path = ['databases', name];
    for (const { field, rule } of loginMistakes(database, DATABASE_LOGIN)) {
      refuse([...path, field], rule);
    }
    if (database.encryptionKeyArn !== undefined && database.secretArn === undefined) {
      refuse([...path, 'encryptionKeyArn'], 'must not be set without secretArn');
    }
    refuseOtherRegion([...path, 'secretArn'], database.secretArn);
    if (database.addIngressRule !== undefined && database.securityGroupId === undefined) {
      refuse([...path, 'addIngressRule'], 'must not be set without securityGroupId, which gets the rule');
    }
    checkPlace(path, database);
  }
  if (fleet) {
    for (const { field, rule } of loginMistakes(fleet, FLEET_LOGIN)) {
      refuse(['fleet', field], rule);
    }
    if (fleet.encryptionKeyArn !== undefined && fleet.secretTag === undefined) {
      refuse(['fleet', 'encryptionKeyArn'], 'must not be set without secretTag');
    }
    checkPlace(['fleet'], fleet);
    for (const path of NOT_WITH_FLEET) {
      if (path.reduce<unknown>((value, key) => Object(value)[key], stage) !== undefined) {
        refuse(path, 'must not be set on a stage with a fleet');
      }
    }
    const { serversAtOnce = DEFAULT_SERVERS_AT_ONCE } = fleet;
    if (stage.reservedConcurrency !== undefined && stage.reservedConcurrency < serversAtOnce) {
      refuse(['reservedConcurrency'], `must be at least fleet.serversAtOnce, which is ${serversAtOnce}`);
    }
  }
}
