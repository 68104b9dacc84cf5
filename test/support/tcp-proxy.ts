import { createServer, type Server, Socket } from 'node:net';

/** Stands between a session and the server, on a free loopback port, and plays the network's part. */
export class TcpProxy {
  port = 0;
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  readonly #upstreams = new Set<Socket>();
  #stalled = false;

  private constructor(host: string, port: number) {
    this.#server = createServer((client) => {
      const upstream = new Socket().connect(port, host);
      this.#clients.add(client);
      this.#upstreams.add(upstream);
      client.on('data', (data) => !this.#stalled && upstream.write(data));
      upstream.on('data', (data) => !this.#stalled && client.write(data));
      client.on('end', () => upstream.end());
      upstream.on('end', () => client.end());
      client.on('error', () => {});
      upstream.on('error', () => client.destroy());
    });
  }

  static async start(host: string, port: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(host, port);
    await new Promise<void>((listening) => proxy.#server.listen(0, '127.0.0.1', listening));
    proxy.port = (proxy.#server.address() as { port: number }).port;
    return proxy;
  }

  /** Resets the clients' side of every connection; the server is not told. */
  cut(): void {
    for (const client of this.#clients) {
      client.resetAndDestroy();
    }
    this.#clients.clear();
  }

  /** Swallows all that is sent, either way, and ends nothing. */
  stall(): void {
    this.#stalled = true;
  }

  async stop(): Promise<void> {
    for (const socket of [...this.#clients, ...this.#upstreams]) {
      socket.destroy();
    }
    await new Promise((closed) => this.#server.close(closed));
  }
}
