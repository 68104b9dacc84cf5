/** A database of a stage. Imports nothing of the CDK. */

import * as z from 'zod';
import { namePattern } from '../../lambda/configuration/name-pattern';
import { CONCURRENCY, MAX_LOAD, MAX_ROWS, numberIn, PORT } from '../../lambda/configuration/settings';
import { targetsSchema } from '../../lambda/configuration/targets';
import { IAM_USER_NAME, RESOURCE_ID } from '../login';
import { arn, flag, matching, OBJECT, pemFile, text, wholeNumber } from './fields';

/** A validated database of a stage. */
export type DatabaseConfig = z.input<typeof databaseSchema>;

/** The fields that databases and fleets have in common. */
export const COMMON = {
  encryptionKeyArn: arn('kms', 'key/[0-9a-z-]+', 'the ARN of a KMS key').optional(),
  securityGroupId: matching(/^sg-[0-9a-f]{8,17}$/, 'must be the id of a security group').optional(),
  cidrs: z
    .array(z.cidrv4('must be a range of IPv4 addresses such as 10.0.0.0/16'), 'must be a list')
    .min(1, 'must not be empty')
    .optional(),
  sslMode: z.enum(['verify-full', 'disable'], 'must be verify-full or disable').optional(),
  rootCertificates: pemFile.optional(),
  concurrency: numberIn(CONCURRENCY).optional(),
  maxLoad: numberIn(MAX_LOAD).optional(),
  maxRows: numberIn(MAX_ROWS).optional(),
  maxReplicaLagSeconds: wholeNumber(1, 86_400).optional(),
};

const iamUserSchema = z.strictObject(
  {
    name: matching(IAM_USER_NAME.pattern, IAM_USER_NAME.rule),
    resourceId: matching(RESOURCE_ID.pattern, RESOURCE_ID.rule),
  },
  OBJECT,
);

export const databaseSchema = z.strictObject(
  {
    // Includes the six characters that Secrets Manager appends, so that it identifies exactly one secret.
    secretArn: arn(
      'secretsmanager',
      String.raw`secret:[\w/+=.@!-]+-[A-Za-z0-9]{6}`,
      'the complete ARN of a secret',
    ).optional(),
    iamUser: iamUserSchema.optional(),
    host: matching(/^[\w.-]+$/, 'must be a host name, without a port').optional(),
    port: numberIn(PORT).optional(),
    name: text.optional(),
    addIngressRule: flag.optional(),
    targets: targetsSchema.optional(),
    names: namePattern.optional(),
    ...COMMON,
  },
  OBJECT,
);
