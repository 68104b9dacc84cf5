import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddedPostgres } from '../../bin/local/embedded-postgres';
import { Rds } from '../support/rds';
import type { Keys } from '../support/rds-token';
import { createLandscape, type Landscape, Secrets } from './account';
import { type Certificate, makeCertificate } from './certificate';
import { serveTls, TokenDatabase } from './database';
import { ACCOUNT, Emulator, REGION } from './emulator';
import { Project } from './project';

/** An account of AWS, databases, and a clone of this project: all that a deployment needs, and gone afterwards. */
export class World {
  certificate!: Certificate;
  emulator!: Emulator;
  landscape!: Landscape;
  project!: Project;
  secrets!: Secrets;
  #server!: EmbeddedPostgres;
  #rds: Rds | undefined;
  readonly #directory = mkdtempSync(join(tmpdir(), 'token-cleanup-deploy-'));
  readonly #databases: TokenDatabase[] = [];
  readonly #servers: EmbeddedPostgres[] = [];

  private constructor() {
    // In case this process is ended early. Programs that run in the folder have their own handlers.
    process.once('exit', () => rmSync(this.#directory, { recursive: true, force: true, maxRetries: 5 }));
  }

  static async create(): Promise<World> {
    const world = new World();
    try {
      await world.#begin();
      return world;
    } catch (error) {
      await world.remove();
      throw error;
    }
  }

  async database(name: string, user?: string): Promise<TokenDatabase> {
    const database = await TokenDatabase.create(this.#server, name, user);
    this.#databases.push(database);
    return database;
  }

  /** Puts before the databases what lets a user in with a token that is signed with those keys. */
  async rds(user: string, keys: Keys): Promise<Rds> {
    this.#rds = await Rds.start(this.#server, { user, region: REGION, keys });
    return this.#rds;
  }

  /** Has a server removed with all the rest. */
  removeLater(server: EmbeddedPostgres): void {
    this.#servers.push(server);
  }

  async remove(): Promise<void> {
    await Promise.all(this.#databases.map((database) => database.close()));
    await this.emulator?.stop();
    await this.#rds?.stop();
    await Promise.all([this.#server, ...this.#servers].map((server) => server?.remove()));
  }

  async #begin(): Promise<void> {
    this.certificate = await makeCertificate(this.#directory);
    this.emulator = await Emulator.start(this.#directory, this.certificate);
    this.#server = await EmbeddedPostgres.start({ settings: { fsync: 'off' } });
    await serveTls(this.#server, this.certificate);
    this.landscape = await createLandscape(this.emulator);
    this.secrets = new Secrets(this.emulator);
    this.project = new Project(this.#directory, this.emulator);
    await this.project.cdk(['bootstrap', `aws://${ACCOUNT}/${REGION}`]);
  }
}
