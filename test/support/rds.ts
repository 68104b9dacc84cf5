import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server, Socket } from 'node:net';
import { join } from 'node:path';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import { Client } from 'pg';
import { generate } from 'selfsigned';
import type { EmbeddedPostgres } from '../../bin/local/embedded-postgres';
import { message, SSL_REQUEST } from './pooler';
import { faultsOf, type Keys } from './rds-token';

export interface RdsOptions {
  /** The one user that was granted `rds_iam`. It is made here. */
  readonly user: string;
  readonly region: string;
  /** The keys of the one role that may `rds-db:connect`. */
  readonly keys: Keys;
}

const CLEARTEXT_PASSWORD = 3;

/**
 * The front of a database of RDS that has IAM authentication enabled, on a free loopback port: it speaks TLS, asks for the
 * password in clear text as RDS does for PAM, takes only a token that is good, and then hands through to the real server.
 * That lets the user in without a password, as nobody but this knows.
 */
export class Rds {
  readonly host = 'localhost';
  port = 0;
  /** A PEM file, with the certificate to trust. It goes with the server's data. */
  readonly certificateFile: string;
  /** What clients presented as their password, good or not. */
  readonly passwords: string[] = [];
  /** What it says to whom it refuses: RDS never more than this. */
  refusal: (user: string | undefined, password: string) => string = (user) =>
    `PAM authentication failed for user "${user}"`;

  readonly #options: RdsOptions;
  readonly #upstream: EmbeddedPostgres;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #identity: SecureContext | undefined;

  private constructor(options: RdsOptions, upstream: EmbeddedPostgres) {
    this.#options = options;
    this.#upstream = upstream;
    this.certificateFile = join(upstream.dataDirectory, 'rds.pem');
    this.#server = createServer((socket) => this.#accept(this.#keep(socket)).catch(() => socket.destroy()));
  }

  static async start(server: EmbeddedPostgres, options: RdsOptions): Promise<Rds> {
    await createUser(options.user, server);
    const rds = new Rds(options, server);
    const { cert, private: key } = await generate([{ name: 'commonName', value: rds.host }], {
      algorithm: 'sha256',
      extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: rds.host }] }],
    });
    rds.#identity = createSecureContext({ cert, key });
    writeFileSync(rds.certificateFile, cert);
    await new Promise<void>((listening) => rds.#server.listen(0, '127.0.0.1', listening));
    rds.port = (rds.#server.address() as { port: number }).port;
    return rds;
  }

  /** The variables with which the function logs in here to a database, with the keys of a role. */
  environment(database: string, keys: Keys = this.#options.keys): Record<string, string> {
    return {
      AWS_REGION: this.#options.region,
      AWS_ACCESS_KEY_ID: keys.accessKeyId,
      AWS_SECRET_ACCESS_KEY: keys.secretAccessKey,
      AWS_SESSION_TOKEN: keys.sessionToken,
      DB_AUTH: 'iam',
      DB_HOST: this.host,
      DB_PORT: String(this.port),
      DB_NAME: database,
      DB_USER: this.#options.user,
      DB_SSL_ROOT_CERT: this.certificateFile,
    };
  }

  /** Ends every connection, as a fail-over does. */
  failOver(): void {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }

  async stop(): Promise<void> {
    this.failOver();
    await new Promise((closed) => this.#server.close(closed));
  }

  async #accept(socket: Socket): Promise<void> {
    const request = await read(socket, 8);
    if (request.readInt32BE(4) !== SSL_REQUEST) {
      return void socket.destroy();
    }
    socket.write('S');
    const client = this.#keep(new TLSSocket(socket, { isServer: true, secureContext: this.#identity }));
    const startup = await readMessage(client);
    client.write(message('R', int32(CLEARTEXT_PASSWORD)));
    await read(client, 1);
    const password = textOf(await readMessage(client));
    this.passwords.push(password);
    const { user } = parametersOf(startup);
    if (
      user !== this.#options.user ||
      faultsOf(password, { ...this.#options, host: this.host, port: this.port }).length > 0
    ) {
      client.end(message('E', Buffer.from(`SFATAL\0VFATAL\0C28000\0M${this.refusal(user, password)}\0\0`)));
      return;
    }
    const upstream = this.#keep(new Socket().connect(this.#upstream.port, this.#upstream.host));
    upstream.write(startup);
    client.pipe(upstream).pipe(client);
  }

  #keep<T extends Socket>(socket: T): T {
    this.#sockets.add(socket);
    socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
    return socket;
  }
}

/** Makes a user that needs no password, by a rule ahead of those that ask for one. */
async function createUser(user: string, server: EmbeddedPostgres): Promise<void> {
  const file = join(server.dataDirectory, 'pg_hba.conf');
  writeFileSync(file, `host all "${user}" ${server.host}/32 trust\n${readFileSync(file, 'utf8')}`);
  const client = new Client(server.url());
  await client.connect();
  await client.query(`create role "${user}" login`);
  await client.query('select pg_reload_conf()');
  await client.end();
}

/** Reads so many bytes, and leaves what follows. */
async function read(socket: Socket, bytes: number): Promise<Buffer> {
  for (;;) {
    const chunk: Buffer | null = socket.read(bytes);
    if (chunk?.length === bytes) {
      return chunk;
    }
    if (chunk || socket.readableEnded) {
      throw new Error('the client hung up');
    }
    await once(socket, 'readable');
  }
}

/** A message from its length on, which counts itself. */
async function readMessage(socket: Socket): Promise<Buffer> {
  const length = await read(socket, 4);
  return Buffer.concat([length, await read(socket, length.readInt32BE() - 4)]);
}

function textOf(message: Buffer): string {
  return message.subarray(4, -1).toString();
}

/** The parameters of a start-up message, which follow its length and the version of the protocol. */
function parametersOf(startup: Buffer): Record<string, string | undefined> {
  const parts = startup.subarray(8).toString().split('\0');
  return Object.fromEntries(parts.flatMap((part, i) => (i % 2 === 0 ? [[part, parts[i + 1]]] : [])));
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
