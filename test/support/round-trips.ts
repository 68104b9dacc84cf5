import { createServer, type Server, Socket } from 'node:net';

/** Stands between clients and a server on the loopback interface, and counts how often a client waits for an answer. */
export class RoundTrips {
  count = 0;
  connections = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(host: string, port: number) {
    this.#server = createServer((client) => {
      const upstream = new Socket().connect(port, host);
      let asking = false;
      this.connections += 1;
      client.on('data', (data) => {
        this.count += asking ? 0 : 1;
        asking = true;
        upstream.write(data);
      });
      upstream.on('data', (data) => {
        asking = false;
        client.write(data);
      });
      for (const [socket, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        this.#sockets.add(socket);
        socket.setNoDelay();
        socket.on('error', () => other.destroy());
        socket.on('end', () => other.end());
        socket.on('close', () => this.#sockets.delete(socket));
      }
    });
  }

  static async start(host: string, port: number): Promise<RoundTrips> {
    const proxy = new RoundTrips(host, port);
    await new Promise<void>((listening) => proxy.#server.listen(0, '127.0.0.1', listening));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await new Promise((closed) => this.#server.close(closed));
  }
}
