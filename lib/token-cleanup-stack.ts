import { Annotations, CfnMapping, CfnOutput, Duration, RemovalPolicy, Stack, Validations } from 'aws-cdk-lib';
import type { Dashboard } from 'aws-cdk-lib/aws-cloudwatch';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { CfnRegistry } from 'aws-cdk-lib/aws-eventschemas';
import { ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { type ITopic, Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import type { IStringParameter } from 'aws-cdk-lib/aws-ssm';
import type { Construct } from 'constructs';
import type { FleetFunctionProps } from './fleet/fleet-function';
import { given } from './given';
import { FleetMonitoring } from './monitoring/fleet-monitoring';
import { Monitoring } from './monitoring/monitoring';
import type { DatabaseConfig } from './stage/database-config';
import type { FleetConfig } from './stage/fleet-config';
import { exampleFields } from './stage/stage-config';
import type { StageConfig } from './stage/stage-schema';
import { commonProps, databaseProps, fleetProps, pascal } from './stage-settings';
import { TokenCleanup } from './token-cleanup';
import { TokenCleanupFleet } from './token-cleanup-fleet';
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

type Network = Pick<FleetFunctionProps, 'vpc' | 'vpcSubnets' | 'secretsManagerEndpoint'>;

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
    const network = this.#network();
    const testEventRegistryName = this.#testEventRegistryName();
    const cleanups = Object.entries(config.databases ?? {}).map(
      ([name, database]) =>
        new TokenCleanup(this, name, {
          ...this.#common(name, database, network, database.secretArn !== undefined),
          ...databaseProps(this, name, database),
          ...given({ events: config.events, testEventRegistryName }),
        }),
    );
    const topic = this.#topic();
    const dashboard = config.fleet ? this.#createFleet(config.fleet, network, topic) : this.#monitor(cleanups, topic);
    if (this.#offSwitch) {
      new CfnOutput(this, 'OffSwitchName', { value: this.#offSwitch.parameterName });
    }
    new CfnOutput(this, 'AlarmTopicArn', { value: topic.topicArn });
    const consoles = new CfnMapping(this, 'Consoles', { mapping: CONSOLES, lazy: true });
    const domain = consoles.findInMap(this.partition, 'domain');
    const cloudWatch = `https://${this.region}.${domain}/cloudwatch/home?region=${this.region}`;
    new CfnOutput(this, 'DashboardUrl', { value: `${cloudWatch}#dashboards/dashboard/${dashboard.dashboardName}` });
    this.#callOutExamples();
  }

  #common(name: string, place: DatabaseConfig | FleetConfig, network: Network, hasSecret: boolean) {
    const { secretsManagerEndpoint, ...vpc } = network;
    return {
      ...commonProps(this, this.#stage, name, this.#config, place),
      ...vpc,
      // The endpoint serves only to read secrets.
      ...given({ offSwitch: this.#offSwitch, secretsManagerEndpoint: hasSecret ? secretsManagerEndpoint : undefined }),
    };
  }

  #monitoring(topic: ITopic) {
    const { runbookUrl, dashboardButtons } = this.#config;
    return { topic, dashboardName: `TokenCleanup-${this.#stage}`, ...given({ runbookUrl, dashboardButtons }) };
  }

  #createFleet(config: FleetConfig, network: Network, topic: ITopic): Dashboard {
    const fleet = new TokenCleanupFleet(this, 'fleet', {
      ...this.#common('fleet', config, network, config.secretTag !== undefined),
      ...fleetProps(this, config),
    });
    const { sweptWithinHours } = config;
    const { dashboard } = new FleetMonitoring(this, 'Monitoring', {
      fleet,
      ...this.#monitoring(topic),
      ...given({ sweptWithin: sweptWithinHours === undefined ? undefined : Duration.hours(sweptWithinHours) }),
    });
    new CfnOutput(this, 'FleetBucketName', { value: fleet.bucket.bucketName });
    new CfnOutput(this, 'FleetStateMachineArn', { value: fleet.stateMachine.stateMachineArn });
    new CfnOutput(this, 'FleetSchedule', { value: fleet.scheduleInWords });
    return dashboard;
  }

  #monitor(cleanups: TokenCleanup[], topic: ITopic): Dashboard {
    const { rowsRemainingThreshold, unlinkWithinHours } = this.#config.alarms ?? {};
    const unlinkWithin = unlinkWithinHours === undefined ? undefined : Duration.hours(unlinkWithinHours);
    const { dashboard } = new Monitoring(this, 'Monitoring', {
      cleanups,
      ...this.#monitoring(topic),
      ...given({ rowsRemainingThreshold, unlinkWithin }),
    });
    for (const cleanup of cleanups) {
      const name = pascal(cleanup.node.id);
      new CfnOutput(this, `${name}FunctionName`, { value: cleanup.function.functionName });
      new CfnOutput(this, `${name}Schedule`, { value: cleanup.scheduleInWords });
      if (cleanup.stateMachine) {
        new CfnOutput(this, `${name}StateMachineArn`, { value: cleanup.stateMachine.stateMachineArn });
      }
    }
    return dashboard;
  }

  #network(): Network {
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
