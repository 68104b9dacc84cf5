import { TcpProxy } from './tcp-proxy';

/** Counts how often clients of a server connect during some work, and how often they wait for an answer. */
export async function countRoundTrips(
  url: string,
  work: (url: string) => Promise<unknown>,
): Promise<{ readonly connections: number; readonly roundTrips: number }> {
  const { hostname, port } = new URL(url);
  const proxy = await TcpProxy.start(hostname, Number(port));
  const counted = new URL(url);
  counted.port = String(proxy.port);
  try {
    await work(counted.href);
    const { connections, roundTrips } = proxy;
    return { connections, roundTrips };
  } finally {
    await proxy.stop();
  }
}
