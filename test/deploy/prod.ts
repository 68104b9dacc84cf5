import { doesNotMatch, deepStrictEqual as equal } from 'node:assert';
import { copyFileSync, mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { TestContext } from 'node:test';
import type { DatabaseConfig } from '../../lib/stage/database-config';
import type { StageConfig } from '../../lib/stage/stage-schema';
import { metricsIn } from '../support/metrics';
import type { Rds } from '../support/rds';
import { expectComplete } from './complete';
import { Continuation } from './continuation';
import type { TokenDatabase } from './database';
import { DeployedStack } from './deployed-stack';
import { ACCOUNT, keysOf, REGION } from './emulator';
import { DeployedFunction } from './invocation';
import { Widget } from './widget';
import type { World } from './world';

type Name = 'auth' | 'partners';

/** The surroundings of the stage. */
interface Databases {
  readonly auth: TokenDatabase;
  readonly partners: TokenDatabase;
  /** The proxy before the second one, which requires a token. */
  readonly rds: Rds;
  /** Those with which tokens have to be signed. Which they are is known when the function is. */
  readonly keys: { accessKeyId: string; secretAccessKey: string; sessionToken: string };
}

/** The largest stage of `cdk.json`, with an account's own identifiers instead of the examples. */
export class ProdStage {
  readonly stack: DeployedStack;
  readonly #world: World;
  readonly #databases: Databases;
  readonly #said: string;

  private constructor(world: World, databases: Databases, said: string) {
    this.#world = world;
    this.#databases = databases;
    this.#said = said;
    this.stack = new DeployedStack(world.emulator, 'TokenCleanup-prod');
  }

  static async deploy(world: World): Promise<ProdStage> {
    const { project, landscape } = world;
    const example = project.stages.prod as StageConfig;
    const { auth, partners } = example.databases as Record<string, DatabaseConfig>;
    const user = partners?.iamUser?.name ?? '';
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
          ...auth,
          secretArn: await world.secrets.create('prod/auth', databases.auth.login, landscape.keyArn),
          encryptionKeyArn: landscape.keyArn,
          securityGroupId: landscape.databaseSecurityGroupId,
          // No other is let out by the function's security group.
          port: databases.auth.login.port,
          rootCertificates: putCertificate(world, world.certificate.certFile),
        },
        partners: {
          ...partners,
          iamUser: { name: user, resourceId: 'cluster-A1B2C3D4E5F6G7H8I' },
          host: databases.rds.host,
          port: databases.rds.port,
          name: databases.partners.login.dbname,
          rootCertificates: putCertificate(world, databases.rds.certificateFile),
        },
      },
    };
    project.fillIn({ ...project.stages, prod: config });
    return new ProdStage(world, databases, await project.deploy('prod'));
  }

  /** The effects that only a deployment shows. The properties of the template have their own tests. */
  async inspect(t: TestContext): Promise<void> {
    await t.test('creates every resource of the template', () => expectComplete(this.stack, this.#world));

    await t.test('finds no example left in cdk.json', () => {
      doesNotMatch(this.#said, /example identifiers/);
    });
  }

  /** That what was deployed does the job, over verified TLS. */
  async run(t: TestContext): Promise<void> {
    const { certificate, emulator } = this.#world;
    const { rds, keys } = this.#databases;

    // Two variables are replaced: the name of an endpoint resolves only in its VPC, and layers are mounted only by Lambda.
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
        Object.assign(
          keys,
          keysOf(
            `arn:aws:lambda:${REGION}:${ACCOUNT}:function:${deployed.name}`,
            `arn:aws:iam::${ACCOUNT}:role/${await this.stack.physicalId('partnersRole')}`,
          ),
        );
        await this.#expectCleanup(deployed, 'partners', {
          refresh_tokens: ['live', 'live for ever', 'unknown'],
          password_resets: ['expired 8 days ago', 'expired yesterday', 'live', 'used'],
        });
      },
    );
  }

  /** That runs are continued, stopped and announced by the state machine of auth. */
  async continue(t: TestContext): Promise<void> {
    await (await this.#continuation()).run(t);
  }

  /** That the buttons of the dashboard do what they say. */
  async press(t: TestContext): Promise<void> {
    const functionName = await this.stack.physicalId('MonitoringRunsFunction');
    const logGroupName = await this.stack.physicalId('authLogs');
    await new Widget(this.#world, functionName, logGroupName, await this.#continuation()).run(t);
  }

  async #continuation(): Promise<Continuation> {
    const { AuthStateMachineArn: stateMachineArn = '' } = await this.stack.outputs();
    const deployed = new DeployedFunction(this.#world.emulator, 'token-cleanup-prod_auth');
    return new Continuation(this.#world, deployed, this.#databases.auth, stateMachineArn);
  }

  /** Expects exactly these rows to be left, and a success to be counted. */
  async #expectCleanup(deployed: DeployedFunction, name: Name, left: Record<string, string[]>): Promise<void> {
    const database = this.#databases[name];
    await database.fill();
    const { report, log } = await deployed.invoke();
    equal([report.error, report.status], [undefined, 'succeeded']);
    equal(await database.rows(), left);
    equal(metricsIn(log)[`Succeeded service=token-cleanup-${name} stage=prod`], 1);
  }
}

/** Puts a certificate into the project, where others lie beside it. */
function putCertificate({ project }: World, file: string): string {
  const folder = 'certificates';
  mkdirSync(join(project.directory, folder), { recursive: true });
  copyFileSync(file, join(project.directory, folder, basename(file)));
  return join(folder, basename(file));
}
