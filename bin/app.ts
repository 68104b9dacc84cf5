import { App, Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks, ServerlessChecks } from 'cdk-nag';
import { InvalidInputError } from '../lambda/configuration/validation';
import { CRONTAB_VARIABLE, readStage } from '../lib/stage/stage-config';
import { TokenCleanupStack } from '../lib/token-cleanup-stack';

const app = new App();
const stage: string = app.node.tryGetContext('stage') ?? 'dev';
try {
  const config = readStage(app.node.tryGetContext('stages'), stage, process.env[CRONTAB_VARIABLE]);
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new ServerlessChecks(app));
  new TokenCleanupStack(app, `TokenCleanup-${stage}`, { stage, config });
} catch (error) {
  if (!(error instanceof InvalidInputError)) {
    throw error;
  }
  // Without a stack trace: the mistake is in the configuration, not here.
  console.error(error.message);
  process.exit(1);
}
