import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** A secret: text is returned as `SecretString`, bytes as `SecretBinary`. */
export type SecretValue = string | Uint8Array;

/**
 * A local Secrets Manager for the real SDK, on a free loopback port. It serves `GetSecretValue` in the service's JSON
 * protocol, and does not check signatures.
 */
export class SecretsEndpoint {
  readonly #server: Server;
  readonly #secrets = new Map<string, SecretValue>();

  protected constructor() {
    this.#server = createServer((request, response) => {
      this.answer(request, response).catch(() => response.destroy());
    });
  }

  static async start(): Promise<SecretsEndpoint> {
    const endpoint = new SecretsEndpoint();
    await endpoint.listen();
    return endpoint;
  }

  /** Sets a secret, or its next version. */
  put(arn: string, value: SecretValue): void {
    this.#secrets.set(arn, value);
  }

  remove(arn: string): void {
    this.#secrets.delete(arn);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Variables that direct the SDK to this endpoint, with a region and keys that are useless elsewhere. */
  get environment(): Readonly<Record<string, string>> {
    return {
      AWS_ENDPOINT_URL_SECRETS_MANAGER: this.url,
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'local',
      AWS_SECRET_ACCESS_KEY: 'local',
    };
  }

  /** Stops the server and aborts requests in flight. */
  async stop(): Promise<void> {
    const closed = new Promise((done) => this.#server.close(done));
    this.#server.closeAllConnections();
    await closed;
  }

  protected async listen(): Promise<void> {
    await new Promise<void>((listening, failed) => {
      this.#server.once('error', failed).listen(0, '127.0.0.1', () => listening());
    });
  }

  protected async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request);
    const operation = request.headers['x-amz-target'];
    if (operation !== 'secretsmanager.GetSecretValue') {
      return refuse(response, 'UnknownOperationException', `unknown operation ${operation}`);
    }
    const { SecretId: arn } = JSON.parse(body) as { SecretId: string };
    const secret = await this.secretOf(arn);
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

  protected async secretOf(arn: string): Promise<SecretValue | undefined> {
    return this.#secrets.get(arn);
  }
}

/** Sends an error of the service. */
export function refuse(response: ServerResponse, error: string, message = error, status = 400): void {
  send(response, status, { __type: error, Message: message });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(body));
}
