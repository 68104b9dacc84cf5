import { Duration, Validations } from 'aws-cdk-lib';
import { BlockPublicAccess, Bucket, BucketEncryption, type IBucket } from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import { RUNS_PREFIX } from '../../lambda/configuration/fleet-files';

/** The bucket of a fleet: its manifest, the results of its runs, and when each database was last swept. */
export function createFleetBucket(scope: Construct): IBucket {
  const bucket = new Bucket(scope, 'Bucket', {
    encryption: BucketEncryption.S3_MANAGED,
    blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
    enforceSSL: true,
    versioned: true,
    lifecycleRules: [
      // As long as Step Functions keeps the executions.
      { prefix: RUNS_PREFIX, expiration: Duration.days(90), noncurrentVersionExpiration: Duration.days(1) },
      { noncurrentVersionExpiration: Duration.days(30), abortIncompleteMultipartUploadAfter: Duration.days(1) },
    ],
  });
  Validations.of(bucket).acknowledge({
    id: 'AwsSolutions-S1',
    reason: 'It holds no content of any table, and who reads it is up to the account (CloudTrail).',
  });
  return bucket as IBucket;
}
