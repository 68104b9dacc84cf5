/** A database of a stage. Imports nothing of the CDK. */

import * as z from 'zod';
import { namePattern } from '../../lambda/configuration/name-pattern';
import { CONCURRENCY, MAX_LOAD, MAX_ROWS, numberIn, PORT } from '../../lambda/configuration/settings';
import { targetsSchema } from '../../lambda/configuration/targets';
import { IAM_USER_NAME, RESOURCE_ID } from '../login';
import { arn, flag, matching, OBJECT, pemFile, text, wholeNumber } from './fields';

/** A validated database of a stage. */
export type DatabaseConfig = z.input<typeof databaseSchema>;

export const TLS = {
  sslMode: z.enum(['verify-full', 'disable'], 'must be verify-full or disable').optional(),
  rootCertificates: pemFile.optional(),
};

export const PACE = {
  concurrency: numberIn(CONCURRENCY).optional(),
  maxLoad: numberIn(MAX_LOAD).optional(),
  maxRows: numberIn(MAX_ROWS).optional(),
  maxReplicaLagSeconds: wholeNumber(1, 86_400).optional(),
};

export const securityGroup = matching(/^sg-[0-9a-f]{8,17}$/, 'must be the id of a security group');

export const cidrs = z
  .array(z.cidrv4('must be a range of IPv4 addresses such as 10.0.0.0/16'), 'must be a list')
  .min(1, 'must not be empty');

export const keyArn = arn('kms', 'key/[0-9a-z-]+', 'the ARN of a KMS key');

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
    encryptionKeyArn: keyArn.optional(),
    host: matching(/^[\w.-]+$/, 'must be a host name, without a port').optional(),
    port: numberIn(PORT).optional(),
    name: text.optional(),
    ...TLS,
    securityGroupId: securityGroup.optional(),
    addIngressRule: flag.optional(),
    cidrs: cidrs.optional(),
    targets: targetsSchema.optional(),
    names: namePattern.optional(),
    ...PACE,
  },
  OBJECT,
);
