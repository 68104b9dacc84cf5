import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { transformSync } from '@swc/core';
import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { type IVpc, Vpc } from 'aws-cdk-lib/aws-ec2';
import type { Role } from 'aws-cdk-lib/aws-iam';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { given } from '../../lib/given';
import type { StageConfig } from '../../lib/stage/stage-schema';
import { TokenCleanup, type TokenCleanupProps } from '../../lib/token-cleanup';
import { TokenCleanupStack } from '../../lib/token-cleanup-stack';
import { metricId } from './metrics';
import { readmeCode } from './readme';

/** The context of `cdk.json`: the feature flags, and the stages. */
export const { context: CONTEXT } = JSON.parse(readFileSync('cdk.json', 'utf8')) as {
  readonly context: Readonly<Record<string, unknown>> & { readonly stages: Readonly<Record<string, StageConfig>> };
};

export const SECRET_ARN = 'arn:aws:secretsmanager:eu-central-1:111122223333:secret:test/auth-AbCdEf';

/** Props of a cleanup that logs in with IAM. */
export const IAM_USER = { name: 'token_cleanup', resourceId: 'cluster-ABCDEFGHIJKL01234' };
export const IAM = { secret: undefined, iamUser: IAM_USER, databaseHost: 'db.internal' };

/** The properties of a resource, as they stand in the template. */
// biome-ignore lint/suspicious/noExplicitAny: a template holds anything; what a test reads from it, it compares
export type Properties = Record<string, any>;

const root = mkdtempSync(join(tmpdir(), 'token-cleanup-cdk-'));
afterAll(() => rmSync(root, { recursive: true }));

/** An empty folder that goes with the last test of the file, outside of the project. */
export function createDirectory(): string {
  return mkdtempSync(join(root, 'test-'));
}

/**
 * An app with the flags of `cdk.json`, which neither bundles nor prints the warnings that a test may look for.
 *
 * @param validates whether synth checks the rules of CloudFormation, which takes most of its time
 */
export function createApp({ validates = false } = {}): App {
  const context = {
    'aws:cdk:bundling-stacks': [],
    '@aws-cdk/core:annotationsInValidationReport': false,
    ...(!validates && { '@aws-cdk/core:validateAgainstDefaultRules': false }),
  };
  return new App({ context: { ...CONTEXT, ...context }, outdir: createDirectory() });
}

/** A stack in the account and the region of the documentation's examples. */
export function createStack(app = createApp()): Stack {
  return new Stack(app, 'Test', { env: { account: '111122223333', region: 'eu-central-1' } });
}

/** Props for the construct. One that is `undefined` takes away a default of the test. */
export type CleanupOverrides = { [K in keyof TokenCleanupProps]?: TokenCleanupProps[K] | undefined };

/** The construct by itself, in a stack of its own. */
export function createCleanup(props: CleanupOverrides = {}, stack = createStack()): TokenCleanup {
  const secret = Secret.fromSecretCompleteArn(stack, 'Secret', SECRET_ARN);
  return new TokenCleanup(stack, 'auth', given({ stage: 'test', secret, ...props }) as TokenCleanupProps);
}

/** The construct in a VPC. */
export function createInVpc(props: (vpc: IVpc, stack: Stack) => CleanupOverrides = () => ({})): TokenCleanup {
  const stack = createStack();
  const vpc = Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-0a1b2c3d',
    vpcCidrBlock: '10.0.0.0/16',
    availabilityZones: ['eu-central-1a'],
    privateSubnetIds: ['subnet-0a1b2c3d'],
    privateSubnetRouteTableIds: ['rtb-0a1b2c3d'],
  });
  return createCleanup({ vpc, ...props(vpc, stack) }, stack);
}

/** The properties of the function. */
export function functionOf(cleanup: TokenCleanup): Properties {
  return resource(Stack.of(cleanup), 'AWS::Lambda::Function');
}

/** The statements of all policies of a role. */
export function permissionsOf(cleanup: TokenCleanup, roleId = 'Role'): Properties[] {
  const stack = Stack.of(cleanup);
  const role = stack.resolve((cleanup.node.findChild(roleId) as Role).roleName);
  return resources(stack, 'AWS::IAM::Policy')
    .filter(({ Roles }) => JSON.stringify(Roles) === JSON.stringify([role]))
    .flatMap(({ PolicyDocument }) => PolicyDocument.Statement);
}

/** A stage of `cdk.json`, or one like it. */
export function createStage(
  stage: string,
  config = CONTEXT.stages[stage] as StageConfig,
  app = createApp(),
): TokenCleanupStack {
  return new TokenCleanupStack(app, `TokenCleanup-${stage}`, { stage, config });
}

/** The properties of all resources of a type, in the order of the template. */
export function resources(source: Stack | Template, type: string): Properties[] {
  const template = source instanceof Stack ? Template.fromStack(source) : source;
  return Object.values(template.findResources(type)).map(({ Properties: properties }) => properties);
}

/** The properties of the only resource of a type. */
export function resource(source: Stack | Template, type: string): Properties {
  const [only, ...others] = resources(source, type);
  if (!only || others.length > 0) {
    throw new Error(`expected one ${type}, found ${others.length + (only ? 1 : 0)}`);
  }
  return only;
}

/** The metrics of a namespace that alarms watch or the dashboard shows. */
export function metricsWatched(source: Stack | Template, namespace: string): string[] {
  const byAlarms = resources(source, 'AWS::CloudWatch::Alarm')
    .flatMap(
      ({ Metrics, ...alarm }) => Metrics?.flatMap(({ MetricStat }: Properties) => MetricStat?.Metric ?? []) ?? [alarm],
    )
    .map(({ Namespace, MetricName, Dimensions }) => [
      Namespace,
      MetricName,
      ...Dimensions.flatMap(({ Name, Value }: Properties) => [Name, Value]),
    ]);
  // Each as [namespace, name, dimension, value, dimension, value, ..., { label }].
  const onDashboard = dashboardOf(source).widgets.flatMap(({ properties }: Properties) => properties.metrics ?? []);
  const watched = [...byAlarms, ...onDashboard].filter(([metricNamespace]) => metricNamespace === namespace);
  const ids = watched.map(([, name, ...rest]) => {
    const names = rest.filter((part: unknown, i: number) => typeof part === 'string' && i % 2 === 0);
    const dimensions = names.map((dimension: string, i: number) => ({ Name: dimension, Value: rest[2 * i + 1] }));
    return metricId(namespace, name, dimensions);
  });
  return [...new Set(ids)].sort();
}

/** The body of the dashboard, in which `<Id>` stands for what only the deployment knows. */
export function dashboardOf(source: Stack | Template): Properties {
  return JSON.parse(flat(resource(source, 'AWS::CloudWatch::Dashboard').DashboardBody));
}

/** Text with `<Id>` or `<Id.Attribute>` in place of references. */
export function flat(value: Properties | string): string {
  if (typeof value === 'string') {
    return value;
  }
  const [separator, parts] = value['Fn::Join'] ?? ['', [value]];
  return parts
    .map((part: Properties | string) =>
      typeof part === 'string' ? part : `<${part.Ref ?? part['Fn::GetAtt']?.join('.') ?? JSON.stringify(part)}>`,
    )
    .join(separator);
}

/** The warnings of a stack and of all that is in it. */
export function warningsOf(stack: Stack): string[] {
  return Annotations.fromStack(stack)
    .findWarning('*', Match.anyValue())
    .map(({ id, entry }) => `${id}: ${entry.data}`);
}

/** Runs the CDK app that lib/README.md shows under a heading, and returns one of its constants. */
export function runReadme<Value>(heading: string, constant: string): Value {
  const { code } = transformSync(readmeCode('ts', heading), {
    jsc: { parser: { syntax: 'typescript' } },
    module: { type: 'commonjs' },
  });
  const load = (name: string) => (name === 'token-cleanup' ? require('../../lib') : require(name));
  return new Function('require', 'exports', `${code}\nreturn ${constant};`)(load, {});
}

/** Runs `bin/app.ts` as the CLI does, bundling included, with another context than that of `cdk.json`. */
export async function runApp(
  context: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string>> = {},
): Promise<{ readonly code: number; readonly stderr: string; readonly directory: string }> {
  const directory = createDirectory();
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    CDK_OUTDIR: directory,
    CDK_CONTEXT_JSON: JSON.stringify({ ...CONTEXT, ...context }),
    ...environment,
  };
  return await promisify(execFile)(process.execPath, ['--import', 'tsx', 'bin/app.ts'], { env }).then(
    ({ stderr }) => ({ code: 0, stderr, directory }),
    ({ code, stderr }) => ({ code, stderr, directory }),
  );
}
