import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AssetHashType, DockerImage } from 'aws-cdk-lib';
import { Code } from 'aws-cdk-lib/aws-lambda';

const PROJECT = dirname(__dirname);

/** The bundle of the published package. A checkout has none there, and bundles its source. */
const PREBUILT = join(PROJECT, 'function');

/** The function as it is deployed: one file, and the notices of the packages whose code it contains. */
export function functionCode(): Code {
  if (existsSync(PREBUILT)) {
    return Code.fromAsset(PREBUILT);
  }
  return Code.fromAsset(join(PROJECT, 'lambda'), {
    // By the output: an updated dependency changes it too.
    assetHashType: AssetHashType.OUTPUT,
    bundling: {
      // Required by CDK and never used: bundling on this machine either works or throws.
      image: DockerImage.fromRegistry('none'),
      local: {
        tryBundle(directory) {
          // Required lazily: the bundler is not part of the published package.
          const { bundleFunction } = require('../bin/bundle') as { bundleFunction(directory: string): void };
          bundleFunction(directory);
          return true;
        },
      },
    },
  });
}
