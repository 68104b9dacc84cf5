import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

/** What goes wrong with a request. */
export interface Fault {
  /** How long the answer is held back, in milliseconds. */
  readonly delayMs?: number;
  /** Answers with an error: its name, as in `ThrottlingException`. */
  readonly error?: string;
  readonly message?: string;
  /** @default 400 */
  readonly status?: number;
}

/**
 * A Secrets Manager on a free loopback port, for the real SDK: it answers `GetSecretValue` in the service's JSON protocol.
 * What the request is signed with is not looked at.
 */
export class SecretsEndpoint {
  /** How many requests came in, whatever became of them. */
  requests = 0;
  /** What goes wrong with every request from now on; nothing when undefined. */
  fault: Fault | undefined;
  /** Called when it is settled what a request for a secret gets, before that is sent: to rotate the secret in between. */
  onRequest: (() => void | Promise<void>) | undefined;

  readonly #server: Server;
  readonly #secrets = new Map<string, string | Uint8Array>();

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  static async start(): Promise<SecretsEndpoint> {
    const endpoint = new SecretsEndpoint();
    await new Promise<void>((listening, failed) => {
      endpoint.#server.once('error', failed).listen(0, '127.0.0.1', listening);
    });
    return endpoint;
  }

  /** Sets a secret, or its next version. Text becomes its `SecretString`, bytes its `SecretBinary`. */
  put(arn: string, value: string | Uint8Array): void {
    this.#secrets.set(arn, value);
  }

  remove(arn: string): void {
    this.#secrets.delete(arn);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The variables by which the SDK finds this endpoint, with a region and keys that are good for nothing else. */
  get environment(): Readonly<Record<string, string>> {
    return {
      AWS_ENDPOINT_URL_SECRETS_MANAGER: this.url,
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'local',
      AWS_SECRET_ACCESS_KEY: 'local',
    };
  }

  /** Cuts off what is under way, too. */
  async stop(): Promise<void> {
    const closed = new Promise((done) => this.#server.close(done));
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests += 1;
    const { fault } = this;
    const body = await text(request);
    if (fault?.delayMs) {
      await delay(fault.delayMs, undefined, { ref: false });
    }
    if (fault?.error || fault?.status) {
      return refuse(response, fault.error ?? 'InternalServiceError', fault.message, fault.status);
    }
    const operation = request.headers['x-amz-target'];
    if (operation !== 'secretsmanager.GetSecretValue') {
      return refuse(response, 'UnknownOperationException', `${operation} is not served here`);
    }
    const { SecretId: arn } = JSON.parse(body) as { SecretId: string };
    const secret = this.#secrets.get(arn);
    await this.onRequest?.();
    if (secret === undefined) {
      return refuse(response, 'ResourceNotFoundException', "Secrets Manager can't find the specified secret.");
    }
    send(response, 200, {
      ARN: arn,
      Name: arn.split(':').at(-1),
      VersionStages: ['AWSCURRENT'],
      ...(typeof secret === 'string'
        ? { SecretString: secret }
        : { SecretBinary: Buffer.from(secret).toString('base64') }),
    });
  }
}

function refuse(response: ServerResponse, error: string, message = error, status = 400): void {
  send(response, status, { __type: error, Message: message });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(body));
}
