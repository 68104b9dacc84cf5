import { doesNotMatch, deepStrictEqual as equal, match } from 'node:assert';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';
import { METRIC_NAMESPACE } from '../../lambda/metrics';
import type { DatabaseConfig, StageConfig } from '../../lib/stage-config';
import { metricId, metricsIn } from '../support/metrics';
import type { Rds } from '../support/rds';
import { expectComplete } from './complete';
import type { TokenDatabase } from './database';
import { DeployedStack } from './deployed-stack';
import { ACCOUNT, type Description, keysOf, REGION } from './emulator';
import { DeployedFunction } from './invocation';
import type { World } from './world';

type Name = 'auth' | 'partners';
const NAMES: readonly Name[] = ['auth', 'partners'];

/** What is there before the stage. */
interface Databases {
  readonly auth: TokenDatabase;
  readonly partners: TokenDatabase;
  /** What stands before the second one, and lets nobody in without a token. */
  readonly rds: Rds;
  /** Those with which tokens have to be signed. Which they are is known when the function is. */
  readonly keys: { accessKeyId: string; secretAccessKey: string; sessionToken: string };
}

/** The stage of `cdk.json` that shows everything, with an account's own identifiers in place of the examples. */
export class ProdStage {
  readonly stack: DeployedStack;
  readonly #world: World;
  readonly #databases: Databases;
  readonly #config: StageConfig;
  readonly #said: string;

  private constructor(world: World, databases: Databases, config: StageConfig, said: string) {
    this.#world = world;
    this.#databases = databases;
    this.#config = config;
    this.#said = said;
    this.stack = new DeployedStack(world.emulator, 'TokenCleanup-prod');
  }

  static async deploy(world: World): Promise<ProdStage> {
    const { project, landscape } = world;
    const example = project.stages.prod as StageConfig;
    const { iamUser } = example.databases.partners as DatabaseConfig;
    const user = iamUser?.name ?? '';
    const keys = { accessKeyId: '', secretAccessKey: '', sessionToken: '' };
    const databases: Databases = {
      keys,
      rds: await world.rds(user, keys),
      auth: await world.database('prod_auth'),
      partners: await world.database('prod_partners', user),
    };
    const config: StageConfig = {
      ...example,
      account: ACCOUNT,
      vpc: {
        ...example.vpc,
        vpcId: landscape.vpcId,
        subnets: { [`${REGION}a`]: landscape.subnetA, [`${REGION}b`]: landscape.subnetB },
      },
      alarms: { ...example.alarms, topicArn: landscape.topicArn },
      databases: {
        auth: {
          ...example.databases.auth,
          secretArn: await world.secrets.create('prod/auth', databases.auth.login, landscape.keyArn),
          encryptionKeyArn: landscape.keyArn,
          securityGroupId: landscape.databaseSecurityGroupId,
          // No other is let out by the function's security group.
          port: databases.auth.login.port,
          rootCertificates: putCertificate(world, world.certificate.certFile),
        },
        partners: {
          ...example.databases.partners,
          iamUser: { name: user, resourceId: 'cluster-A1B2C3D4E5F6G7H8I' },
          host: databases.rds.host,
          port: databases.rds.port,
          name: databases.partners.login.dbname,
          rootCertificates: putCertificate(world, databases.rds.certificateFile),
        },
      },
    };
    project.fillIn({ ...project.stages, prod: config });
    return new ProdStage(world, databases, config, await project.deploy('prod'));
  }

  /** What was deployed, as far as it is another than that of the least stage. */
  async inspect(t: TestContext): Promise<void> {
    const { emulator, landscape } = this.#world;
    const { auth, partners } = this.#config.databases as Record<Name, DatabaseConfig>;
    const found = await this.stack.inventory();
    const { SecurityGroups } = await emulator.ask('ec2', 'describe_security_groups');
    const rulesOf = (groupId: string, direction: 'IpPermissions' | 'IpPermissionsEgress') =>
      SecurityGroups.find((group: Description) => group.GroupId === groupId)
        [direction].flatMap(ruleTexts)
        .sort();
    const groups = { auth: found.authSecurityGroup?.id, partners: found.partnersSecurityGroup?.id };
    const endpointGroup = found.SecretsManagerEndpointSecurityGroup?.id;

    await t.test('creates every resource of the template', () => expectComplete(this.stack, this.#world));

    await t.test('finds no example left in cdk.json', () => {
      doesNotMatch(this.#said, /example identifiers/);
    });

    await t.test('puts both functions into the VPC, each in a group of its own, one run at a time', () => {
      for (const name of NAMES) {
        const { VpcConfig, ReservedConcurrentExecutions, TracingConfig } = found[`${name}Function`] ?? {};
        equal(
          { VpcConfig, ReservedConcurrentExecutions, TracingConfig },
          {
            VpcConfig: {
              VpcId: landscape.vpcId,
              SubnetIds: [landscape.subnetA, landscape.subnetB],
              SecurityGroupIds: [groups[name]],
            },
            ReservedConcurrentExecutions: 1,
            TracingConfig: { Mode: 'Active' },
          },
        );
      }
    });

    await t.test('lets them out to their database, the one with a secret to the endpoint, and nobody in', () => {
      equal(
        rulesOf(groups.auth, 'IpPermissionsEgress'),
        [
          `tcp 443 ${endpointGroup} Secrets Manager`,
          `tcp ${auth.port} ${landscape.databaseSecurityGroupId} PostgreSQL`,
        ].sort(),
      );
      equal(rulesOf(groups.partners, 'IpPermissionsEgress'), [`tcp ${partners.port} 10.0.16.0/20 PostgreSQL`]);
      equal(rulesOf(groups.auth, 'IpPermissions'), []);
      equal(rulesOf(groups.partners, 'IpPermissions'), []);
    });

    await t.test('lets the one with a secret into the groups of its database and of the endpoint', () => {
      equal(rulesOf(landscape.databaseSecurityGroupId, 'IpPermissions'), [
        `tcp ${auth.port} ${groups.auth} Token cleanup (prod)`,
      ]);
      equal(rulesOf(endpointGroup, 'IpPermissions'), [`tcp 443 ${groups.auth} Token cleanup (prod)`]);
    });

    await t.test('has an endpoint of Secrets Manager in both subnets, and tells its address to that one', async () => {
      const { id } = found.SecretsManagerEndpoint ?? {};
      const { VpcEndpoints } = await emulator.ask('ec2', 'describe_vpc_endpoints');
      const endpoint = VpcEndpoints.find(({ VpcEndpointId }: Description) => VpcEndpointId === id);
      equal(
        [endpoint.VpcEndpointType, endpoint.ServiceName, endpoint.VpcId, endpoint.SubnetIds],
        [
          'Interface',
          `com.amazonaws.${REGION}.secretsmanager`,
          landscape.vpcId,
          [landscape.subnetA, landscape.subnetB],
        ],
      );
      match(
        found.authFunction?.Environment.Variables.AWS_ENDPOINT_URL_SECRETS_MANAGER,
        new RegExp(`^https://${id}-[0-9a-f]{8}[.]secretsmanager[.]${REGION}[.]vpce[.]amazonaws[.]com$`),
      );
    });

    await t.test('hands over to each function what the stage says of its database', () => {
      const { AWS_ENDPOINT_URL_SECRETS_MANAGER, ...variables } = found.authFunction?.Environment.Variables ?? {};
      equal(variables, {
        STAGE: 'prod',
        NODE_ENV: 'production',
        POWERTOOLS_SERVICE_NAME: 'token-cleanup-auth',
        DB_SECRET_ARN: auth.secretArn,
        DB_PORT: String(auth.port),
        DB_SSL_ROOT_CERT: '/opt/loopback.pem',
        CLEANUP_TARGETS: JSON.stringify(auth.targets),
        CLEANUP_CONCURRENCY: '2',
        CLEANUP_MAX_REPLICA_LAG_SECONDS: '30',
      });
      equal(found.partnersFunction?.Environment.Variables, {
        STAGE: 'prod',
        NODE_ENV: 'production',
        POWERTOOLS_SERVICE_NAME: 'token-cleanup-partners',
        DB_AUTH: 'iam',
        DB_USER: partners.iamUser?.name,
        DB_HOST: partners.host,
        DB_PORT: String(partners.port),
        DB_NAME: partners.name,
        DB_SSL_MODE: 'verify-full',
        DB_SSL_ROOT_CERT: '/opt/rds.pem',
      });
    });

    await t.test('deploys the certificate of each database as a layer, and nothing that lies beside it', async () => {
      for (const [name, file] of [
        ['auth', 'loopback.pem'],
        ['partners', 'rds.pem'],
      ] as const) {
        const layer = found[`${name}RootCertificates`] ?? {};
        const attached = found[`${name}Function`]?.Layers.map(({ Arn }: Description) => Arn);
        equal(attached, [layer.LayerVersionArn]);
        equal(await this.#filesIn(layer.Content.Location), [file]);
      }
    });

    await t.test('lets each function log in, by its secret or as its user, and keeps its code from the network', () => {
      const network = [
        'ec2:AssignPrivateIpAddresses',
        'ec2:CreateNetworkInterface',
        'ec2:DeleteNetworkInterface',
        'ec2:DescribeNetworkInterfaces',
        'ec2:DescribeSubnets',
        'ec2:UnassignPrivateIpAddresses',
      ];
      const user = `${partners.iamUser?.resourceId}/${partners.iamUser?.name}`;
      const login: Record<Name, Description[]> = {
        auth: [
          {
            Effect: 'Allow',
            Action: ['secretsmanager:DescribeSecret', 'secretsmanager:GetSecretValue'],
            Resource: auth.secretArn,
          },
          {
            Effect: 'Allow',
            Action: 'kms:Decrypt',
            Resource: landscape.keyArn,
            Condition: { StringEquals: { 'kms:ViaService': `secretsmanager.${REGION}.amazonaws.com` } },
          },
        ],
        partners: [
          { Effect: 'Allow', Action: 'rds-db:connect', Resource: `arn:aws:rds-db:${REGION}:${ACCOUNT}:dbuser:${user}` },
        ],
      };
      for (const name of NAMES) {
        equal(found[`${name}Role`]?.statements, [
          {
            Effect: 'Allow',
            Action: ['logs:CreateLogStream', 'logs:PutLogEvents'],
            Resource: found[`${name}Logs`]?.arn,
          },
          ...login[name],
          {
            Effect: 'Allow',
            Action: [...network, 'xray:PutTelemetryRecords', 'xray:PutTraceSegments'],
            Resource: '*',
          },
          {
            Effect: 'Allow',
            Action: ['sqs:GetQueueAttributes', 'sqs:GetQueueUrl', 'sqs:SendMessage'],
            Resource: found[`${name}DeadLetterQueue`]?.QueueArn,
          },
          {
            Effect: 'Deny',
            Action: network,
            Resource: '*',
            Condition: { ArnEquals: { 'lambda:SourceFunctionArn': found[`${name}Function`]?.FunctionArn } },
          },
        ]);
      }
    });

    await t.test('runs both at 03:00 in Berlin, or within a quarter of an hour', () => {
      for (const name of NAMES) {
        const { ScheduleExpression, ScheduleExpressionTimezone, FlexibleTimeWindow, State, Target } =
          found[`${name}Schedule`] ?? {};
        equal(
          [ScheduleExpression, ScheduleExpressionTimezone, FlexibleTimeWindow, State, Target.Arn],
          [
            'cron(0 3 * * ? *)',
            'Europe/Berlin',
            { Mode: 'FLEXIBLE', MaximumWindowInMinutes: 15 },
            'ENABLED',
            found[`${name}Function`]?.FunctionArn,
          ],
        );
      }
    });

    await t.test('sends every alarm to the topic that was there, and makes none', async () => {
      const alarms = Object.values(found).filter(({ AlarmName }) => AlarmName);
      equal(alarms.length, 11);
      for (const { AlarmActions } of alarms) {
        equal(AlarmActions, [landscape.topicArn]);
      }
      const topics = (await this.stack.resources()).filter(({ ResourceType }) => ResourceType === 'AWS::SNS::Topic');
      equal(topics, []);
    });

    await t.test('offers the test events of both functions in the console', () => {
      const registry = `arn:aws:schemas:${REGION}:${ACCOUNT}:registry/lambda-testevent-schemas`;
      const schema = registry.replace(':registry/', ':schema/');
      equal(found.TestEventRegistry?.id, registry);
      for (const name of NAMES) {
        equal(found[`${name}TestEvents`]?.id, `${schema}/_token-cleanup-prod_${name}-schema`);
      }
    });

    await t.test('keeps both logs for a year', () => {
      equal([found.authLogs?.retentionInDays, found.partnersLogs?.retentionInDays], [365, 365]);
    });

    await t.test('says in its outputs what a person looks for', async () => {
      equal(await this.stack.outputs(), {
        AuthFunctionName: 'token-cleanup-prod_auth',
        AuthSchedule: 'At 03:00 (Europe/Berlin)',
        PartnersFunctionName: 'token-cleanup-prod_partners',
        PartnersSchedule: 'At 03:00 (Europe/Berlin)',
        AlarmTopicArn: landscape.topicArn,
        DashboardUrl: `https://${REGION}.console.aws.amazon.com/cloudwatch/home?region=${REGION}#dashboards/dashboard/TokenCleanup-prod`,
      });
    });
  }

  /** That what was deployed does the job, over verified TLS. */
  async run(t: TestContext): Promise<void> {
    const { certificate, emulator } = this.#world;
    const { rds, keys } = this.#databases;
    const found = await this.stack.inventory();

    // What the variables say that are replaced was looked at above. The name of an endpoint resolves in its VPC alone, and
    // layers are found below /opt.
    await t.test('deletes the dead rows of auth, with a secret that has a key of its own', async () => {
      const deployed = new DeployedFunction(emulator, 'token-cleanup-prod_auth');
      await deployed.setVariables({
        AWS_ENDPOINT_URL_SECRETS_MANAGER: emulator.url,
        DB_SSL_ROOT_CERT: certificate.certFile,
      });
      await this.#expectCleanup(deployed, 'auth', {
        // A token that was revoked a month ago is no evidence any more.
        refresh_tokens: ['live', 'live for ever', 'revoked today', 'unknown'],
        password_resets: ['expired yesterday', 'live'],
      });
    });

    await t.test(
      'deletes the dead rows of partners, with a token that is signed with the keys of its role',
      async () => {
        const deployed = new DeployedFunction(emulator, 'token-cleanup-prod_partners');
        await deployed.setVariables({ DB_SSL_ROOT_CERT: rds.certificateFile });
        Object.assign(keys, keysOf(found.partnersFunction?.FunctionArn, found.partnersRole?.Arn));
        await this.#expectCleanup(deployed, 'partners', {
          refresh_tokens: ['live', 'live for ever', 'unknown'],
          password_resets: ['expired 8 days ago', 'expired yesterday', 'live', 'used'],
        });
      },
    );
  }

  /** Expects the rows that are named to be left, and every metric to be emitted that an alarm watches. */
  async #expectCleanup(deployed: DeployedFunction, name: Name, left: Record<string, string[]>): Promise<void> {
    const database = this.#databases[name];
    await database.fill();
    const { report, log } = await deployed.invoke();
    equal([report.error, report.status], [undefined, 'succeeded']);
    equal(await database.rows(), left);
    const emitted = metricsIn(log);
    equal(emitted[`Succeeded service=token-cleanup-${name} stage=prod`], 1);
    const watched = Object.entries(await this.stack.inventory())
      .filter(([id, { Namespace }]) => id.startsWith(name) && Namespace === METRIC_NAMESPACE)
      .map(([, { Namespace, MetricName, Dimensions }]) => metricId(Namespace, MetricName, Dimensions));
    equal(watched.length, name === 'auth' ? 4 : 3);
    const missing = watched.filter((metric) => !(metric in emitted));
    equal(missing, []);
  }

  async #filesIn(location: string): Promise<string[]> {
    const { emulator, project } = this.#world;
    const file = join(project.directory, 'layer.zip');
    writeFileSync(file, await emulator.download(location));
    const [, ...files] = (await emulator.python('-m', 'zipfile', '--list', file)).trim().split('\n');
    return files.map((line) => line.split(/\s+/)[0] ?? '');
  }
}

/** Puts a certificate into the project, where others lie beside it. */
function putCertificate({ project }: World, file: string): string {
  const folder = 'certificates';
  mkdirSync(join(project.directory, folder), { recursive: true });
  copyFileSync(file, join(project.directory, folder, basename(file)));
  return join(folder, basename(file));
}

/** The rules of a permission in a line each. */
function ruleTexts({ IpProtocol, FromPort, ToPort, IpRanges, UserIdGroupPairs }: Description): string[] {
  const ports = FromPort === ToPort ? FromPort : `${FromPort}-${ToPort}`;
  const peers = [...IpRanges, ...UserIdGroupPairs];
  return peers.map(({ CidrIp, GroupId, Description: text }) => `${IpProtocol} ${ports} ${CidrIp ?? GroupId} ${text}`);
}
