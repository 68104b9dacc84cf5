/** The permissions with which a function logs in to its databases. */

import { Stack, Token } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import { RegionInfo } from 'aws-cdk-lib/region-info';
import type { Construct } from 'constructs';
import { arnOf } from '../permissions';

/** The policy of a Secrets Manager endpoint must grant it, too. */
export const READ_SECRET = 'secretsmanager:GetSecretValue';

/** Allows decrypting with a key, through Secrets Manager only. */
export function decryption(scope: Construct, key: IKey): iam.PolicyStatement {
  const { region, urlSuffix } = Stack.of(scope);
  // In some partitions services are also named by the suffix of the partition.
  const suffix = (!Token.isUnresolved(region) && RegionInfo.get(region).domainSuffix) || urlSuffix;
  const viaService = [...new Set(['amazonaws.com', suffix])].map((each) => `secretsmanager.${region}.${each}`);
  return new iam.PolicyStatement({
    actions: ['kms:Decrypt'],
    resources: [key.keyArn],
    conditions: { StringEquals: { 'kms:ViaService': viaService } },
  });
}

/** The ARN of a user of a database, for `rds-db:connect`. */
export function userArn(scope: Construct, resourceId: string, name: string): string {
  return arnOf(scope, 'rds-db', 'dbuser', `${resourceId}/${name}`);
}

export function connecting(arn: string): iam.PolicyStatement {
  return new iam.PolicyStatement({ actions: ['rds-db:connect'], resources: [arn] });
}
