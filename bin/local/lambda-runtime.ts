import { handler } from '../../lambda/handler';

/** What the process that started this one says. */
export type RuntimeMessage =
  | { readonly event?: unknown; readonly timeLimitMs: number }
  | { readonly signal: 'SIGINT' | 'SIGTERM' };

// A process of its own in the part of Lambda's runtime: it calls the handler once and sends back what that returns.
process.on('message', (message: RuntimeMessage) => {
  if ('signal' in message) {
    // Not by the operating system, which would end the process where the handler does not listen yet or any more.
    process.emit(message.signal, message.signal);
  } else {
    void respond(message.event, message.timeLimitMs);
  }
});

// Nobody is left to work for, so the handler is told to come to its end.
process.on('disconnect', () => process.emit('SIGTERM', 'SIGTERM'));

async function respond(event: unknown, timeLimitMs: number): Promise<void> {
  const endsAt = performance.now() + timeLimitMs;
  const report = await handler(event, { getRemainingTimeInMillis: () => endsAt - performance.now() });
  process.send?.({ report }, () => process.disconnect());
}
