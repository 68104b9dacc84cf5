import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AssetHashType, DockerImage } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';

const PROJECT = dirname(dirname(__dirname));

type BundleName = 'function' | 'fleet' | 'summary' | 'widget';

/** The code of a function, the runtime that it is bundled for, and the format of its log. */
export function functionCode(name: BundleName) {
  return {
    code: bundleOf(name),
    handler: 'index.handler',
    runtime: lambda.Runtime.NODEJS_24_X,
    architecture: lambda.Architecture.ARM_64,
    loggingFormat: lambda.LoggingFormat.JSON,
  };
}

/**
 * One file, and the notices of the packages whose code it contains. The published package has each bundle in a folder of
 * that name. A checkout has none, and bundles its source.
 */
function bundleOf(name: BundleName): lambda.Code {
  const prebuilt = join(PROJECT, name);
  if (existsSync(prebuilt)) {
    return lambda.Code.fromAsset(prebuilt);
  }
  return lambda.Code.fromAsset(join(PROJECT, 'lambda'), {
    // Hash the output, which an updated dependency changes, too.
    assetHashType: AssetHashType.OUTPUT,
    bundling: {
      // Required by the CDK, never used: local bundling either works or throws.
      image: DockerImage.fromRegistry('none'),
      // The CDK considers bundlings with equal options equal, whatever `tryBundle` does.
      command: [name],
      local: {
        tryBundle(directory) {
          // Required lazily: the bundler is not part of the published package.
          const { bundle } = require('../../bin/bundle') as { bundle(name: string, directory: string): void };
          bundle(name, directory);
          return true;
        },
      },
    },
  });
}
