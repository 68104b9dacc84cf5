import { parseTargets, type Target, type TargetsInput } from '../../lambda/configuration/targets';
import type { Session } from '../../lambda/database/session';
import { type Inspected, inspect, PreflightError } from '../../lambda/engine/preflight/preflight';

/** The first of the targets, as the preflight of a run finds it. */
export async function inspectFirst(
  session: Session,
  input: TargetsInput,
): Promise<{ readonly target: Target; readonly inspected: Inspected }> {
  const targets = parseTargets(input);
  const [first] = await inspect(session, { configured: targets, requested: targets, needs: 'delete' });
  if (!first || first[1] instanceof PreflightError) {
    throw first?.[1] ?? new Error('nothing was inspected');
  }
  const [target, inspected] = first;
  return { target, inspected };
}
