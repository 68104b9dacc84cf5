import { Annotations, CfnMapping, CfnOutput, Duration, RemovalPolicy, Stack, Validations } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { CfnRegistry } from 'aws-cdk-lib/aws-eventschemas';
import { ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Secret } from 'aws-cdk-lib/aws-secretsmanager';
import { type ITopic, Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import type { IStringParameter } from 'aws-cdk-lib/aws-ssm';
import type { Construct } from 'constructs';
import { SERVICE } from '../lambda/configuration/settings';
import { type FleetSurroundings, fleetOfStage } from './fleet-of-stage';
import type { DatabasePattern } from './function/function-environment';
import { given } from './given';
import { FleetMonitoring } from './monitoring/fleet-monitoring';
import { Monitoring } from './monitoring/monitoring';
import type { DatabaseConfig } from './stage/database-config';
import type { FleetConfig } from './stage/fleet-config';
import { exampleFields } from './stage/stage-config';
import type { StageConfig } from './stage/stage-schema';
import { connectionSettings, settingsOfStage } from './stage-settings';
import type { CleanupTarget } from './target';
import { TokenCleanup, type TokenCleanupProps } from './token-cleanup';
import { OffSwitch } from './workflow/off-switch';

export interface TokenCleanupStackProps {
  readonly stage: string;
  readonly config: StageConfig;
}

/** The registry of the Lambda console's shareable test events. Each account has one in each region. */
const TEST_EVENT_REGISTRY = 'lambda-testevent-schemas';

/** The domain of the console by partition. */
const CONSOLES = {
  aws: { domain: 'console.aws.amazon.com' },
  'aws-cn': { domain: 'console.amazonaws.cn' },
  'aws-us-gov': { domain: 'console.amazonaws-us-gov.com' },
  'aws-eusc': { domain: 'console.amazonaws-eusc.eu' },
};

/** The token cleanup of a stage: a function for each database, or a fleet, with one topic for all alarms and one dashboard. */
export class TokenCleanupStack extends Stack {
  readonly #stage: string;
  readonly #config: StageConfig;
  /** All state machines of the stage share it. */
  readonly #offSwitch: IStringParameter | undefined;

  constructor(scope: Construct, id: string, { stage, config }: TokenCleanupStackProps) {
    super(scope, id, {
      env: { ...(config.account && { account: config.account }), ...(config.region && { region: config.region }) },
      description: `Deletes dead rows from token tables (${stage})`,
    });
    this.#stage = stage;
    this.#config = config;
    if (config.continueUntil !== undefined || config.events || config.fleet) {
      this.#offSwitch = new OffSwitch(this, 'OffSwitch', { parameterName: `/token-cleanup/${stage}/switch` }).parameter;
    }
    const { secretsManagerEndpoint, ...network } = this.#network();
    const testEventRegistryName = this.#testEventRegistryName();
    const cleanups = Object.entries(config.databases ?? {}).map(
      ([name, database]) =>
        new TokenCleanup(this, name, {
          ...this.#settings(name, database),
          ...this.#login(name, database, secretsManagerEndpoint),
          ...network,
          ...this.#securityGroup(name, database),
          ...given({ testEventRegistryName }),
        }),
    );
    const topic = this.#topic();
    if (config.fleet) {
      this.#createFleet(config.fleet, { ...network, ...given({ secretsManagerEndpoint }) }, topic);
    } else {
      this.#monitor(cleanups, topic);
    }
    this.#callOutExamples();
  }

  #createFleet(config: FleetConfig, network: Partial<FleetSurroundings>, topic: ITopic): void {
    const stage = this.#stage;
    const fleet = fleetOfStage(this, this.#config, config, { ...network, stage, offSwitch: this.#offSwitch });
    const monitoring = new FleetMonitoring(this, 'Monitoring', {
      fleet,
      topic,
      dashboardName: `TokenCleanup-${stage}`,
      ...given({
        runbookUrl: this.#config.runbookUrl,
        dashboardButtons: this.#config.dashboardButtons,
        sweptWithin: config.sweptWithinHours === undefined ? undefined : Duration.hours(config.sweptWithinHours),
      }),
    });
    new CfnOutput(this, 'FleetBucketName', { value: fleet.bucket.bucketName });
    new CfnOutput(this, 'FleetStateMachineArn', { value: fleet.stateMachine.stateMachineArn });
    new CfnOutput(this, 'FleetSchedule', { value: fleet.scheduleInWords });
    this.#output(topic, monitoring);
  }

  #monitor(cleanups: TokenCleanup[], topic: ITopic): void {
    const { alarms, runbookUrl } = this.#config;
    const { rowsRemainingThreshold, unlinkWithinHours } = alarms ?? {};
    const monitoring = new Monitoring(this, 'Monitoring', {
      cleanups,
      topic,
      dashboardName: `TokenCleanup-${this.#stage}`,
      ...given({
        runbookUrl,
        dashboardButtons: this.#config.dashboardButtons,
        rowsRemainingThreshold,
        unlinkWithin: unlinkWithinHours === undefined ? undefined : Duration.hours(unlinkWithinHours),
      }),
    });
    for (const cleanup of cleanups) {
      const name = pascal(cleanup.node.id);
      new CfnOutput(this, `${name}FunctionName`, { value: cleanup.function.functionName });
      new CfnOutput(this, `${name}Schedule`, { value: cleanup.scheduleInWords });
      if (cleanup.stateMachine) {
        new CfnOutput(this, `${name}StateMachineArn`, { value: cleanup.stateMachine.stateMachineArn });
      }
    }
    this.#output(topic, monitoring);
  }

  #settings(name: string, database: DatabaseConfig): Omit<TokenCleanupProps, 'secret' | 'iamUser'> {
    const stage = this.#stage;
    return {
      stage,
      // An underscore, since neither name contains one: prod and eu-auth must not meet prod-eu and auth.
      functionName: `token-cleanup-${stage}_${name}`,
      // With the name even if there is only one database, so that a second one does not rename the metrics of the first.
      serviceName: `${SERVICE}-${name}`,
      ...settingsOfStage(this.#config),
      ...connectionSettings(database),
      ...given({
        databaseHost: database.host,
        databasePort: database.port,
        databaseName: database.name,
        databases: database.names && (given(database.names) as DatabasePattern),
        targets: database.targets as CleanupTarget[] | undefined,
        events: this.#config.events,
        offSwitch: this.#offSwitch,
      }),
    };
  }

  #login(name: string, database: DatabaseConfig, secretsManagerEndpoint?: ec2.InterfaceVpcEndpoint) {
    const { secretArn, encryptionKeyArn, iamUser } = database;
    if (secretArn === undefined) {
      return given({ iamUser });
    }
    const secret = Secret.fromSecretAttributes(this, `${pascal(name)}Secret`, {
      secretCompleteArn: secretArn,
      ...(encryptionKeyArn && { encryptionKey: Key.fromKeyArn(this, `${pascal(name)}SecretKey`, encryptionKeyArn) }),
    });
    return { secret, ...given({ secretsManagerEndpoint }) };
  }

  #network() {
    const { vpc: config } = this.#config;
    if (!config) {
      return {};
    }
    // Imported by attributes, not looked up, so that synth is offline and deterministic.
    const vpc = ec2.Vpc.fromVpcAttributes(this, 'Vpc', {
      vpcId: config.vpcId,
      availabilityZones: Object.keys(config.subnets),
      privateSubnetIds: Object.values(config.subnets),
    });
    for (const subnet of vpc.privateSubnets) {
      Annotations.of(subnet).acknowledgeWarning('@aws-cdk/aws-ec2:noSubnetRouteTableId', 'Nothing here adds a route.');
    }
    const vpcSubnets = { subnets: vpc.privateSubnets };
    if (!config.secretsManagerEndpoint) {
      return { vpc, vpcSubnets };
    }
    const secretsManagerEndpoint = new ec2.InterfaceVpcEndpoint(this, 'SecretsManagerEndpoint', {
      vpc,
      service: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
      subnets: vpcSubnets,
      // Private DNS would route the whole VPC to this endpoint, whose policy allows only this stack's secrets.
      privateDnsEnabled: false,
      securityGroups: [
        // An endpoint opens no connections itself.
        new ec2.SecurityGroup(this, 'SecretsManagerEndpointSecurityGroup', {
          vpc,
          description: 'Token cleanup: in to Secrets Manager',
          allowAllOutbound: false,
        }),
      ],
      open: false,
    });
    return { vpc, vpcSubnets, secretsManagerEndpoint };
  }

  #securityGroup(name: string, { securityGroupId, addIngressRule, cidrs }: DatabaseConfig) {
    const mutable = addIngressRule ?? false;
    return given({
      databaseCidrs: cidrs,
      databaseSecurityGroup:
        securityGroupId === undefined
          ? undefined
          : ec2.SecurityGroup.fromSecurityGroupId(this, `${pascal(name)}Database`, securityGroupId, { mutable }),
    });
  }

  #testEventRegistryName(): string | undefined {
    const { consoleTestEvents } = this.#config;
    if (consoleTestEvents !== 'new-registry') {
      return consoleTestEvents && TEST_EVENT_REGISTRY;
    }
    const registry = new CfnRegistry(this, 'TestEventRegistry', {
      registryName: TEST_EVENT_REGISTRY,
      description: 'Shareable test events of the Lambda console',
    });
    // Other functions may have their events in it by the time this stack is removed.
    registry.applyRemovalPolicy(RemovalPolicy.RETAIN);
    return registry.attrRegistryName;
  }

  #topic(): ITopic {
    const { alarms } = this.#config;
    if (alarms?.topicArn !== undefined) {
      return Topic.fromTopicArn(this, 'Alarms', alarms.topicArn);
    }
    // CloudWatch has no access to the AWS managed key of SNS.
    const masterKey = new Key(this, 'AlarmsKey', {
      description: `Alarms of token cleanup (${this.#stage})`,
      enableKeyRotation: true,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const topic = new Topic(this, 'Alarms', { masterKey, enforceSSL: true });
    // An explicit topic policy replaces the default one, which allows the account's alarms to publish.
    topic.grantPublish(
      new ServicePrincipal('cloudwatch.amazonaws.com', {
        conditions: { StringEquals: { 'aws:SourceAccount': this.account } },
      }),
    );
    if (alarms?.email !== undefined) {
      topic.addSubscription(new EmailSubscription(alarms.email));
      Validations.of(topic).acknowledge({
        id: 'Serverless-SNSRedrivePolicy',
        reason: 'Mail is accepted or bounces: SNS redrives what endpoints refuse, not what people do not read.',
      });
    }
    return topic;
  }

  #output(topic: ITopic, { dashboard }: Monitoring | FleetMonitoring): void {
    if (this.#offSwitch) {
      new CfnOutput(this, 'OffSwitchName', { value: this.#offSwitch.parameterName });
    }
    new CfnOutput(this, 'AlarmTopicArn', { value: topic.topicArn });
    const consoles = new CfnMapping(this, 'Consoles', { mapping: CONSOLES, lazy: true });
    const domain = consoles.findInMap(this.partition, 'domain');
    const cloudWatch = `https://${this.region}.${domain}/cloudwatch/home?region=${this.region}`;
    new CfnOutput(this, 'DashboardUrl', { value: `${cloudWatch}#dashboards/dashboard/${dashboard.dashboardName}` });
  }

  #callOutExamples(): void {
    const fields = exampleFields(this.#config, `stages.${this.#stage}`);
    if (fields.length > 0) {
      Annotations.of(this).addWarningV2(
        'token-cleanup:example-identifiers',
        `cdk.json still holds example identifiers. Before you deploy, fill in your own: ${fields.join(', ')}`,
      );
    }
  }
}

/** `auth-eu` as `AuthEu`, since ids of outputs may contain only letters and digits. */
function pascal(name: string): string {
  return name.replace(/(?:^|-)(.)/g, (_, letter: string) => letter.toUpperCase());
}
