import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AssetHashType, DockerImage } from 'aws-cdk-lib';
import { Code } from 'aws-cdk-lib/aws-lambda';

const PROJECT = dirname(__dirname);

/**
 * A function as it is deployed: one file, and the notices of the packages whose code it contains. The published package
 * contains the bundles, each in a folder of its name. A checkout has none, and bundles its source.
 */
export function functionCode(name: 'function' | 'fleet' | 'summary' | 'widget'): Code {
  const prebuilt = join(PROJECT, name);
  if (existsSync(prebuilt)) {
    return Code.fromAsset(prebuilt);
  }
  return Code.fromAsset(join(PROJECT, 'lambda'), {
    // By the output: an updated dependency changes it too.
    assetHashType: AssetHashType.OUTPUT,
    bundling: {
      // Required by CDK and never used: bundling on this machine either works or throws.
      image: DockerImage.fromRegistry('none'),
      // The CDK takes bundlings with the same options for the same, whatever `tryBundle` does.
      command: [name],
      local: {
        tryBundle(directory) {
          // Required lazily: the bundler is not part of the published package.
          const { bundle } = require('../bin/bundle') as { bundle(name: string, directory: string): void };
          bundle(name, directory);
          return true;
        },
      },
    },
  });
}
