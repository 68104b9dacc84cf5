import { createServer, type Server, Socket } from 'node:net';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Stands between a session and the server, on a free loopback port, and plays the network's part. */
export class TcpProxy {
  port = 0;
  /** Where new connections lead. */
  target: Address;
  /** The number of accepted connections. */
  connections = 0;
  /** How often a client began to wait for an answer. */
  roundTrips = 0;
  /** Resets so many of the connections to come as soon as they are made. */
  refuse = 0;
  /** How many bytes of its answers the server gets through on a new connection before that is reset; no limit when undefined. */
  allowance: (() => number | undefined) | undefined;
  readonly #server: Server;
  readonly #links = new Set<Link>();
  #stalled = false;
  #stallText: string | undefined;

  private constructor(target: Address) {
    this.target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  static async start(host: string, port: number): Promise<TcpProxy> {
    const proxy = new TcpProxy({ host, port });
    await new Promise<void>((listening) => proxy.#server.listen(0, '127.0.0.1', listening));
    proxy.port = (proxy.#server.address() as { port: number }).port;
    return proxy;
  }

  /** Resets the clients' side of every connection; the server does not notice. */
  cut(): void {
    for (const { client } of this.#links) {
      client.resetAndDestroy();
    }
  }

  /** Resets both sides of every connection. */
  reset(): void {
    for (const { client, upstream } of this.#links) {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    }
  }

  /** Closes both sides of every connection, in the orderly way of a load balancer that has enough of it. */
  drop(): void {
    for (const { client, upstream } of this.#links) {
      client.end();
      upstream.end();
    }
  }

  /** Swallows all that is sent, either way, and ends nothing. */
  stall(): void {
    this.#stalled = true;
  }

  /** Does so from when a client sends this text on. */
  stallAt(text: string): void {
    this.#stallText = text;
  }

  /** Swallows all that is sent on the connections that there are; new ones work. */
  forget(): void {
    for (const link of this.#links) {
      link.forgotten = true;
    }
  }

  /** Holds back what is sent, either way, and delivers it later. */
  async hold(ms: number): Promise<void> {
    const sockets = [...this.#links].flatMap(({ client, upstream }) => [client, upstream]);
    for (const socket of sockets) {
      socket.pause();
    }
    await new Promise((resolve) => setTimeout(resolve, ms));
    for (const socket of sockets) {
      socket.resume();
    }
  }

  async stop(): Promise<void> {
    for (const { client, upstream } of this.#links) {
      client.destroy();
      upstream.destroy();
    }
    await new Promise((closed) => this.#server.close(closed));
  }

  #accept(client: Socket): void {
    this.connections += 1;
    client.on('error', () => {});
    if (this.refuse > 0) {
      this.refuse -= 1;
      client.resetAndDestroy();
      return;
    }
    const upstream = new Socket().connect(this.target.port, this.target.host);
    const link: Link = { client, upstream, forgotten: false, left: this.allowance?.() ?? Number.POSITIVE_INFINITY };
    this.#links.add(link);
    const swallowed = () => this.#stalled || link.forgotten;
    let isWaiting = false;
    client.on('data', (data) => {
      this.roundTrips += isWaiting ? 0 : 1;
      isWaiting = true;
      this.#stalled ||= this.#stallText !== undefined && data.includes(this.#stallText);
      return !swallowed() && upstream.write(data);
    });
    upstream.on('data', (data) => {
      isWaiting = false;
      if (swallowed()) {
        return;
      }
      if (data.length < link.left) {
        link.left -= data.length;
        client.write(data);
        return;
      }
      client.write(data.subarray(0, link.left), () => client.resetAndDestroy());
      upstream.destroy();
    });
    client.on('end', () => upstream.end());
    upstream.on('end', () => client.end());
    upstream.on('error', () => client.destroy());
  }
}

interface Link {
  readonly client: Socket;
  readonly upstream: Socket;
  forgotten: boolean;
  /** The bytes that may still pass from the server. */
  left: number;
}
