import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { refuse, SecretsEndpoint, type SecretValue } from '../../bin/local/secrets-endpoint';

/** A failure of a request. */
export interface Fault {
  /** Delay of the answer, in milliseconds. */
  readonly delayMs?: number;
  /** Name of the error that is returned, such as `ThrottlingException`. */
  readonly error?: string;
  readonly message?: string;
  /** @default 400 */
  readonly status?: number;
}

/** A Secrets Manager that counts requests and fails on demand. */
export class FaultySecretsEndpoint extends SecretsEndpoint {
  /** Requests received, answered or not. */
  requests = 0;
  /** Applied to every request from now on; none if undefined. */
  fault: Fault | undefined;
  /** Called after the secret of a request was read and before it is sent, to rotate it in between. */
  onRequest: (() => void | Promise<void>) | undefined;

  static override async start(): Promise<FaultySecretsEndpoint> {
    const endpoint = new FaultySecretsEndpoint();
    await endpoint.listen();
    return endpoint;
  }

  protected override async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests += 1;
    const { fault } = this;
    if (fault?.delayMs) {
      await delay(fault.delayMs, undefined, { ref: false });
    }
    if (fault?.error || fault?.status) {
      return refuse(response, fault.error ?? 'InternalServiceError', fault.message, fault.status);
    }
    await super.answer(request, response);
  }

  protected override async secretOf(arn: string): Promise<SecretValue | undefined> {
    const secret = await super.secretOf(arn);
    await this.onRequest?.();
    return secret;
  }
}
