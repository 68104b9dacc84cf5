import { handler } from '../../lambda/handler';
import type { RunReport } from '../../lambda/run/report';

/** A message from the parent process. */
export type RuntimeMessage =
  | { readonly event?: unknown; readonly timeLimitMs: number }
  | { readonly signal: 'SIGINT' | 'SIGTERM' };

/** The message to the parent process. */
export type RuntimeAnswer =
  | { readonly report: RunReport }
  | { readonly errorType: string; readonly errorMessage: string };

// A stand-in for Lambda's runtime: calls the handler once and sends its result to the parent process.
process.on('message', (message: RuntimeMessage) => {
  if ('signal' in message) {
    // Emitted here: a signal of the operating system would end the process if the handler does not listen.
    process.emit(message.signal, message.signal);
  } else {
    void respond(message.event, message.timeLimitMs);
  }
});

// The parent process is gone, so the handler ends its run.
process.on('disconnect', () => process.emit('SIGTERM', 'SIGTERM'));

async function respond(event: unknown, timeLimitMs: number): Promise<void> {
  const endsAt = performance.now() + timeLimitMs;
  const answer = await handler(event, { getRemainingTimeInMillis: () => endsAt - performance.now() }).then(
    (report): RuntimeAnswer => ({ report }),
    // As Lambda names it in its own answer.
    ({ name, message }: Error): RuntimeAnswer => ({ errorType: name, errorMessage: message }),
  );
  process.send?.(answer, () => process.disconnect());
}
