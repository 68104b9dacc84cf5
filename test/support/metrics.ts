import { METRIC_NAMESPACE } from '../../lambda/metrics';

/** A line of a log; those of the embedded metric format have `_aws`. */
type LogLine = Readonly<Record<string, unknown>>;

interface EmbeddedMetrics {
  readonly CloudWatchMetrics?: readonly {
    readonly Namespace: string;
    readonly Dimensions: readonly string[][];
    readonly Metrics: readonly { readonly Name: string }[];
  }[];
}

interface Dimension {
  readonly Name?: string | undefined;
  readonly Value?: unknown;
}

/** The metrics that CloudWatch makes of a log, by their identity: `Failed service=… stage=…`. */
export function metricsIn(log: readonly object[]): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const line of log as readonly LogLine[]) {
    for (const { Namespace, Dimensions, Metrics } of (line._aws as EmbeddedMetrics | undefined)?.CloudWatchMetrics ??
      []) {
      for (const names of Dimensions) {
        const dimensions = names.map((name) => ({ Name: name, Value: line[name] }));
        for (const { Name } of Metrics) {
          found[metricId(Namespace, Name, dimensions)] = line[Name];
        }
      }
    }
  }
  return found;
}

/** The identity of a metric: with one more dimension it is another metric. The namespace stands before all but our own. */
export function metricId(
  namespace: string | undefined,
  name: string | undefined,
  dimensions: readonly Dimension[] = [],
): string {
  const prefix = namespace === METRIC_NAMESPACE ? '' : `${namespace} `;
  return [`${prefix}${name}`, ...dimensions.map(({ Name, Value }) => `${Name}=${Value}`).sort()].join(' ');
}

/** The lines of JSON in what a process wrote. */
export function linesOf(output: string): object[] {
  return output.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []));
}
