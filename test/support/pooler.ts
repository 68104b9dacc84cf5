import { createServer, type Server, type Socket } from 'node:net';
import { Client } from 'pg';
import type { Address } from './tcp-proxy';

/**
 * - `transaction`: a session is lent for a transaction, as PgBouncer does in the mode of this name
 * - `session`: a session is lent until the client leaves, and is not reset then, as PgBouncer can be configured
 * - `rds-proxy`: a session is lent for a transaction, until the client takes an advisory lock or makes a setting; then it is
 *   the client's for good
 */
export type PoolMode = 'transaction' | 'session' | 'rds-proxy';

export interface PoolOptions {
  readonly mode: PoolMode;
  readonly login: { readonly user: string; readonly password: string; readonly database: string };
  /** How many sessions it opens on the server at most. */
  readonly size: number;
  /** Whether the least recently used session is lent next, rather than the most recently used one. */
  readonly roundRobin?: boolean;
}

/** A connection pooler, on a free loopback port. As PgBouncer does, it announces process ids of its own. */
export class Pooler {
  port = 0;
  readonly #options: PoolOptions;
  readonly #address: Address;
  readonly #listener: Server;
  readonly #sockets = new Set<Socket>();
  readonly #free: Backend[] = [];
  readonly #waiting: ((backend: Backend) => void)[] = [];
  #opened = 0;

  private constructor(address: Address, options: PoolOptions) {
    this.#address = address;
    this.#options = options;
    this.#listener = createServer((socket) => this.#accept(socket));
  }

  static async start({ host, port }: Address, options: PoolOptions): Promise<Pooler> {
    const pooler = new Pooler({ host, port }, options);
    await new Promise<void>((listening) => pooler.#listener.listen(0, '127.0.0.1', listening));
    pooler.port = (pooler.#listener.address() as { port: number }).port;
    return pooler;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await new Promise((closed) => this.#listener.close(closed));
  }

  #accept(socket: Socket): void {
    this.#track(socket);
    const startUp = new Frames(socket, false, (frame) => {
      if (frame.readInt32BE(4) === SSL_REQUEST) {
        socket.write('N');
        return;
      }
      startUp.end();
      socket.write(welcome(1 + Math.floor(Math.random() * 2 ** 31 - 1)));
      this.#serve(socket);
    });
  }

  #serve(socket: Socket): void {
    let backend: Backend | Promise<Backend> | undefined;
    let unanswered = 0;
    let isKept = this.#options.mode === 'session';
    let work = Promise.resolve();
    const giveBack = (used: Backend) => {
      backend = undefined;
      this.#release(used);
    };
    const onAnswer = (used: Backend, frame: Buffer) => {
      socket.write(frame);
      if (frame[0] === READY) {
        unanswered -= 1;
        if (unanswered === 0 && frame[5] === IDLE && !isKept) {
          giveBack(used);
        }
      }
    };
    new Frames(socket, true, (frame) => {
      const type = String.fromCharCode(frame[0] ?? 0);
      if (type === 'X') {
        return;
      }
      unanswered += type === 'Q' || type === 'S' ? 1 : 0;
      isKept ||= this.#options.mode === 'rds-proxy' && /set_config|advisory_lock/.test(frame.toString('latin1'));
      work = work.then(async () => {
        backend ??= await this.#acquire();
        const used = await backend;
        used.onFrame = (answer) => onAnswer(used, answer);
        used.socket.write(frame);
      });
    });
    socket.on('close', async () => {
      await work;
      const used = await backend;
      if (used && this.#options.mode === 'session' && unanswered === 0) {
        giveBack(used);
      } else if (used) {
        this.#opened -= 1;
        used.socket.destroy();
      }
    });
  }

  async #acquire(): Promise<Backend> {
    const free = this.#options.roundRobin ? this.#free.shift() : this.#free.pop();
    if (free) {
      return free;
    }
    if (this.#opened < this.#options.size) {
      this.#opened += 1;
      return await this.#open();
    }
    return await new Promise((lent) => this.#waiting.push(lent));
  }

  #release(backend: Backend): void {
    backend.onFrame = () => {};
    const next = this.#waiting.shift();
    if (next) {
      next(backend);
    } else {
      this.#free.push(backend);
    }
  }

  /** The driver logs in; from then on its socket is used without it. */
  async #open(): Promise<Backend> {
    const client = new Client({ ...this.#address, ...this.#options.login });
    await client.connect();
    const { stream } = (client as unknown as { connection: { stream: Socket } }).connection;
    stream.removeAllListeners();
    this.#track(stream);
    const backend: Backend = { socket: stream, onFrame: () => {} };
    new Frames(stream, true, (frame) => backend.onFrame(frame));
    return backend;
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
  }
}

/** A session on the server. */
interface Backend {
  readonly socket: Socket;
  onFrame: (frame: Buffer) => void;
}

export const SSL_REQUEST = 80_877_103;
const READY = 'Z'.charCodeAt(0);
const IDLE = 'I'.charCodeAt(0);

/** Cuts a stream into the messages of the protocol. All but the first of a client begin with a letter. */
class Frames {
  readonly #socket: Socket;
  readonly #onData: (data: Buffer) => void;
  #rest = Buffer.alloc(0);

  constructor(socket: Socket, typed: boolean, onFrame: (frame: Buffer) => void) {
    this.#socket = socket;
    const head = typed ? 1 : 0;
    this.#onData = (data) => {
      this.#rest = Buffer.concat([this.#rest, data]);
      while (this.#rest.length >= head + 4) {
        const size = head + this.#rest.readInt32BE(head);
        if (this.#rest.length < size) {
          return;
        }
        const frame = this.#rest.subarray(0, size);
        this.#rest = this.#rest.subarray(size);
        onFrame(frame);
      }
    };
    socket.on('data', this.#onData);
  }

  end(): void {
    this.#socket.off('data', this.#onData);
  }
}

/** A message of the protocol. */
export function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

/** Authentication succeeded, some settings of the server, a process id with the secret to cancel it, ready. */
function welcome(pid: number): Buffer {
  const key = Buffer.alloc(8);
  key.writeInt32BE(pid);
  const setting = (name: string, value: string) => message('S', Buffer.from(`${name}\0${value}\0`));
  return Buffer.concat([
    message('R', Buffer.alloc(4)),
    setting('client_encoding', 'UTF8'),
    setting('standard_conforming_strings', 'on'),
    message('K', key),
    message('Z', Buffer.from('I')),
  ]);
}
