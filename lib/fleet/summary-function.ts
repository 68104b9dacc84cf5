import { Duration, Validations } from 'aws-cdk-lib';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import type { LogGroup } from 'aws-cdk-lib/aws-logs';
import type { IBucket } from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import { BUCKET_VARIABLE, MANIFEST_KEY, MEMORY_KEY, RUNS_PREFIX } from '../../lambda/configuration/fleet-files';
import { SERVICE } from '../../lambda/configuration/settings';
import { LISTS_VARIABLE } from '../../lambda/configuration/target-lists';
import { functionCode } from '../function/function-code';
import { given } from '../given';
import { justifyWildcard } from '../permissions';
import type { FleetFunctionProps } from './fleet-function';

/** The function that checks the manifest and sums up. It runs outside of any VPC, and has no database login. */
export function createSummaryFunction(
  scope: Construct,
  { stage, serviceName = SERVICE, tracing = false }: FleetFunctionProps,
  targetLists: string | undefined,
  bucket: IBucket,
  logGroup: LogGroup,
): lambda.Function {
  const role = new iam.Role(scope, 'SummaryRole', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') });
  logGroup.grantWrite(role);
  const allow = (actions: string[], resources: string[]) =>
    role.addToPolicy(new iam.PolicyStatement({ actions, resources }));
  const objects = [MANIFEST_KEY, MEMORY_KEY, `${RUNS_PREFIX}*`].map((key) => bucket.arnForObjects(key));
  allow(['s3:GetObject'], objects);
  allow(['s3:PutObject'], objects.slice(1));
  // Without the right to list, S3 reports a missing object as forbidden.
  allow(['s3:ListBucket'], [bucket.bucketArn]);
  const created = new lambda.Function(scope, 'Summary', {
    ...functionCode('summary'),
    description: `Checks the manifest of a fleet, and sums up its runs (${stage})`,
    role,
    memorySize: 512,
    timeout: Duration.minutes(5),
    environment: {
      STAGE: stage,
      POWERTOOLS_SERVICE_NAME: serviceName,
      ...given({ [LISTS_VARIABLE]: targetLists }),
      [BUCKET_VARIABLE]: bucket.bucketName,
    },
    tracing: tracing ? lambda.Tracing.ACTIVE : lambda.Tracing.DISABLED,
    logGroup,
  });
  justifyWildcard(role, bucket.arnForObjects(`${RUNS_PREFIX}*`), 'Each run has a folder of its own.');
  Validations.of(created).acknowledge({
    id: 'Serverless-LambdaDLQ',
    reason: 'The state machine invokes it synchronously, and fails if it does.',
  });
  if (!tracing) {
    const reason = 'It reads and writes a few files; tracing is an option.';
    Validations.of(created).acknowledge({ id: 'Serverless-LambdaTracing', reason });
  }
  return created;
}
